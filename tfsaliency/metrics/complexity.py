"""How much of a map is where: whether few places hold it. That is no quality."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfsaliency.explanation import Explanation
from tfsaliency.metrics.metric import Better, Measurement, Metric
from tfsaliency.metrics.places import places_of
from tfsaliency.metrics.statistics import quotient


@dataclass(frozen=True, eq=False)
class Entropy(Metric):
    """The entropy of a map: low where few places hold all of it.

    Formula:
        ``-sum q log q`` with ``q = |v| / sum |v|`` over the places, in natural logarithm: 0 for one place, ``log P``
        for all alike.

    A map of one random pixel has the best value: it says how much there is to read, and nothing about whether it is
    right.

    Source:
        Bhatt, Weller & Moura 2020, Evaluating and Aggregating Feature-based Model Explanations.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0], [-1.0]])])
        >>> explanation = tfs.Gradient(model).explain(np.ones((1, 2)))
        >>> tfs.metrics.Entropy().measure(explanation).values  # the logarithm of 2
        array([0.69314718])
    """

    better: ClassVar[Better] = "neither"
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        sizes = np.abs(places_of(explanation).relevance)
        shares = quotient(sizes, sizes.sum(axis=1, keepdims=True))
        logarithms = np.log(shares, out=np.zeros(shares.shape), where=shares > 0)
        return self._told(0 - (shares * logarithms).sum(axis=1))


@dataclass(frozen=True, eq=False)
class Gini(Metric):
    """The Gini coefficient of a map: 1 where one place holds all of it, 0 where all hold alike.

    Formula:
        ``sum_i (2 i - P - 1) a_i / (P sum a)``, with ``a`` the sizes of the values over ``P`` places in rising order.

    See `Entropy`: it is no quality.

    Source:
        Chalasani et al. 2020, Concise Explanations of Neural Networks using Adversarial Training.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0], [-1.0]])])
        >>> tfs.metrics.Gini().measure(tfs.Gradient(model).explain(np.ones((1, 2)))).values
        array([0.])
    """

    better: ClassVar[Better] = "neither"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        places = places_of(explanation)
        # Padding has exactly 0, and so comes first.
        sizes = np.sort(np.abs(places.relevance), axis=1)
        count = places.present.sum(axis=1, keepdims=True)
        rank = np.arange(1, sizes.shape[1] + 1) - (sizes.shape[1] - count)
        weighted = ((2 * rank - count - 1) * sizes).sum(axis=1)
        return self._told(quotient(weighted, count[:, 0] * sizes.sum(axis=1)))
