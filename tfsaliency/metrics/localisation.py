"""Whether a map lies where the object is. The object need not be the reason."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfsaliency.base.structure import flatten
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.metric import InapplicableError, Measurement, Metric
from tfsaliency.metrics.places import Places, places_of
from tfsaliency.metrics.statistics import quotient


@dataclass(frozen=True, eq=False)
class Localisation(Metric):
    """Compares a map with a mask, or with a box, of each sample.

    Args:
        where: ``(N, *places)``, True inside; or for pictures boxes ``(N, 4)`` of whole numbers: first row, first
            column, one behind the last row and one behind the last column.
    """

    where: Any

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @abstractmethod
    def inside(self, places: Places, inside: np.ndarray) -> np.ndarray:
        """``(N,)``, from the places and the mask ``(N, P)``."""

    def check(self, explanation: Explanation) -> None:
        parts = len(flatten(explanation.values))
        if parts > 1:
            raise InapplicableError(f"A mask is for inputs of one part. Received: {parts} parts")

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        self.check(explanation)
        places = places_of(explanation)
        samples, shape = len(explanation), places.shapes[0]
        # Padding is neither inside nor outside.
        mask = _mask(self.where, samples, shape).reshape(samples, -1) & places.present
        share = quotient(mask.sum(axis=1), places.present.sum(axis=1))
        found = np.where((share > 0) & (share < 1), self.inside(places, mask), np.nan)
        return self._told(found, chance=share)


@dataclass(frozen=True, eq=False)
class PointingGame(Localisation):
    """The pointing game: whether the most relevant place lies inside the mask.

    Formula:
        1 if it does, else 0. Of several places of the same relevance, the share of them that lies inside. ``chance`` is
        the share of the input that the mask covers. NaN for a mask of nothing, or of everything.

    One place decides, and the object in the mask need not be what the network looks at.

    Source:
        Zhang et al. 2018, Top-down Neural Attention by Excitation Backprop.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.Gradient(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.PointingGame([[True, False, False, False]]).measure(explanation).values
        array([1.])
    """

    def inside(self, places: Places, inside: np.ndarray) -> np.ndarray:
        relevance = np.where(places.present, places.relevance, -np.inf)
        top = relevance == relevance.max(axis=1, keepdims=True)
        return np.asarray((top & inside).sum(axis=1) / top.sum(axis=1))


@dataclass(frozen=True, eq=False)
class RelevanceMass(Localisation):
    """Relevance mass: the share of the positive relevance that lies inside the mask.

    Formula:
        ``sum inside of max(v, 0) / sum of max(v, 0)``. ``chance`` is the share of the input that the mask covers. NaN
        without positive relevance.

    The object in the mask need not be what the network looks at.

    Source:
        Arras, Osman & Samek 2022, CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural Network
        Explanations.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.Gradient(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.RelevanceMass([[True, False, False, True]]).measure(explanation).values
        array([0.5])
    """

    def inside(self, places: Places, inside: np.ndarray) -> np.ndarray:
        positive = np.maximum(places.relevance, 0)
        return quotient((positive * inside).sum(axis=1), positive.sum(axis=1))


@dataclass(frozen=True, eq=False)
class RankAccuracy(Localisation):
    """Rank accuracy: how many of the most relevant places lie inside a mask of as many places.

    Formula:
        Of the ``K`` most relevant places, with ``K`` the size of the mask, the share that lies inside. Places of equal
        relevance are in a fixed random order. ``chance`` is the share of the input that the mask covers.

    The object in the mask need not be what the network looks at.

    Source:
        Arras, Osman & Samek 2022, CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural Network
        Explanations.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.Gradient(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.RankAccuracy([[True, False, False, True]]).measure(explanation).values
        array([0.5])
    """

    def inside(self, places: Places, inside: np.ndarray) -> np.ndarray:
        size = inside.sum(axis=1)
        return np.asarray(((places.ranks < size[:, None]) & inside).sum(axis=1) / np.maximum(size, 1))


def _mask(where: Any, samples: int, shape: tuple[int, ...]) -> np.ndarray:
    """``(N, *places)`` of bool.

    Raises:
        ValueError: it is neither masks nor boxes for such inputs.
    """
    given = np.asarray(where)
    if given.dtype == bool and given.shape == (samples, *shape):
        return given
    if len(shape) == 2 and given.dtype.kind in "iu" and given.shape == (samples, 4):
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        top, left, bottom, right = given.T[:, :, None, None]
        return np.asarray((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right))
    raise ValueError(
        f"where is masks of True and False of shape {(samples, *shape)}, or for pictures boxes of whole numbers "
        f"{(samples, 4)}: first row, first column, one behind the last row and column. Received: shape {given.shape} "
        f"of dtype {given.dtype}"
    )
