from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from tfsaliency.base.options import check_count
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.controls import classes_of
from tfsaliency.metrics.metric import InapplicableError, Measurement, OfExplainer
from tfsaliency.metrics.places import as_passed, pictures_of, places_of
from tfsaliency.metrics.subject import Subject

WANTED = "Mosaics are made of pictures (N, height, width, channels) of real numbers."


@dataclass(frozen=True, eq=False)
class GridPointingGame(OfExplainer):
    """The grid pointing game: in a mosaic of pictures of different classes, the share of relevance on the right one.

    Formula:
        ``sum over the cell of max(v, 0) / sum of max(v, 0)``, of the map of the picture's class on a mosaic of the
        picture and of others of other classes, all made smaller. ``chance`` is one over the number of cells. NaN
        without positive relevance, and for a picture without enough others of different classes.

    The truth is known, because the evidence for a class can only be in its cell, as far as the network knows nothing of
    mosaics: it has never seen one.

    Args:
        explainer: what made the map. The pictures of the explanation are the pieces, and what was explained of each is
            its class: explain them with their labels.
        across: how many pictures are side by side.
        seed: of the places and of the other pictures.

    Source:
        Böhle, Fritz & Schiele 2021, Convolutional Dynamic Alignment Networks for Interpretable Classifications (grid
        pointing game).

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)])
        >>> explainer = tfs.Gradient(model)
        >>> explanation = explainer.explain(np.random.default_rng(0).uniform(size=(5, 8, 8, 3)), [0, 1, 2, 3, 4])
        >>> tfs.metrics.GridPointingGame(explainer).measure(explanation).chance
        array([0.25, 0.25, 0.25, 0.25, 0.25])
    """

    across: int = 2
    seed: int = 0

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("across", self.across, 2)
        check_count("seed", self.seed, 0)

    def check(self, explanation: Explanation) -> None:
        pictures_of(explanation, WANTED, kinds="f")

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        pictures = pictures_of(explanation, WANTED, kinds="f")
        classes = classes_of(Subject(self.explainer.model, explanation, target).chosen)
        if classes is None:
            raise InapplicableError("A picture of a mosaic has a class. Received: another target.")
        cells = self.across**2
        found, chance = np.full(len(pictures), np.nan), np.full(len(pictures), 1 / cells)
        chosen = {number: pieces for number in range(len(pictures)) if (pieces := self._pieces(number, classes))}
        if not chosen:
            return self._told(found, chance=chance)
        mosaics = np.stack([self._mosaic(pictures[pieces]) for pieces in chosen.values()])
        inputs = as_passed(mosaics, explanation)
        of_mosaics = places_of(self.explainer.explain(inputs, classes[list(chosen)]))
        (maps,) = of_mosaics.parts(np.maximum(of_mosaics.relevance, 0))
        for (number, pieces), positive in zip(chosen.items(), maps, strict=True):
            height, width = positive.shape
            rows, columns = self._cell(pieces.index(number), height, width)
            if positive.sum() > 0:
                found[number] = positive[rows, columns].sum() / positive.sum()
        return self._told(found, chance=chance)

    def _pieces(self, number: int, classes: np.ndarray) -> list[int]:
        """The pictures of a mosaic in the order of its cells, none of a class of another; empty without enough."""
        generator = np.random.default_rng([self.seed, number])
        pieces = [number]
        for other in generator.permutation(len(classes)):
            if len(pieces) < self.across**2 and classes[other] not in classes[pieces]:
                pieces.append(int(other))
        return generator.permutation(pieces).tolist() if len(pieces) == self.across**2 else []

    def _mosaic(self, pictures: np.ndarray) -> np.ndarray:
        mosaic = np.empty(pictures.shape[1:], "float32")
        whole_height, whole_width = pictures.shape[1:3]
        for place, picture in enumerate(pictures):
            rows, columns = self._cell(place, whole_height, whole_width)
            height, width = mosaic[rows, columns, 0].shape
            for channel in range(pictures.shape[-1]):
                # OpenCV takes four channels at most.
                layer = np.ascontiguousarray(picture[..., channel], "float32")
                small = cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA)
                mosaic[rows, columns, channel] = small
        return mosaic

    def _cell(self, place: int, height: int, width: int) -> tuple[slice, slice]:
        row, column = divmod(place, self.across)
        rows, columns = ([size * each // self.across for each in range(self.across + 1)] for size in (height, width))
        return slice(rows[row], rows[row + 1]), slice(columns[column], columns[column + 1])
