"""Random sets of places are hidden: does the map know how much each set costs?"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfsaliency.base.options import check_count, check_share
from tfsaliency.metrics.cells import cells_of
from tfsaliency.metrics.metric import Better, Measurement
from tfsaliency.metrics.places import Places
from tfsaliency.metrics.statistics import quotient, rank_correlation
from tfsaliency.metrics.subject import OfModel, Subject


@dataclass(frozen=True, eq=False)
class Subsets(OfModel):
    """Compares what a map says of sets of places with what the score loses without them.

    The sets are the same for all maps, so the model is asked once for several maps, and for all samples that have as
    many cells. Cells of padding alone are in no set.

    Args:
        fill: what replaces hidden places, in the forms of the ``baseline`` of `IntegratedGradients`.
    """

    fill: Any = None

    @abstractmethod
    def hidden(self, number: int) -> np.ndarray:
        """``(M, number)``: True for the cells that are hidden together, of so many cells."""

    @property
    @abstractmethod
    def across(self) -> int:
        """How many cells an axis of a picture is cut into."""

    @abstractmethod
    def compared(self, told: np.ndarray, lost: np.ndarray) -> Measurement:
        """The numbers, from what the map says of each set and what the score loses without it, ``(N, M)`` each.

        What the score loses is NaN for a set that a sample does not have.
        """

    def told(self, subject: Subject, places: Places) -> Measurement:
        return self.told_each(subject, [places])[0]

    def told_each(self, subject: Subject, maps: Sequence[Places]) -> list[Measurement]:
        hidden = self._hidden_of(np.any([each.present for each in maps], axis=0), maps[0].shapes)
        scores = subject.without(maps[0], ~hidden, self.fill)
        lost = np.where(hidden.any(axis=2), subject.scores[:, None] - scores, np.nan)
        return [self.compared(_sums(hidden, each.relevance), lost) for each in maps]

    def _hidden_of(self, present: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> np.ndarray:
        """``(N, M, P)``, or ``(1, M, P)`` for the same sets for all samples; a set that a sample lacks is empty.

        Args:
            present: ``(N, P)``, False for padding.
            shapes: the axes of the places of each part of the inputs.
        """
        rows = present[:1] if (present == present[0]).all() else present
        sets = [self._hidden_in(there, shapes) for there in rows]
        hidden = np.zeros((len(rows), max(map(len, sets)), present.shape[1]), bool)
        for row, of_row in zip(hidden, sets, strict=True):
            row[: len(of_row)] = of_row
        return hidden

    def _hidden_in(self, there: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> np.ndarray:
        """``(M, P)``: the sets of one sample, of which the places ``(P,)`` are there."""
        if not there.any():
            return np.zeros((1, len(there)), bool)
        cells = cells_of(_shapes_of(there, shapes), self.across)
        sets = self.hidden(cells.max() + 1)
        hidden = np.zeros((len(sets), len(there)), bool)
        hidden[:, there] = sets[:, cells]
        return hidden


def _shapes_of(there: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The axes of what is there of each part. A part with padding has one axis."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = zip(np.split(there, ends), shapes, strict=True)
    return [shape if part.all() else (int(part.sum()),) for part, shape in parts]


def _sums(hidden: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """``(N, M)``: the sums of ``(N, P)`` over the sets ``(N, M, P)`` or ``(1, M, P)``."""
    if len(hidden) == 1:
        return np.asarray(relevance @ hidden[0].T)
    return np.asarray((hidden @ relevance[:, :, None])[..., 0])


@dataclass(frozen=True, eq=False)
class RandomSubsets(Subsets):
    """Hides random sets of cells, each of the same size: at least one cell, and never all.

    Args:
        masks: how many sets; one forward pass each.
        across: how many cells along each axis of a picture; a single axis has the square of it.
        share: of the cells that a set hides.
        seed: the same seed hides the same sets, for every map and sample.
    """

    masks: int = 200
    across: int = 9
    share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("masks", self.masks, 4)
        check_count("across", self.across)
        check_count("seed", self.seed, 0)
        check_share("share", self.share)

    def hidden(self, number: int) -> np.ndarray:
        count = min(max(1, round(self.share * number)), max(1, number - 1))
        cells = np.tile(np.arange(number), (self.masks, 1))
        return np.asarray(np.random.default_rng(self.seed).permuted(cells, axis=1) < count)


@dataclass(frozen=True, eq=False)
class MuFidelity(RandomSubsets):
    """MuFidelity: whether the score loses as much without a random set of places as the map says.

    Formula:
        Spearman's correlation, over random sets ``S`` of cells, between ``sum over S of v`` and ``f(x) - f(x without
        S)``. 1 is best, and 0 is what a random map is expected to get. ``details["standard_error"]`` is that of the
        correlation for so many sets, ``(1 - r^2) sqrt((1 + r^2 / 2) / (M - 3))`` (Bonett & Wright 2000).

    It cannot tell finer than a cell, and it takes values for contributions that add up: magnitudes and slopes lose.

    Source:
        Bhatt, Weller & Moura 2020, Evaluating and Aggregating Feature-based Model Explanations.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.MuFidelity(model).measure(explanation).values
        array([1.])
    """

    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def compared(self, told: np.ndarray, lost: np.ndarray) -> Measurement:
        found = rank_correlation(told, lost)
        error = (1 - found**2) * np.sqrt((1 + found**2 / 2) / (self.masks - 3))
        chance = np.zeros(len(found))
        return self._told(found, chance=chance, of="the score", details={"standard_error": error})


@dataclass(frozen=True, eq=False)
class Infidelity(RandomSubsets):
    """Infidelity: how far the change of the score is from what the map predicts, at the best scale of the map.

    Formula:
        ``sum_S (b a_S - d_S)^2 / sum_S d_S^2``, over random sets ``S`` of cells, with ``a_S`` the sum of the map over
        the set, ``d_S = f(x) - f(x without S)`` and ``b = sum a d / sum a^2``, per sample. 0 is exact, and 1 is as
        good as a map of zeros. Divided by ``sum d^2`` it can be compared between samples and models.

    The paper's number without ``b`` depends on the scale of a map more than on anything else.

    Source:
        Yeh et al. 2019, On the (In)fidelity and Sensitivity of Explanations.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 4)))
        >>> bool(tfs.metrics.Infidelity(model).measure(explanation).values < 1e-10)
        True
    """

    masks: int = 50

    better: ClassVar[Better] = "lower"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def compared(self, told: np.ndarray, lost: np.ndarray) -> Measurement:
        squares, change = (told**2).sum(axis=1), (lost**2).sum(axis=1)
        scale = np.nan_to_num(quotient((told * lost).sum(axis=1), squares))
        missed = ((scale[:, None] * told - lost) ** 2).sum(axis=1)
        return self._told(quotient(missed, change), of="the score", details={"scale": scale})


@dataclass(frozen=True, eq=False)
class SingleDeletion(Subsets):
    """Single deletion: whether the map ranks the cells of an input by what the score loses without each alone.

    Formula:
        Spearman's correlation, over ``across x across`` cells, between the sum of the map over a cell and ``f(x) - f(x
        without the cell)``. 1 is best, and 0 is what a random map is expected to get.

    One cell of sixteen is a small hole, so inputs stay close to what the model knows. The measure is as coarse as its
    cells, and where two cells carry the same evidence neither seems to matter. The paper fine-tunes the model on such
    holes first; this does not.

    Args:
        across: how many cells along each axis of a picture; a single axis has the square of it.

    Source:
        Hesse, Schaub-Meyer & Roth 2024, Benchmarking the Attribution Quality of Vision Models (in-domain single
        deletion score).

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.SingleDeletion(model).measure(explanation).values
        array([1.])
    """

    across: int = 4

    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        check_count("across", self.across)

    def hidden(self, number: int) -> np.ndarray:
        return np.eye(number, dtype=bool)

    def compared(self, told: np.ndarray, lost: np.ndarray) -> Measurement:
        return self._told(rank_correlation(told, lost), chance=np.zeros(len(told)), of="the score")
