"""DeepLIFT's rules: multipliers between an input and a reference, exact over the whole way, unlike a local gradient.

A multiplier ``m`` of a tensor is the difference of the score per difference of that tensor. Every rule below keeps
``sum m_i dx_i = sum m_j dy_j`` with ``d`` the difference to the reference (completeness).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.graph.activation import ACTIVATION
from tfsaliency.graph.affine import Affine
from tfsaliency.graph.log_sum_exp import LOG_SUM_EXP
from tfsaliency.graph.network import late
from tfsaliency.graph.operations import (
    BENDS_OF_TWO,
    CHOICES,
    CURVES,
    FILLED_UP,
    INVERSES,
    MAXIMA,
    MINIMA,
    MOVES,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    TRANSPOSED_CONVOLUTIONS,
)
from tfsaliency.graph.softmax import axes_of
from tfsaliency.graph.step import Flows, Step
from tfsaliency.rules.redistribute import handed_on
from tfsaliency.rules.relevance import negative, positive
from tfsaliency.tensors.sums import unspread

# A rule gets the step at the input and the same step at the reference.
PairRule = Callable[[Step, Step, Flows], Flows]

# Differences smaller than this share of their operands are rounding: the multiplier is then the gradient.
ROUNDING = 1e-6


def linear(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """For a linear operation the multiplier is the gradient."""
    return step.gradient(multipliers)


@late
def rescale(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """``m_x = m_y dy / dx`` for a function of one number; the gradient if ``dx`` vanishes.

    Source:
        Shrikumar et al. 2017, Learning Important Features Through Propagating Activation Differences, section 3.5.
    """
    (m,) = multipliers
    x, x0 = step.input, reference.input
    derivative = step.gradient([tf.ones_like(m)])[step.depends.index(True)]
    # A second computation of the results is cheaper than storing them in the forward pass.
    return step.to_sources(unspread(m * secant(x, x0, step.with_input(x), reference.with_input(x0), derivative), x))


def secant(x: tf.Tensor, x0: tf.Tensor, y: tf.Tensor, y0: tf.Tensor, derivative: tf.Tensor) -> tf.Tensor:
    """``(y - y0) / (x - x0)``, or the derivative if the two points are the same up to rounding."""
    # Infinite numbers, as masks put under a softmax, are equal and have no difference.
    same = (x == x0) | (tf.abs(x - x0) <= ROUNDING * (tf.abs(x) + tf.abs(x0)) + 1e-12)
    change = tf.where(y == y0, tf.zeros_like(y), y - y0)
    return tf.where(same, derivative, change / tf.where(same, tf.ones_like(x), x - x0))


def selection(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """A selection between ``x`` and a constant is a function of ``x``.

    Between two signals it hands on what it selects. Where it selects another one at the baseline each counts half, and
    what the choice itself adds has no multiplier.
    """
    if step.depends.count(True) == 1:
        return rescale(step, reference, multipliers)
    pairs = zip(step.gradient(multipliers), reference.gradient(multipliers), strict=True)
    return [None if here is None or there is None else (here + there) / 2 for here, there in pairs]


def of_two(rule: PairRule) -> PairRule:
    """The rule for a function of two numbers, or `rescale` if only one of them depends on the inputs."""

    def chosen(step: Step, reference: Step, multipliers: Flows) -> Flows:
        return (rule if step.depends.count(True) == 2 else rescale)(step, reference, multipliers)

    return chosen


@late
def over_both_orders(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """``m_a = m (f(a, b) - f(a0, b) + f(a, b0) - f(a0, b0)) / (2 da)``, and the same for ``b``.

    The change of ``a`` before that of ``b``, and after it: Shapley values of two players.
    """
    (m,) = multipliers
    # Operands are broadcast here, so that each result has a slope of its own.
    (a, b), (a0, b0) = ([tf.broadcast_to(x, tf.shape(m)) for x in each.inputs] for each in (step, reference))
    both, first, second, neither = (step.run(*operands)[0] for operands in ((a, b), (a, b0), (a0, b), (a0, b0)))
    of_a, of_b = step.gradient_at([a, b], [tf.ones_like(m)])
    assert of_a is not None and of_b is not None
    shares = (
        secant(a, a0, both + first, second + neither, 2 * of_a),
        secant(b, b0, both + second, first + neither, 2 * of_b),
    )
    return [unspread(m * share / 2, x) for share, x in zip(shares, step.inputs, strict=True)]


def product(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """``d(a b) = mean(b) da + mean(a) db``: the gradient between the two points, for any bilinear operation."""
    if step.depends.count(True) == 2:
        return late(_half_way)(step, reference, multipliers)
    # Weights are the same at both points; a factor behind a stop_gradient counts as fixed, but it differs.
    return _half_way(step, reference, multipliers) if step.type == "Mul" else step.gradient(multipliers)


@late
def product_over_axes(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """``y = prod x_i``: the gradient averaged along the line between the two points, which is `product` for two.

    Along that line the gradient is a polynomial, for which this Gauss-Legendre rule is exact.
    """
    axes = tf.get_static_value(step.sources[1])
    lengths = [step.source.shape[axis] for axis in np.ravel(axes)]
    if None in lengths:
        raise ValueError(
            f"DeepLIFT has no rule for {step.name!r}, a product of an unknown number of factors, of shape "
            f"{step.source.shape}. Tell the model how many: tf.ensure_shape(factors, shape) in front of it."
        )
    nodes, weights = np.polynomial.legendre.leggauss((int(np.prod(lengths)) + 1) // 2)
    flows = [_between(step, reference, multipliers, float(share))[0] for share in (1 + nodes) / 2]
    return step.to_sources(tf.add_n([flow * weight for flow, weight in zip(flows, weights / 2, strict=True)]))


@late
def quotient(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """``a / b`` as the product of ``a`` and ``1 / b``; the multiplier of ``1 / b`` is ``-1 / (b b0)``."""
    (m,) = multipliers
    (a, b), (a0, b0) = step.inputs, reference.inputs
    with tf.GradientTape() as tape:
        operands = tf.identity(a), tf.identity(b)
        tape.watch(operands)
        # Linear in both operands, with the slopes of the formula: the tape sums over axes that were broadcast.
        over_b, over_b0 = tf.math.reciprocal_no_nan(b), tf.math.reciprocal_no_nan(b0)
        y = operands[0] * (over_b + over_b0) / 2 - (a + a0) / 2 * operands[1] * over_b * over_b0
    return list(tape.gradient(y, operands, output_gradients=m))


def squared_difference(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """``d((a - b)^2) = 2 mean(a - b) d(a - b)``."""
    return late(_half_way)(step, reference, multipliers)


@late
def largest(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """A maximum of two operands, or over many numbers of one operand.

    If the maximum is larger than at the reference, the input that is largest now gets the whole difference. If the
    maximum is smaller, the input that was largest at the reference gets it. That input differs at least as much as the
    maximum does, so the multiplier ``m dy / dx`` is at most ``m``.
    """
    return _chosen(step, reference, multipliers, rising=step, falling=reference)


@late
def smallest(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """A minimum: a fall goes to the input that is smallest now, a rise to the smallest input at the reference."""
    return _chosen(step, reference, multipliers, rising=reference, falling=step)


def _chosen(step: Step, reference: Step, multipliers: Flows, *, rising: Step, falling: Step) -> Flows:
    """Gives the difference to the chosen input of one of the two points; an input equal to its reference gets zero."""
    (m,) = multipliers
    dy = step.output - reference.output
    risen, fallen = rising.gradient([m * positive(dy)]), falling.gradient([m * negative(dy)])
    return [
        tf.math.divide_no_nan(up + down, x - x0) if up is not None and down is not None else None
        for up, down, x, x0 in zip(risen, fallen, step.inputs, reference.inputs, strict=True)
    ]


@late
def softmax(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """``exp(x - log sum exp x)``, with the exponential and the logarithm of the sum each by its own rule.

    A quotient of exponentials would be divided by the smaller of the two sums, ``exp(-50)`` where the logits of the
    reference are lower by 50: no digit would be left.
    """
    (m,) = multipliers
    p, p0 = step.output, reference.output
    z, z0 = (_log_softmax(each) for each in (step, reference))
    m = m * secant(z, z0, p, p0, p)
    return [m - tf.reduce_sum(m, axis=axes_of(step), keepdims=True) * _of_log_sum(step, reference)]


def _log_softmax(step: Step) -> tf.Tensor:
    return step.input - tf.reduce_logsumexp(step.input, axis=axes_of(step), keepdims=True)


@late
def log_softmax(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """``x - log sum exp x``, with the logarithm by its own rule."""
    (m,) = multipliers
    return [m - tf.reduce_sum(m, axis=-1, keepdims=True) * _of_log_sum(step, reference)]


@late
def log_sum_exp(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """A logarithm, a sum and an exponential, each by its own rule."""
    (m,) = multipliers
    assert m is not None
    slope = _of_log_sum(step, reference)
    for axis in axes_of(step) if m.shape.rank < slope.shape.rank else ():
        m = tf.expand_dims(m, axis)
    return [m * slope]


def _of_log_sum(step: Step, reference: Step) -> tf.Tensor:
    """The multiplier of the logarithm of the sum of exponentials."""
    _, (s, s0), growth = _exponentials(step, reference)
    return secant(s, s0, tf.math.log(s), tf.math.log(s0), 1 / s) * growth


def _exponentials(step: Step, reference: Step) -> tuple[tuple[Any, ...], tuple[Any, ...], tf.Tensor]:
    """The exponentials at both points, their sums, and the multiplier of the exponential."""
    x, x0, axes = step.input, reference.input, axes_of(step)
    # The same shift at both points changes neither softmax.
    top = tf.reduce_max(tf.maximum(x, x0), axis=axes, keepdims=True)
    powers = tf.exp(x - top), tf.exp(x0 - top)
    sums = tuple(tf.reduce_sum(each, axis=axes, keepdims=True) for each in powers)
    return powers, sums, secant(x, x0, *powers, powers[0])


@late
def in_order(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """Sorting: the gradient half way, plus the missing part of ``sum m dy`` along ``dx`` if the order changes."""
    m, dx = multipliers[0], step.input - reference.input
    g = _half_way(step, reference, multipliers)[0]
    assert m is not None and g is not None
    rest = tf.reduce_sum(m * (step.output - reference.output), axis=-1) - tf.reduce_sum(g * dx, axis=-1)
    return step.to_sources(g + dx * tf.math.divide_no_nan(rest, tf.reduce_sum(dx * dx, axis=-1))[..., None])


def identities(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """A custom gradient: the multiplier follows its value, not its gradient."""
    return handed_on(step, multipliers)


def reveal_cancel(step: Affine, reference: Affine, activation: Step, m: tf.Tensor) -> tf.Tensor:
    """The RevealCancel rule for an affine map and its activation: positive and negative contributions are separate.

    With ``dz+`` and ``dz-`` the positive and negative contributions ``w_i dx_i`` to ``z`` and ``f`` the activation,

        ``dy+ = (f(z0 + dz+) - f(z0) + f(z0 + dz- + dz+) - f(z0 + dz-)) / 2``,

    ``dy-`` with the signs exchanged, ``m+ = m dy+ / dz+`` and ``m- = m dy- / dz-``.

    Args:
        step: the affine map.
        reference: the same map at the reference.
        activation: a function of one number, the only reader of the map's result.
        m: the multiplier of the result of the activation.

    Source:
        Shrikumar et al. 2017, section 3.5.3.
    """
    x, x0, w = step.x, reference.x, step.weights
    up, down = positive(x - x0), negative(x - x0)
    rising, falling = positive(w), negative(w)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((up, down))
        raised = step.linear(up, rising), step.linear(down, falling)
        lowered = step.linear(up, falling), step.linear(down, rising)
    z0, plus, minus = reference.z, tf.add_n(raised), tf.add_n(lowered)
    f = activation.with_input
    m_plus = m * tf.math.divide_no_nan((f(z0 + plus) - f(z0) + f(z0 + minus + plus) - f(z0 + minus)) / 2, plus)
    m_minus = m * tf.math.divide_no_nan((f(z0 + minus) - f(z0) + f(z0 + plus + minus) - f(z0 + plus)) / 2, minus)
    flows = [m_plus, m_plus, m_minus, m_minus]
    of_up, of_down = tape.gradient([*raised, *lowered], [up, down], output_gradients=flows)
    same = (of_up + of_down) / 2
    return tf.where(x > x0, of_up, tf.where(x < x0, of_down, same))


def _half_way(step: Step, reference: Step, multipliers: Flows) -> Flows:
    """The gradient half way between the two points."""
    return _between(step, reference, multipliers, 0.5)


def _between(step: Step, reference: Step, multipliers: Flows, share: float) -> Flows:
    """The gradient at a share of the way from the reference to the input."""
    pairs = zip(step.inputs, reference.inputs, strict=True)
    points = [b + share * (a - b) if a.dtype.is_floating else a for a, b in pairs]
    return step.gradient_at(points, multipliers)


RULES: dict[str, PairRule] = {
    **dict.fromkeys((ACTIVATION, *CURVES, *INVERSES, "Abs", "Square"), rescale),
    **dict.fromkeys(
        (
            *FILLED_UP,
            *MOVES,
            *SUMS,
            *TRANSPOSED_CONVOLUTIONS,
            "Cast",
            "CheckNumerics",
            "EnsureShape",
            "FusedBatchNormV3",
            "Identity",
            "Neg",
        ),
        linear,
    ),
    **dict.fromkeys((*PRODUCTS, "Mul"), product),
    **dict.fromkeys((*MAXIMA, "Maximum"), largest),
    **dict.fromkeys((*MINIMA, "Minimum"), smallest),
    "IdentityN": identities,
    "LogSoftmax": log_softmax,
    LOG_SUM_EXP: log_sum_exp,
    **dict.fromkeys(("Pow", *BENDS_OF_TWO), of_two(over_both_orders)),
    "Prod": product_over_axes,
    **dict.fromkeys(QUOTIENTS, of_two(quotient)),
    **dict.fromkeys(CHOICES, selection),
    "Softmax": softmax,
    "SquaredDifference": squared_difference,
    "TopKV2": in_order,
}
