"""Relevance rules for operations without weights: one table, from the type of an operation to its rule.

Sources: Bach et al. 2015 (sums and pooling), Arras et al. 2017 (gates), Achtibat et al. 2024, AttnLRP (softmax,
products, normalization).
"""

import numpy as np
import tensorflow as tf

from tfsaliency.graph.activation import ACTIVATION
from tfsaliency.graph.affine import NORMALIZATION
from tfsaliency.graph.log_sum_exp import LOG_SUM_EXP
from tfsaliency.graph.network import Rule, late
from tfsaliency.graph.operations import (
    BINARY_CURVES,
    CHOICES,
    CLIPS,
    CURVES,
    FILLED_UP,
    GATES,
    INVERSES,
    JOINS,
    MAXIMA,
    MOVES,
    MOVES_OF_GATES,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
)
from tfsaliency.graph.readers import Readers
from tfsaliency.graph.softmax import axes_of
from tfsaliency.graph.step import Flows, Step
from tfsaliency.rules.relevance import stabilized
from tfsaliency.tensors.sums import unspread

# Smaller numbers under a softmax are those that masks put there, from -1e4 in half precision to -inf.
MASKED = -9e3


def unchanged(step: Step, relevance: Flows) -> Flows:
    """``R_i = R_j``: an activation has one input, and this input gets all the relevance."""
    (flow,) = relevance
    return step.to_sources(None if flow is None else unspread(flow, step.source))


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
    ratios = [
        None if flow is None else tf.math.divide_no_nan(flow, stabilized(tf.cast(z, flow.dtype)))
        for z, flow in zip(step.outputs, relevance, strict=True)
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


class Redistribution:
    """The rules for operations without weights in one network; the maker of a tensor shows whether it is a gate."""

    def __init__(self, readers: Readers):
        self._readers = readers

    def rule(self, step: Step) -> Rule | None:
        """The rule for a step, None if there is none."""
        if step.type in ("Mul", *QUOTIENTS, "SquaredDifference", *PRODUCTS) and step.depends.count(True) == 2:
            return self._product
        if step.type == "Pow" and step.depends.count(True) == 2:
            return None
        if step.type in BINARY_CURVES and step.depends.count(True) == 1:
            return unchanged
        return RULES.get(step.type)

    def _product(self, step: Step, relevance: Flows) -> Flows:
        gates = [self._is_gate(source) for source in step.sources]
        if step.type in QUOTIENTS:
            gates = [False, True]
        if gates.count(True) == 1:
            # The signal gets all the relevance, in proportion where it was broadcast or summed.
            is_shared = step.spreads or step.type in PRODUCTS
            shares = in_proportion(step, relevance) if is_shared else [relevance[0], relevance[0]]
            return [None if gate else flow for gate, flow in zip(gates, shares, strict=True)]
        return halved(step, relevance)

    def _is_gate(self, traced: tf.Tensor) -> bool:
        step = self._readers.maker(traced)
        if step is None:
            return False
        read = [source for source, depends in zip(step.sources, step.depends, strict=True) if depends]
        if step.type in GATES or _is_root_or_inverse(step) or self._is_clipped(step):
            return True
        is_moved = step.type in (NORMALIZATION, *MOVES_OF_GATES) and (len(read) == 1 or step.type in JOINS)
        return is_moved and all(self._is_gate(source) for source in read)

    def _is_clipped(self, step: Step) -> bool:
        """Whether numbers end at 0 and at a bound above, as those of a hard sigmoid do."""
        below = self._readers.maker(step.source)
        pair = [
            each for each in (step, below) if each is not None and each.type in CLIPS and each.depends.count(True) == 1
        ]
        bounds = {each.type: tf.get_static_value(each.sources[1 - each.depends.index(True)]) for each in pair}
        low = bounds.get("Maximum")
        return len(bounds) == len(CLIPS) and low is not None and not low.any()


def _is_root_or_inverse(step: Step) -> bool:
    """Whether a step is one over its source, or a power of it below 1."""
    if step.type in QUOTIENTS:
        return not step.depends[0]
    exponent = tf.get_static_value(step.sources[1]) if step.type == "Pow" and not step.depends[1] else None
    return exponent is not None and bool(np.all(exponent < 1))


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
    **dict.fromkeys((*MOVES, *MAXIMA, "Maximum", "Min", "Minimum", *CHOICES, *FILLED_UP, "TopKV2"), moved),
    **dict.fromkeys((*SUMS, "Einsum", "LogSoftmax", "Mul"), in_proportion),
    "IdentityN": handed_on,
    LOG_SUM_EXP: by_share,
    "Prod": in_equal_parts,
    "Softmax": attention,
}
