"""Places are hidden, or shown, one after the other in the order of a map, and the score is followed."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from tfsaliency.base.options import check_choice, check_count
from tfsaliency.metrics.metric import Better, Measurement
from tfsaliency.metrics.places import Places
from tfsaliency.metrics.statistics import quotient
from tfsaliency.metrics.subject import OfModel, Subject

First = Literal["most", "least"]


@dataclass(frozen=True, eq=False)
class Removal(OfModel):
    """Follows the score while places are hidden or shown, step by step.

    Args:
        fill: what replaces a hidden place, in the forms of the ``baseline`` of `IntegratedGradients`. None for zero, or
            for ids what stands for nothing. The fill decides much: compare ``tfs.baselines.blurred(10)`` and
            ``tfs.baselines.mean()`` for pictures.
        steps: into how many steps the places are divided.
    """

    fill: Any = None
    steps: int = 20

    def __post_init__(self) -> None:
        check_count("steps", self.steps)

    def _counts(self, places: Places) -> np.ndarray:
        """``(N, steps + 1)``: how many places are hidden at each step.

        An input of fewer places than steps has some steps of nothing.
        """
        total = places.present.sum(axis=1, keepdims=True)
        return np.asarray(np.rint(np.linspace(0, 1, self.steps + 1) * total), int)

    def _deleted(self, subject: Subject, places: Places, ranks: np.ndarray) -> np.ndarray:
        """``(N, steps + 1)``: the probabilities when places of the lowest ranks are hidden."""
        kept = ranks[:, None] >= self._counts(places)[:, 1:, None]
        hidden = subject.probabilities_without(places, kept, self.fill)
        return np.concatenate([subject.probabilities[:, None], hidden], axis=1)

    def _inserted(self, subject: Subject, places: Places, ranks: np.ndarray) -> np.ndarray:
        """``(N, steps + 1)``: the probabilities when only places of the lowest ranks are shown."""
        shown = np.where(places.present, ranks, -1)[:, None] < self._counts(places)[:, :-1, None]
        hidden = subject.probabilities_without(places, shown, self.fill)
        return np.concatenate([hidden, subject.probabilities[:, None]], axis=1)

    def _fractions(self, places: Places) -> np.ndarray:
        """``(N, steps + 1)``: the share of the places that are hidden or shown at each step."""
        counts = self._counts(places)
        return quotient(counts, counts[:, -1:])


@dataclass(frozen=True, eq=False)
class Curve(Removal):
    """The area under one such curve.

    Args:
        first: whether the ``"most"`` or the ``"least"`` relevant places come first.
    """

    first: First = "most"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("first", self.first, get_args(First))

    @abstractmethod
    def curve(self, subject: Subject, places: Places, ranks: np.ndarray) -> np.ndarray:
        """``(N, steps + 1)``: the probabilities, for places in the order of their ranks."""

    def told(self, subject: Subject, places: Places) -> Measurement:
        curve = self.curve(subject, places, places.ranks if self.first == "most" else places.least_first)
        fractions = self._fractions(places)
        details = {"curve": curve, "fraction": fractions}
        return self._told(_area(fractions, curve), bounds=subject.bounds(), of=subject.measured, details=details)


@dataclass(frozen=True, eq=False)
class Deletion(Curve):
    """Deletion: the area under the curve of the probability while the most relevant places are hidden.

    Formula:
        ``sum_m (f_{m+1} - f_m) (p_m + p_{m+1}) / 2``, with ``p_m`` the probability of the class (or the score, where
        there is none) when a share ``f_m`` of the places is hidden, from 0 to 1. All channels of a place are hidden
        together. Among places of equal relevance the order is a fixed random one.

    Lower is better. It cannot tell a map that found the evidence from one that makes the network see nonsense first:
    inputs with holes are like nothing that it was trained on.

    Source:
        Petsiuk, Das & Saenko 2018, RISE: Randomized Input Sampling for Explanation of Black-box Models; Samek et al.
        2017, Evaluating the Visualization of What a Deep Neural Network Has Learned.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.Deletion(model, steps=4).measure(explanation).values  # of 10, 6, 3, 1 and 0
        array([3.75])
    """

    better: ClassVar[Better] = "lower"

    def curve(self, subject: Subject, places: Places, ranks: np.ndarray) -> np.ndarray:
        return self._deleted(subject, places, ranks)


@dataclass(frozen=True, eq=False)
class Insertion(Curve):
    """Insertion: the area under the curve of the probability while the most relevant places are shown.

    Formula:
        As `Deletion`, with ``p_m`` when only a share ``f_m`` of the places is shown.

    Higher is better. On a blurred fill it prefers maps that uncover whole objects to maps that point at what the
    network uses.

    Source:
        Petsiuk, Das & Saenko 2018, RISE: Randomized Input Sampling for Explanation of Black-box Models.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.Insertion(model, steps=4).measure(explanation).values  # of 0, 4, 7, 9 and 10
        array([6.25])
    """

    def curve(self, subject: Subject, places: Places, ranks: np.ndarray) -> np.ndarray:
        return self._inserted(subject, places, ranks)


@dataclass(frozen=True, eq=False)
class ABPC(Removal):
    """The area between perturbation curves: deletion of the least relevant places first, less that of the most.

    Formula:
        ``Deletion(first="least") - Deletion(first="most")``.

    Higher is better, and 0 is what a map without information gets. What a fill does to every input alike drops out; the
    holes are as strange as those of `Deletion`.

    Source:
        Schulz, Sixt, Tombari & Landgraf 2020, Restricting the Flow: Information Bottlenecks for Attribution, section
        4.4; the curves are those of Samek et al. 2017.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.ABPC(model, steps=4).measure(explanation).values  # 6.25 - 3.75
        array([2.5])
    """

    def told(self, subject: Subject, places: Places) -> Measurement:
        curves = {
            "most first": self._deleted(subject, places, places.ranks),
            "least first": self._deleted(subject, places, places.least_first),
        }
        most, least = (_area(self._fractions(places), curve) for curve in curves.values())
        chance = np.zeros(len(most))
        return self._told(least - most, bounds=subject.bounds(-1), of=subject.measured, chance=chance, details=curves)


def _area(fractions: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """``(N,)``: the area under each curve, by trapezoids."""
    return np.asarray((np.diff(fractions, axis=1) * (curve[:, 1:] + curve[:, :-1]) / 2).sum(axis=1))
