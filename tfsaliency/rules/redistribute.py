"""How relevance goes through everything that has no weights: one table, from the type of an operation to its rule.

Sources: Bach et al. 2015 (sums and pooling), Arras et al. 2017 (gates), Achtibat et al. 2024, AttnLRP (softmax,
products, normalization).
"""

import tensorflow as tf

from tfsaliency.rules.activation import ACTIVATION
from tfsaliency.rules.affine import NORMALIZATION
from tfsaliency.rules.network import Flows, Rule, late
from tfsaliency.rules.operations import CURVES, MAXIMA, MOVES, PRODUCTS, SUMS
from tfsaliency.rules.relevance import stabilized
from tfsaliency.rules.step import Step

# An operand of a product that is one of these, scaled or moved, only says how much of the other operand passes: a gate,
# or the deviation that a normalization divides by.
GATES = ("Sigmoid", "Relu6", "Rsqrt", "Sqrt", "Reciprocal", "Inv")
CARRIES = (
    NORMALIZATION,
    "Identity",
    "IdentityN",
    "Mul",
    "RealDiv",
    "Neg",
    "Reshape",
    "ExpandDims",
    "Squeeze",
    "Cast",
    "BroadcastTo",
)


def unchanged(step: Step, relevance: Flows) -> Flows:
    """``R_i = R_i``: an activation hands on what its one number is due."""
    (flow,) = relevance
    return step.to_sources(flow)


def handed_on(step: Step, relevance: Flows) -> Flows:
    """To each source what arrives at its own result: identities side by side."""
    for flow, depends in zip(relevance, step.depends, strict=True):
        if flow is not None and not depends:
            raise ValueError(
                f"{step.name!r} is a tf.custom_gradient whose value has no path from the inputs (a rounding, say): "
                "there is nothing to share what arrives at it among. The gradient methods use its own gradient."
            )
    return relevance


def moved(step: Step, relevance: Flows) -> Flows:
    """Each number of the result is one number of a source, and its relevance goes there.

    Of a maximum, that is where the maximum was.
    """
    return step.gradient(relevance)


@late
def in_proportion(step: Step, relevance: Flows) -> Flows:
    """``R_i = sum_j x_i J_ij / z_j R_j``, with ``J`` the derivative: exact shares of a sum, an average, a resize."""
    ratios = [
        None if flow is None else tf.math.divide_no_nan(flow, stabilized(tf.cast(z, flow.dtype)))
        for z, flow in zip(step.results, relevance, strict=True)
    ]
    return [None if slope is None else x * slope for x, slope in zip(step.inputs, step.gradient(ratios), strict=True)]


def halved(step: Step, relevance: Flows) -> Flows:
    """A product of two signals gives half to each, in proportion: ``R_a = sum a b R / 2z``."""
    return [None if flow is None else flow / 2 for flow in in_proportion(step, relevance)]


@late
def attention(step: Step, relevance: Flows) -> Flows:
    """``R_i = x_i (R_i - p_i sum_j R_j)``: the Taylor expansion of a softmax ``p`` at its inputs ``x``."""
    (flow,) = relevance
    total = tf.reduce_sum(flow, axis=-1, keepdims=True)
    return [step.input * (flow - step.output * total)]


class Redistribution:
    """The rules for what has no weights, in one network: a gate is known by what it was made from."""

    def __init__(self, steps: list[Step]):
        self._made_by = {result.ref(): step for step in steps for result in step.results}

    def rule(self, step: Step) -> Rule | None:
        """The rule for a step, None where there is none."""
        if step.type in ("Mul", "RealDiv", "SquaredDifference") and step.depends.count(True) == 2:
            return self._product
        if step.type in PRODUCTS and step.depends.count(True) == 2:
            return halved
        if step.type in OF_ONE and step.depends.count(True) == 1:
            return unchanged
        return RULES.get(step.type)

    def _product(self, step: Step, relevance: Flows) -> Flows:
        gates = [self._is_gate(source) for source in step.sources]
        if step.type == "RealDiv":
            gates = [False, True]
        if gates.count(True) == 1:
            # In proportion to itself: unchanged, but for the sum over what was broadcast.
            shares = in_proportion(step, relevance)
            return [None if gate else flow for gate, flow in zip(gates, shares, strict=True)]
        return halved(step, relevance)

    def _is_gate(self, tensor: tf.Tensor) -> bool:
        step = self._made_by.get(tensor.ref())
        while step is not None and step.type in CARRIES and step.depends.count(True) == 1:
            step = self._made_by.get(step.sources[step.depends.index(True)].ref())
        return step is not None and step.type in GATES


# Of one signal and something fixed: a clip is an activation, and so is one over x.
OF_ONE = ("Maximum", "Minimum", "RealDiv", "SquaredDifference")

RULES: dict[str, Rule] = {
    **dict.fromkeys((ACTIVATION, *CURVES, "Abs", "Cast", "Identity", "Inv", "Neg", "Pow"), unchanged),
    **dict.fromkeys(("Reciprocal", "Rsqrt", "Square"), unchanged),
    **dict.fromkeys((*MOVES, *MAXIMA, "Maximum", "Min", "Minimum", "SelectV2", "TopKV2"), moved),
    **dict.fromkeys((*SUMS, "Einsum", "LogSoftmax", "Mul"), in_proportion),
    "IdentityN": handed_on,
    "Softmax": attention,
}
