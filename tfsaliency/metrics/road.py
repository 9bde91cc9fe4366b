from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfsaliency.base.extra import require
from tfsaliency.base.options import check_amount, check_count, check_shares
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.metric import Measurement
from tfsaliency.metrics.places import Places, as_passed, pictures_of
from tfsaliency.metrics.subject import OfModel, Subject

WANTED = "ROAD is for pictures (N, height, width, channels) of real numbers."
# The weight of a neighbour beside a pixel, and of one at its corner.
BESIDE, AT_CORNER = 1 / 6, 1 / 12


@dataclass(frozen=True, eq=False)
class ROAD(OfModel):
    """ROAD, remove and debias: what the probability loses when pixels are replaced by what their neighbours suggest.

    Formula:
        The mean, over shares of the pixels, of ``p(least relevant removed) - p(most relevant removed)``. A removed
        pixel is the weighted mean of its eight neighbours, 1/6 for those beside it and 1/12 at the corners, removed
        ones included: the solution of one linear system. Noise is added to it.

    Higher is better, 0 is chance. The pixels that are left say less about which were removed than a hole does; blurred
    maps win, because what they remove cannot be guessed from its neighbours.

    Args:
        shares: of the pixels that are removed.
        noise: standard deviation of the noise, as a share of the range of each picture.
        seed: of the noise.

    Raises:
        ValueError: on ``measure``, if a share of the pixels is all of them.
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

    shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    noise: float = 0.01
    seed: int = 0

    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        check_amount("noise", self.noise)
        check_count("seed", self.seed, 0)
        check_shares(self.shares)

    def check(self, explanation: Explanation) -> None:
        pictures_of(explanation, WANTED, kinds="f")

    def told(self, subject: Subject, places: Places) -> Measurement:
        pictures = pictures_of(subject.explanation, WANTED, kinds="f")
        drawn = np.random.default_rng([self.seed, *b"road"]).normal(size=pictures.shape[1:])
        noise = [self.noise * np.ptp(picture) * drawn for picture in pictures]
        neighbours, count = neighbours_of(*pictures.shape[1:3]), places.relevance.shape[1]
        counts = [round(share * count) for share in self.shares]
        if max(counts) == count:
            raise ValueError(
                f"ROAD guesses pixels from those that are left. Received: shares={self.shares}, and pictures of "
                f"{count} pixels, of which none is left. Give smaller shares."
            )

        def score(removed: np.ndarray) -> np.ndarray:
            masks = removed.reshape(pictures.shape[:3])
            filled = [imputed(*each, neighbours) for each in zip(pictures, masks, noise, strict=True)]
            return subject.probabilities_of(as_passed(np.stack(filled), subject.explanation))

        curves = {
            name: np.stack([score(ranks < removed) for removed in counts], axis=1)
            for name, ranks in (("most first", places.ranks), ("least first", places.least_first))
        }
        gaps = curves["least first"] - curves["most first"]
        bounds, chance = subject.bounds(-1), np.zeros(len(gaps))
        return self._told(gaps.mean(axis=1), bounds=bounds, chance=chance, of=subject.measured, details=curves)


def neighbours_of(height: int, width: int) -> Any:
    """``(P, P)``, sparse: the weight of each pixel in the mean of another one; 0 for those that do not touch."""
    numbers = np.arange(height * width).reshape(height, width)
    pairs = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        weight = AT_CORNER if down and right else BESIDE
        start, stop = max(0, -right), width - max(0, right)
        one, other = numbers[: height - down, start:stop], numbers[down:, start + right : stop + right]
        pairs.append((one.reshape(-1), other.reshape(-1), np.full(one.size, weight)))
    ones, others, weights = (np.concatenate(each) for each in zip(*pairs, strict=True))
    joined = _sparse().coo_matrix((weights, (ones, others)), (height * width, height * width))
    return (joined + joined.T).tocsr()


def imputed(picture: np.ndarray, removed: np.ndarray, noise: np.ndarray, neighbours: Any) -> np.ndarray:
    """A picture ``(H, W, C)`` whose removed pixels are the weighted mean of their neighbours, and noise.

    Args:
        picture: the picture.
        removed: ``(H, W)``, True for the pixels that are replaced.
        noise: ``(H, W, C)``.
        neighbours: of pictures of this size; see `neighbours_of`.
    """
    size = removed.size
    # At a border there are fewer neighbours: their weights are made to sum to 1.
    system = (_sparse().diags(np.asarray(neighbours.sum(axis=1)).reshape(-1)) - neighbours).tocsr()
    flat, gone = picture.reshape(size, -1).astype("float64"), np.flatnonzero(removed)
    left = np.flatnonzero(~removed.reshape(-1))
    known = neighbours[gone][:, left] @ flat[left]
    solved = _sparse().linalg.splu(system[gone][:, gone].tocsc()).solve(known)
    flat[gone] = solved + noise.reshape(size, -1)[gone]
    return np.asarray(flat.reshape(picture.shape), picture.dtype)


def _sparse() -> Any:
    require("scipy.sparse.linalg", "metrics")
    return require("scipy.sparse", "metrics")
