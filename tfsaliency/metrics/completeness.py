from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfsaliency.base.structure import flatten
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.hiding import Subject
from tfsaliency.metrics.metric import Better, InapplicableError, Measurement, Metric
from tfsaliency.metrics.places import places_of


@dataclass(frozen=True, eq=False)
class CompletenessGap(Metric):
    """The completeness gap: whether the values add up to the change of the score from a baseline.

    Formula:
        ``|sum v - (f(x) - f(x0))| / |f(x) - f(x0)|``. ``details["gap"]`` is ``sum v - (f(x) - f(x0))``.

    It says nothing about the places: any map can be scaled to the right sum.

    Args:
        model: the model that was explained.
        baseline: ``x0``, as it was given to the method; see `IntegratedGradients`.

    Source:
        Sundararajan, Taly & Yan 2017, Axiomatic Attribution for Deep Networks.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> explanation = tfs.DeepLIFT(model).explain(np.ones((1, 4)))
        >>> bool(tfs.metrics.CompletenessGap(model).measure(explanation).values < 1e-5)
        True
    """

    model: Any
    baseline: Any = None

    better: ClassVar[Better] = "lower"
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def check(self, explanation: Explanation) -> None:
        if explanation.meaning != "signed":
            raise InapplicableError(
                f"Only contributions add up to a score. Received: values of the meaning {explanation.meaning!r}"
            )

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        self.check(explanation)
        places, subject = places_of(explanation), Subject(self.model, explanation, target)
        nothing = np.zeros((1, 1, places.relevance.shape[1]), bool)
        change = subject.scores - subject.without(places, nothing, self.baseline)[:, 0]
        parts = flatten(explanation.values)
        gap = sum(part.reshape(len(part), -1).sum(axis=1, dtype="float64") for part in parts) - change
        undefined = np.full(len(gap), np.nan)
        relative = np.divide(np.abs(gap), np.abs(change), out=undefined, where=change != 0)
        return self._told(relative, of="the score", details={"gap": gap})
