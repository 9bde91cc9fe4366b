"""The rules of layer-wise relevance propagation at an affine map ``z = w x + b``.

A rule is a function ``(affine, relevance) -> relevance``: it shares the relevance of each result ``z_j`` among its
inputs ``x_i``. All rules share in proportion to a contribution ``q_ij``,

    ``R_i = sum_j q_ij / (sum_i q_ij + b_j) R_j``

and differ in the contribution and in the part of the bias that they count. Below, ``+`` and ``-`` mark positive and
negative parts: ``x = x+ + x-``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.base.options import check_amount
from tfsaliency.graph.affine import Affine

RelevanceRule = Callable[[Affine, tf.Tensor], tf.Tensor]

# Keeps a division by almost zero finite, if a rule has no epsilon of its own.
STABILIZER = 1e-6


def stabilized(z: tf.Tensor, epsilon: float = STABILIZER) -> tf.Tensor:
    """``z`` moved away from zero by epsilon; zero counts as positive."""
    return z + tf.where(z >= 0, tf.constant(epsilon, z.dtype), tf.constant(-epsilon, z.dtype))


def shared(
    affine: Affine,
    contributions: list[tuple[tf.Tensor, tf.Tensor]],
    bias: tf.Tensor | float,
    relevance: tf.Tensor,
    epsilon: float = STABILIZER,
) -> tf.Tensor:
    """``R_i = sum_j q_ij / (sum_i q_ij + b_j) R_j``, with ``q_ij`` the sum of ``x_i w_ij`` over the contributions.

    Args:
        affine: the map.
        contributions: pairs of a signal, of the shape of ``affine.x``, and weights, of the shape of ``affine.weights``.
        bias: the part of the bias that counts, of a shape that broadcasts to that of ``affine.z``.
        relevance: of the shape of ``affine.z``.
        epsilon: moves each denominator away from zero.

    Returns:
        Relevance of the shape of ``affine.x``.

    Example:
        >>> import keras, numpy as np, tensorflow as tf, tfsaliency as tfs
        >>> def by_size(affine, relevance):
        ...     return tfs.rules.shared(affine, [(tf.abs(affine.x), tf.abs(affine.weights))], 0.0, relevance)
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> tfs.LRP(model, {tfs.rules.kind("dense"): by_size}).explain(np.ones((1, 3))).values.shape
        (1, 3)
    """
    signals = [signal for signal, _ in contributions]
    with tf.GradientTape() as tape:
        tape.watch(signals)
        terms = [affine.linear(signal, weights) for signal, weights in contributions]
    ratio = tf.math.divide_no_nan(relevance, stabilized(tf.add_n(terms) + bias, epsilon))
    slopes = tape.gradient(terms, signals, output_gradients=[ratio] * len(terms))
    return tf.add_n([signal * slope for signal, slope in zip(signals, slopes, strict=True)])


def positive(value: tf.Tensor) -> tf.Tensor:
    """``x+``."""
    return tf.maximum(value, 0)


def negative(value: tf.Tensor) -> tf.Tensor:
    """``x-``, negative or zero."""
    return tf.minimum(value, 0)


def split(affine: Affine, rising: tf.Tensor, falling: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """The pairs ``(x+, rising), (x-, falling)``; only the first if the signal is never negative."""
    pairs = [(positive(affine.x), rising)]
    return pairs if affine.never_negative else [*pairs, (negative(affine.x), falling)]


@dataclass(frozen=True)
class Epsilon:
    """``R_i = sum_j x_i w_ij / (z_j + epsilon sign(z_j)) R_j``; LRP-0 with ``epsilon=0``.

    Args:
        epsilon: the number added to the size of each ``z_j``: it absorbs the relevance of weak results.

    Source:
        Bach et al. 2015, On Pixel-Wise Explanations by Layer-Wise Relevance Propagation, equation 58.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0], [-1.0], [2.0]])])
        >>> rules = {tfs.rules.kind("dense"): tfs.rules.Epsilon()}
        >>> tfs.LRP(model, rules).explain(np.array([[1.0, 2.0, 3.0]]), tfs.target.binary(1)).values.round(2)
        array([[ 1., -2.,  6.]], dtype=float32)
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_amount("epsilon", self.epsilon)

    def __call__(self, affine: Affine, relevance: tf.Tensor) -> tf.Tensor:
        ratio = tf.math.divide_no_nan(relevance, stabilized(affine.z, self.epsilon))
        with tf.GradientTape() as tape:
            tape.watch(affine.x)
            y = affine.linear(affine.x)
        return affine.x * tape.gradient(y, affine.x, output_gradients=ratio)


@dataclass(frozen=True)
class Gamma:
    """Favours positive contributions: ``q_ij = x_i (w_ij + gamma w_ij+)`` for positive ``x_i``.

    In general, for ``z_j > 0``, ``q_ij = x_i+ (w_ij + gamma w_ij+) + x_i- (w_ij + gamma w_ij-)`` with the bias
    ``b + gamma b+``; for ``z_j < 0``, the same with the signs of the favoured parts exchanged.

    Args:
        gamma: the extra weight of contributions that agree with the sign of the result.

    Source:
        Montavon et al. 2019, Layer-Wise Relevance Propagation: An Overview, section 10.2; for signals of either sign
        Andeol et al. 2021.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0], [-1.0], [2.0]])])
        >>> rules = {tfs.rules.kind("dense"): tfs.rules.Gamma(1.0)}
        >>> tfs.LRP(model, rules).explain(np.array([[1.0, 2.0, 3.0]]), tfs.target.binary(1)).values.round(2)
        array([[ 0.83, -0.83,  5.  ]], dtype=float32)
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        check_amount("gamma", self.gamma)

    def __call__(self, affine: Affine, relevance: tf.Tensor) -> tf.Tensor:
        w, b, z = affine.weights, affine.bias, affine.z
        raised, lowered = w + self.gamma * positive(w), w + self.gamma * negative(w)
        above = shared(
            affine,
            split(affine, raised, lowered),
            b + self.gamma * positive(b),
            tf.where(z > 0, relevance, 0),
        )
        below = shared(
            affine,
            split(affine, lowered, raised),
            b + self.gamma * negative(b),
            tf.where(z < 0, relevance, 0),
        )
        return above + below


@dataclass(frozen=True)
class AlphaBeta:
    """``R_i = sum_j (alpha q_ij+ / (sum_i q_ij+ + b_j+) - beta q_ij- / (sum_i q_ij- + b_j-)) R_j``.

    The contributions are ``q_ij = x_i w_ij``.

    Args:
        alpha: weight of positive contributions.
        beta: weight of negative contributions; ``alpha - beta = 1``.

    Raises:
        ValueError: ``alpha - beta`` is not 1.

    Source:
        Bach et al. 2015, equation 60.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0], [-1.0], [2.0]])])
        >>> rules = {tfs.rules.kind("dense"): tfs.rules.AlphaBeta(2, 1)}
        >>> tfs.LRP(model, rules).explain(np.array([[1.0, 2.0, 3.0]]), tfs.target.binary(1)).values.round(2)
        array([[ 1.43, -5.  ,  8.57]], dtype=float32)
    """

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_amount("alpha", self.alpha)
        check_amount("beta", self.beta)
        if not np.isclose(self.alpha - self.beta, 1):
            raise ValueError(f"alpha - beta is 1, to conserve relevance. Received: {self.alpha} - {self.beta}")

    def __call__(self, affine: Affine, relevance: tf.Tensor) -> tf.Tensor:
        w, b = affine.weights, affine.bias
        result = shared(affine, split(affine, positive(w), negative(w)), positive(b), self.alpha * relevance)
        if self.beta:
            result -= shared(affine, split(affine, negative(w), positive(w)), negative(b), self.beta * relevance)
        return result


@dataclass(frozen=True)
class ZPlus:
    """``R_i = sum_j q_ij+ / (sum_i q_ij+ + b_j+) R_j``, ``q_ij = x_i w_ij``: only positive contributions count.

    Relevance is conserved, except for the shares of positive biases and of results without a positive contribution.

    Source:
        Montavon et al. 2017, Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition, section 4.1;
        with signals of either sign it is `AlphaBeta` (1, 0).

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0], [-1.0], [2.0]])])
        >>> rules = {tfs.rules.kind("dense"): tfs.rules.ZPlus()}
        >>> tfs.LRP(model, rules).explain(np.array([[1.0, 2.0, 3.0]]), tfs.target.binary(1)).values.round(2)
        array([[0.71, 0.  , 4.29]], dtype=float32)
    """

    def __call__(self, affine: Affine, relevance: tf.Tensor) -> tf.Tensor:
        return AlphaBeta(1.0, 0.0)(affine, relevance)


@dataclass(frozen=True)
class WSquare:
    """``R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j``: for inputs without bounds, independent of their values.

    Source:
        Montavon et al. 2017, section 4.1.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0], [-1.0], [2.0]])])
        >>> rules = {tfs.rules.kind("dense"): tfs.rules.WSquare()}
        >>> tfs.LRP(model, rules).explain(np.array([[1.0, 2.0, 3.0]]), tfs.target.binary(1)).values.round(2)
        array([[0.83, 0.83, 3.33]], dtype=float32)
    """

    def __call__(self, affine: Affine, relevance: tf.Tensor) -> tf.Tensor:
        return shared(affine, [(tf.ones_like(affine.x), tf.square(affine.weights))], 0.0, relevance)


@dataclass(frozen=True)
class Flat:
    """``R_i = sum_j 1 / n_j R_j``, with ``n_j`` the number of inputs of ``z_j``: equal shares.

    Source:
        Lapuschkin et al. 2019, Unmasking Clever Hans Predictors, supplementary note 3.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0], [-1.0], [2.0]])])
        >>> rules = {tfs.rules.kind("dense"): tfs.rules.Flat()}
        >>> tfs.LRP(model, rules).explain(np.array([[1.0, 2.0, 3.0]]), tfs.target.binary(1)).values.round(2)
        array([[1.67, 1.67, 1.67]], dtype=float32)
    """

    def __call__(self, affine: Affine, relevance: tf.Tensor) -> tf.Tensor:
        return shared(affine, [(tf.ones_like(affine.x), tf.ones_like(affine.weights))], 0.0, relevance)


@dataclass(frozen=True)
class ZBox:
    """``q_ij = x_i w_ij - l_i w_ij+ - h_i w_ij-``: for inputs between bounds, such as pixels.

    Args:
        low: the smallest value an input can have: a number, or an array that broadcasts to an input.
        high: the largest value.

    Raises:
        ValueError: a bound is not a number, or low is not below high.

    Source:
        Montavon et al. 2017, section 4.1.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0], [-1.0], [2.0]])])
        >>> rules = {tfs.rules.kind("dense"): tfs.rules.ZBox(0, 3)}
        >>> tfs.LRP(model, rules).explain(np.array([[1.0, 2.0, 3.0]]), tfs.target.binary(1)).values.round(2)
        array([[0.62, 0.62, 3.75]], dtype=float32)
    """

    low: Any
    high: Any

    def __post_init__(self) -> None:
        low, high = np.asarray(self.low), np.asarray(self.high)
        if (
            low.dtype.kind not in "fiu"
            or high.dtype.kind not in "fiu"
            or not (low <= high).all()
            or (low == high).all()
        ):
            raise ValueError(
                f"low and high are numbers, low under high. Received: low={self.low!r}, high={self.high!r}"
            )

    def __call__(self, affine: Affine, relevance: tf.Tensor) -> tf.Tensor:
        x, w = affine.x, affine.weights
        low, high = (tf.constant(np.asarray(bound), x.dtype) + tf.zeros_like(x) for bound in (self.low, self.high))
        return shared(affine, [(x, w), (-low, positive(w)), (-high, negative(w))], 0.0, relevance)


@dataclass(frozen=True)
class Pass:
    """``R_i = R_j``: a result of one number gives all its relevance to that number.

    For separate scales and shifts, such as those of a normalization: there `Flat` and `WSquare` give the same.

    Raises:
        ValueError: on ``explain``, if a map makes a result from several numbers.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> layers = [keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Dense(2)]
        >>> model = keras.Sequential([keras.Input((3,)), *layers])
        >>> rules = {tfs.rules.kind("dense"): tfs.rules.ZPlus(), tfs.rules.kind("normalization"): tfs.rules.Pass()}
        >>> tfs.LRP(model, rules).explain(np.ones((1, 3))).values.shape
        (1, 3)
    """

    def __call__(self, affine: Affine, relevance: tf.Tensor) -> tf.Tensor:
        if affine.x.shape.rank != affine.z.shape.rank:
            raise ValueError(f"Pass is for maps of one number to one. Received: {affine.name!r}, {affine.operations}")
        return relevance
