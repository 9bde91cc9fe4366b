from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfsaliency.base.extra import require
from tfsaliency.base.options import check_count
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.metric import InapplicableError, Measurement
from tfsaliency.metrics.places import Places, pictures_of
from tfsaliency.metrics.subject import OfModel, Subject

WANTED = "Segments are those of pictures (N, height, width, channels)."


@dataclass(frozen=True, eq=False)
class IROF(OfModel):
    """IROF, iterative removal of features: deletion of whole segments of a picture, by their mean relevance.

    Formula:
        ``1 - (1/S) sum_k (p_k + p_{k+1}) / (2 p_0)``, with ``p_k`` the probability of the class when the ``k`` most
        relevant of ``S`` segments are hidden. Higher is better. The paper's number is ``S`` times that.

    Segments are nearer to objects than pixels are, so a map that is right between the pixels of an object gains. The
    segmentation and the fill decide much.

    Args:
        model: the model that was explained; its output is a probability.
        fill: what replaces a hidden segment; the paper takes ``tfs.baselines.mean()``. See `Deletion`.
        segments: about how many segments a picture has (SLIC).

    Raises:
        ImportError: on ``measure``, without scikit-image.
        InapplicableError: the score is no probability, or the inputs are no pictures.

    Source:
        Rieger & Hansen 2020, IROF: a low resource evaluation metric for explanation methods.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
        >>> explanation = tfs.Gradient(model).explain(np.random.default_rng(0).uniform(size=(2, 8, 8, 3)))
        >>> tfs.metrics.IROF(model, tfs.baselines.mean(), segments=9).measure(explanation).values.shape
        (2,)
    """

    fill: Any = None
    segments: int = 50

    bounds: ClassVar[tuple[float, float]] = (-np.inf, 1.0)

    def __post_init__(self) -> None:
        check_count("segments", self.segments, 2)

    def check(self, explanation: Explanation) -> None:
        pictures_of(explanation, WANTED)

    def told(self, subject: Subject, places: Places) -> Measurement:
        if not subject.kept.has_probabilities:
            raise InapplicableError("IROF compares probabilities with the first. Received: a score that is none.")
        labels = [segments_of(picture, self.segments) for picture in pictures_of(subject.explanation, WANTED)]
        counts = np.array([each.max() + 1 for each in labels])
        ranks = np.stack([_ranks(each, row) for each, row in zip(labels, places.relevance, strict=True)])
        steps = np.arange(1, counts.max() + 1)[None, :, None]
        hidden = subject.probabilities_without(places, ranks[:, None] >= steps, self.fill)
        curve = np.concatenate([subject.probabilities[:, None], hidden], axis=1)
        # A picture of fewer segments has nothing left to hide after its last.
        is_step = np.arange(counts.max()) < counts[:, None]
        area = ((curve[:, 1:] + curve[:, :-1]) / 2 * is_step).sum(axis=1) / curve[:, 0]
        details = {"curve": curve, "segments": counts}
        return self._told(1 - area / counts, of=subject.measured, details=details)


def segments_of(picture: np.ndarray, count: int) -> np.ndarray:
    """``(P,)``: the number of the segment of each pixel, from 0."""
    slic = require("skimage.segmentation", "metrics").slic
    low, extent = picture.min(), np.ptp(picture)
    scaled = (picture.astype("float64") - low) / (extent or 1)
    labels = slic(scaled, n_segments=count, start_label=0, channel_axis=-1, convert2lab=picture.shape[-1] == 3)
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def _ranks(labels: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """``(P,)``: for each pixel the rank of its segment, 0 for that of the largest mean relevance."""
    means = np.bincount(labels, relevance) / np.bincount(labels)
    return np.asarray(np.argsort(np.argsort(-means, kind="stable"))[labels])
