"""What every metric has in common: a number for each sample, and what the number means."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from tfsaliency.explainer import Explainer, text_of
from tfsaliency.explanation import Explanation

Better = Literal["higher", "lower", "neither"]


class InapplicableError(ValueError):
    """A metric says nothing about such an explanation; a table of a comparison shows a dash there."""


def subject_of(metric: "type[Metric] | Metric", explainer: Explainer) -> dict[str, Any]:
    """What a metric asks, by the name of its field: a model, an explainer, or nothing."""
    subjects = {"model": explainer.model, "explainer": explainer}
    return {each.name: subjects[each.name] for each in dataclasses.fields(metric) if each.name in subjects}


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a metric says about a batch.

    Attributes:
        values: ``(N,)`` float64, one number for each sample; NaN where the metric is not defined for it.
        metric: the metric with its options.
        better: whether ``"higher"`` or ``"lower"`` values are better; ``"neither"`` for what is no quality.
        bounds: the lowest and the highest possible value.
        chance: ``(N,)``, what a random map is expected to get; None where only a random map of the same inputs shows it
            (the controls of `compare` do).
        of: what was measured: the probability of the class, the score, or the map alone.
        details: name -> array with ``N`` rows, such as the curve behind each number.
    """

    values: np.ndarray
    metric: str
    better: Better
    bounds: tuple[float, float]
    chance: np.ndarray | None = None
    of: str = "the map"
    details: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __str__(self) -> str:
        which = "" if self.better == "neither" else f", {self.better} is better"
        known = self.values[~np.isnan(self.values)]
        mean = f"{known.mean():.4g}" if known.size else "undefined"
        return f"{self.metric}: {mean}, the mean of {known.size} samples{which}"


@dataclass(frozen=True, eq=False)
class Metric(ABC):
    """A question to maps, with its options: a frozen value, as explainers are.

    A subclass is a frozen dataclass. It writes `measure`, and says what its numbers mean in the class attributes.

    Attributes:
        better: see `Measurement`.
        bounds: see `Measurement`.

    Example:
        >>> import dataclasses, keras, numpy as np, tfsaliency as tfs
        >>> @dataclasses.dataclass(frozen=True, eq=False)
        ... class Largest(tfs.metrics.Metric):
        ...     better = "neither"
        ...
        ...     def measure(self, explanation, target=None):
        ...         return tfs.metrics.Measurement(explanation.values.max(axis=1), str(self), self.better, self.bounds)
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> Largest().measure(tfs.Gradient(model).explain(np.ones((3, 4)))).values.shape
        (3,)
    """

    better: ClassVar[Better] = "higher"
    bounds: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

    @abstractmethod
    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        """One number for each sample of an explanation.

        Args:
            explanation: what is measured, new or loaded from a file.
            target: what was explained, as for ``explain``. None for the classes that the explanation names; a function
                or a place of an output has to be passed again.

        Raises:
            ValueError: the model does not give the scores of the explanation: it is of another model or target. Or the
                metric says nothing about such inputs or values (`InapplicableError`).

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
            >>> explanation = tfs.Gradient(model).explain(np.ones((3, 4)))
            >>> print(str(tfs.metrics.Gini().measure(explanation)).partition(":")[0])
            Gini
        """

    def check(self, explanation: Explanation) -> None:
        """Raises `InapplicableError` where the metric says nothing about such values or inputs.

        Args:
            explanation: what is going to be measured.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
            >>> tfs.metrics.Gini().check(tfs.Gradient(model).explain(np.ones((3, 4))))
        """
        return

    def measure_each(self, explanations: Sequence[Explanation], target: Any = None) -> list[Measurement]:
        """Measures several maps of the same inputs and target.

        A metric that asks the model the same for all maps asks it once.

        Args:
            explanations: of the same inputs.
            target: what was explained; see `measure`.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
            >>> x = np.ones((3, 4))
            >>> both = [tfs.Gradient(model).explain(x), tfs.DeepLIFT(model).explain(x)]
            >>> [len(each.values) for each in tfs.metrics.MuFidelity(model).measure_each(both)]
            [3, 3]
        """
        return [self.measure(explanation, target) for explanation in explanations]

    def __str__(self) -> str:
        hidden = ("model", "explainer")
        options = [
            f"{each.name}={text_of(value)}"
            for each in dataclasses.fields(self)
            if each.name not in hidden and (value := getattr(self, each.name)) is not None
        ]
        return f"{type(self).__name__}({', '.join(options)})" if options else type(self).__name__

    def _told(self, values: np.ndarray, **others: Any) -> Measurement:
        """A measurement with what the class says of its numbers."""
        told = {"better": self.better, "bounds": self.bounds, "metric": str(self)} | others
        return Measurement(values=np.asarray(values, "float64"), **told)


@dataclass(frozen=True, eq=False)
class OfExplainer(Metric):
    """A metric that asks the explainer again.

    Args:
        explainer: what made the map.

    Raises:
        TypeError: it is none.
    """

    explainer: Explainer

    def __post_init__(self) -> None:
        if not isinstance(self.explainer, Explainer):
            raise TypeError(
                f"{type(self).__name__} asks again what made the map: pass it, such as tfsaliency.Gradient(model). "
                f"Received: {type(self.explainer).__name__}"
            )
