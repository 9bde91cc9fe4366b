"""Places are hidden, or shown, one after the other in the order of a map, and the score is followed."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from tfsaliency.base.options import check_count
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.hiding import Subject
from tfsaliency.metrics.metric import Better, Measurement, Metric
from tfsaliency.metrics.places import Places, places_of

First = Literal["most", "least"]


@dataclass(frozen=True, eq=False)
class Removal(Metric):
    """A curve of the score while places are hidden or shown.

    Args:
        model: the model that was explained.
        fill: what replaces a hidden place, in the forms of the ``baseline`` of `IntegratedGradients`. None for zero, or
            for ids what stands for nothing. The fill decides much: compare ``tfs.baselines.blurred(10)`` and
            ``tfs.baselines.mean()`` for pictures.
        steps: into how many steps the places are divided.
        first: whether the ``"most"`` or the ``"least"`` relevant places come first.
    """

    model: Any
    fill: Any = None
    steps: int = 20
    first: First = "most"

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        if self.first not in get_args(First):
            raise ValueError(f"first is one of {', '.join(map(repr, get_args(First)))}. Received: {self.first!r}")

    def _ranks(self, places: Places) -> np.ndarray:
        ranks, count = places.ranks, places.present.sum(axis=1, keepdims=True)
        return ranks if self.first == "most" else np.where(places.present, count - 1 - ranks, ranks)

    def _area(self, subject: Subject, fractions: np.ndarray, curve: np.ndarray) -> Measurement:
        """The area under a curve against the share of places that were hidden or shown, both ``(N, M)``."""
        area = (np.diff(fractions, axis=1) * (curve[:, 1:] + curve[:, :-1]) / 2).sum(axis=1)
        bounds = (0.0, 1.0) if subject.kept.has_probabilities else (-np.inf, np.inf)
        return self._told(area, bounds=bounds, of=subject.measured, details={"curve": curve, "fraction": fractions})


@dataclass(frozen=True, eq=False)
class Deletion(Removal):
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

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        places, subject = places_of(explanation), Subject(self.model, explanation, target)
        counts, fractions = steps_of(places, self.steps)
        kept = self._ranks(places)[:, None] >= counts[:, 1:, None]
        hidden = subject.probabilities_without(places, kept, self.fill)
        return self._area(subject, fractions, np.concatenate([subject.probabilities[:, None], hidden], axis=1))


@dataclass(frozen=True, eq=False)
class Insertion(Removal):
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

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        places, subject = places_of(explanation), Subject(self.model, explanation, target)
        counts, fractions = steps_of(places, self.steps)
        ranks = np.where(places.present, self._ranks(places), -1)
        shown = subject.probabilities_without(places, ranks[:, None] < counts[:, :-1, None], self.fill)
        return self._area(subject, fractions, np.concatenate([shown, subject.probabilities[:, None]], axis=1))


@dataclass(frozen=True, eq=False)
class ABPC(Metric):
    """The area between perturbation curves: deletion of the least relevant places first, less that of the most.

    Formula:
        ``Deletion(first="least") - Deletion(first="most")``.

    Higher is better, and 0 is what a map without information gets. What a fill does to every input alike drops out; the
    holes are as strange as those of `Deletion`.

    Args:
        model: the model that was explained.
        fill: what replaces a hidden place; see `Deletion`.
        steps: into how many steps the places are divided.

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

    model: Any
    fill: Any = None
    steps: int = 20

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        most, least = (
            Deletion(self.model, self.fill, self.steps, first).measure(explanation, target) for first in get_args(First)
        )
        bounds = (-1.0, 1.0) if most.bounds == (0.0, 1.0) else self.bounds
        curves = {"most first": most.details["curve"], "least first": least.details["curve"]}
        chance = np.zeros(len(most.values))
        return self._told(least.values - most.values, bounds=bounds, of=most.of, chance=chance, details=curves)


def steps_of(places: Places, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """How many places are hidden at each step, and which share of those that there are: ``(N, steps + 1)``.

    An input of fewer places than steps has some steps of nothing.
    """
    total = places.present.sum(axis=1, keepdims=True)
    counts = np.rint(np.linspace(0, 1, steps + 1) * total).astype(int)
    return counts, counts / total
