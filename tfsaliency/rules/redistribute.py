"""Relevance rules for operations without weights: one table, from the type of an operation to its rule.

Sources: Bach et al. 2015 (sums and pooling), Arras et al. 2017 (gates), Achtibat et al. 2024, AttnLRP (softmax,
products, normalization).
"""

import tensorflow as tf

from tfsaliency.graph.activation import ACTIVATION
from tfsaliency.graph.log_sum_exp import LOG_SUM_EXP
from tfsaliency.graph.network import Rule, late
from tfsaliency.graph.operations import (
    ADDITIONS,
    BINARY_CURVES,
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
)
from tfsaliency.graph.softmax import axes_of
from tfsaliency.graph.step import Flows, Step
from tfsaliency.rules.gates import Gates
from tfsaliency.rules.relevance import stabilized
from tfsaliency.tensors.sums import unspread

# Smaller numbers under a softmax are those that masks put there, from -1e4 in half precision to -inf.
MASKED = -9e3


def unchanged(step: Step, relevance: Flows) -> Flows:
    """``R_i = R_j``: an activation has one input, and this input gets all the relevance."""
    (flow,) = relevance
    return step.to_sources(None if flow is None else unspread(flow, step.input))


def handed_on(step: Step, relevance: Flows) -> Flows:
    """Parallel identities: each source gets the relevance of its own result."""
    for flow, depends in zip(relevance, step.depends, strict=True):
        if flow is not None and not depends:
            raise ValueError(
                f"{step.name!r} is a tf.custom_gradient whose value has no path from the inputs (a rounding, say): "
                "there is nothing to share what arrives at it among. The gradient methods use its own gradient."
            )
    return relevance


def moved(step: Step, relevance: Flows) -> Flows:
    """Each number of the result comes from one number of a source, which gets its relevance.

    For a maximum this is the largest number.
    """
    return step.gradient(relevance)


@late
def in_proportion(step: Step, relevance: Flows) -> Flows:
    """``R_i = sum_j x_i J_ij / z_j R_j``, with ``J`` the derivative: exact shares of a sum, an average, a resize."""
    # A sum is cheaper to compute again than to keep until the walk is back.
    outputs = step.run(*step.inputs) if step.type in ADDITIONS else step.outputs
    ratios = [
        None if flow is None else tf.math.divide_no_nan(flow, stabilized(tf.cast(z, flow.dtype)))
        for z, flow in zip(outputs, relevance, strict=True)
    ]
    return [None if slope is None else x * slope for x, slope in zip(step.inputs, step.gradient(ratios), strict=True)]


def halved(step: Step, relevance: Flows) -> Flows:
    """A product of two signals gives half of its relevance to each, in proportion: ``R_a = sum a b R / 2z``."""
    return [None if flow is None else flow / 2 for flow in in_proportion(step, relevance)]


def in_equal_parts(step: Step, relevance: Flows) -> Flows:
    """A product over axes gives each of its ``n`` factors an equal part of its relevance: ``R_i = R_j / n``."""
    factors = tf.cast(tf.size(step.input) / tf.size(step.output), step.input.dtype)
    return [None if flow is None else flow / factors for flow in in_proportion(step, relevance)]


@late
def attention(step: Step, relevance: Flows) -> Flows:
    """``R_i = x_i (R_i - p_i sum_j R_j)``: the Taylor expansion of a softmax ``p`` at its inputs ``x``."""
    (flow,) = relevance
    total = tf.reduce_sum(flow, axis=axes_of(step), keepdims=True)
    # What a mask puts there is no signal, also where it hides all that a query could look at.
    x = tf.where(step.input > MASKED, step.input, tf.zeros_like(step.input))
    return [x * (flow - step.output * total)]


@late
def by_share(step: Step, relevance: Flows) -> Flows:
    """``R_i = p_i R`` through ``log sum exp x``: in proportion to the exponentials ``p`` that it is a sum of."""
    return step.gradient(relevance)


def nothing(step: Step, relevance: Flows) -> Flows:
    """A gate gets nothing, also where its signal is a constant, which keeps the relevance as a bias does."""
    return [None for _ in step.sources]


class Redistribution:
    """The rules for operations without weights in one network; its gates tell which factor of a product is a signal."""

    def __init__(self, gates: Gates):
        self._gates = gates

    def rule(self, step: Step) -> Rule | None:
        """The rule for a step, None if there is none."""
        if step.type in ("Mul", *QUOTIENTS, "SquaredDifference", *PRODUCTS) and step.depends.count(True) == 2:
            return self._product
        if self._gates.passes_nothing(step):
            return nothing
        if step.type == "Pow" and step.depends.count(True) == 2:
            return None
        if step.type in BINARY_CURVES and step.depends.count(True) == 1:
            return unchanged
        return RULES.get(step.type)

    def _product(self, step: Step, relevance: Flows) -> Flows:
        first, second = map(self._gates.gating, step.sources)
        gates = [False, True] if step.type in QUOTIENTS else [first > second, second > first]
        if not any(gates):
            return halved(step, relevance)
        # The signal gets all the relevance, in proportion where it was broadcast or summed.
        is_shared = step.spreads or step.type in PRODUCTS
        shares = in_proportion(step, relevance) if is_shared else [relevance[0], relevance[0]]
        return [None if gate else flow for gate, flow in zip(gates, shares, strict=True)]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            ACTIVATION,
            *CURVES,
            *INVERSES,
            "Abs",
            "Cast",
            "CheckNumerics",
            "EnsureShape",
            "Identity",
            "Neg",
            "Pow",
            "Square",
        ),
        unchanged,
    ),
    **dict.fromkeys((*MOVES, *MAXIMA, "Maximum", *MINIMA, "Minimum", *CHOICES, *FILLED_UP, "TopKV2"), moved),
    **dict.fromkeys((*SUMS, "Einsum", "LogSoftmax", "Mul"), in_proportion),
    "IdentityN": handed_on,
    LOG_SUM_EXP: by_share,
    "Prod": in_equal_parts,
    "Softmax": attention,
}
