from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfsaliency.explanation import Explanation
from tfsaliency.metrics.metric import Better, InapplicableError, Measurement
from tfsaliency.metrics.places import Places
from tfsaliency.metrics.statistics import quotient
from tfsaliency.metrics.subject import OfModel, Subject


@dataclass(frozen=True, eq=False)
class CompletenessGap(OfModel):
    """The completeness gap: whether the values add up to the change of the score from a baseline.

    Formula:
        ``|sum v - (f(x) - f(x0))| / |f(x) - f(x0)|``. ``details["gap"]`` is ``sum v - (f(x) - f(x0))``.

    It says nothing about the places: any map can be scaled to the right sum.

    Args:
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

    baseline: Any = None

    better: ClassVar[Better] = "lower"
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def check(self, explanation: Explanation) -> None:
        if set(explanation.meanings) != {"signed"}:
            raise InapplicableError(
                f"Only contributions add up to a score. Received: values of the meaning {explanation.meaning!r}"
            )

    def told(self, subject: Subject, places: Places) -> Measurement:
        nothing = np.zeros((1, 1, places.relevance.shape[1]), bool)
        change = subject.scores - subject.without(places, nothing, self.baseline)[:, 0]
        gap = places.relevance.sum(axis=1) - change
        return self._told(quotient(np.abs(gap), np.abs(change)), of="the score", details={"gap": gap})
