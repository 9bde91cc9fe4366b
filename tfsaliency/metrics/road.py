from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfsaliency.base.options import check_amount, check_count
from tfsaliency.base.structure import flatten, skeleton, unflatten
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.hiding import Subject
from tfsaliency.metrics.metric import InapplicableError, Measurement, Metric
from tfsaliency.metrics.places import places_of

# The weight of a neighbour beside a pixel, and of one at its corner.
BESIDE, AT_CORNER = 1 / 6, 1 / 12


@dataclass(frozen=True, eq=False)
class ROAD(Metric):
    """ROAD, remove and debias: what the probability loses when pixels are replaced by what their neighbours suggest.

    Formula:
        The mean, over shares of the pixels, of ``p(least relevant removed) - p(most relevant removed)``. A removed
        pixel is the weighted mean of its eight neighbours, 1/6 for those beside it and 1/12 at the corners, removed
        ones included: the solution of one linear system. Noise is added to it.

    Higher is better, 0 is chance. The pixels that are left say less about which were removed than a hole does; blurred
    maps win, because what they remove cannot be guessed from its neighbours.

    Args:
        model: the model that was explained.
        shares: of the pixels that are removed.
        noise: standard deviation of the noise, as a share of the range of each picture.
        seed: of the noise.

    Raises:
        ImportError: on ``measure``, without SciPy, which solves the systems: about half a second for each share, order
            and picture of 224 x 224.

    Source:
        Rong, Leemann, Borisov, Kasneci & Kasneci 2022, A Consistent and Efficient Evaluation Strategy for Attribution
        Methods.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
        >>> explanation = tfs.Gradient(model).explain(np.random.default_rng(0).uniform(size=(2, 8, 8, 3)))
        >>> tfs.metrics.ROAD(model).measure(explanation).values.shape
        (2,)
    """

    model: Any
    shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    noise: float = 0.01
    seed: int = 0

    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        check_amount("noise", self.noise)
        check_count("seed", self.seed, 0)
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise ValueError(f"shares are numbers between 0 and 1. Received: {self.shares!r}")

    def check(self, explanation: Explanation) -> None:
        parts = flatten(explanation.inputs)
        if len(parts) != 1 or parts[0].ndim != 4 or parts[0].dtype.kind != "f":
            raise InapplicableError("ROAD is for pictures (N, height, width, channels) of real numbers.")

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        self.check(explanation)
        places, subject = places_of(explanation), Subject(self.model, explanation, target)
        (pictures,) = flatten(explanation.inputs)
        ranks, count = places.ranks, places.ranks.shape[1]
        curves = {}
        for name, order in (("most first", ranks), ("least first", count - 1 - ranks)):
            removed = [order < round(share * count) for share in self.shares]
            scores = [self._scores(subject, pictures, each) for each in removed]
            curves[name] = np.stack(scores, axis=1)
        gaps = curves["least first"] - curves["most first"]
        bounds = self.bounds if subject.kept.has_probabilities else (-np.inf, np.inf)
        chance = np.zeros(len(gaps))
        return self._told(gaps.mean(axis=1), bounds=bounds, chance=chance, of=subject.measured, details=curves)

    def _scores(self, subject: Subject, pictures: np.ndarray, removed: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng([self.seed, *b"road"])
        drawn = generator.normal(size=pictures.shape[1:])
        filled = [
            imputed(picture, each.reshape(picture.shape[:2]), self.noise * np.ptp(picture) * drawn)
            for picture, each in zip(pictures, removed, strict=True)
        ]
        return subject.probabilities_of(unflatten(skeleton(subject.inputs), [np.stack(filled)]))


def imputed(picture: np.ndarray, removed: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """A picture ``(H, W, C)`` whose removed pixels are the weighted mean of their neighbours, and noise."""
    try:
        from scipy.sparse import coo_matrix, diags
        from scipy.sparse.linalg import splu
    except ImportError as error:
        raise ImportError("ROAD needs SciPy: pip install 'tfsaliency[metrics]'") from error
    height, width = removed.shape
    numbers = np.arange(height * width).reshape(height, width)
    pairs = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        weight = AT_CORNER if down and right else BESIDE
        start, stop = max(0, -right), width - max(0, right)
        one, other = numbers[: height - down, start:stop], numbers[down:, start + right : stop + right]
        pairs.append((one.reshape(-1), other.reshape(-1), np.full(one.size, weight)))
    ones, others, weights = (np.concatenate(each) for each in zip(*pairs, strict=True))
    size = height * width
    both = np.concatenate([ones, others]), np.concatenate([others, ones])
    joined = coo_matrix((np.concatenate([weights, weights]), both), (size, size)).tocsr()
    # At a border there are fewer neighbours: their weights are made to sum to 1.
    system = diags(np.asarray(joined.sum(axis=1)).reshape(-1)) - joined
    flat, gone = picture.reshape(size, -1).astype("float64"), np.flatnonzero(removed)
    left = np.flatnonzero(~removed.reshape(-1))
    known = joined[gone][:, left] @ flat[left]
    flat[gone] = splu(system.tocsr()[gone][:, gone].tocsc()).solve(known) + noise.reshape(size, -1)[gone]
    return np.asarray(flat.reshape(picture.shape), picture.dtype)
