"""Which factor of a product is a gate: it says how much of the other one, the signal, goes on.

Source: Arras et al. 2017, who give all relevance of a product to its signal.
"""

import math
from enum import IntEnum
from typing import NamedTuple

import tensorflow as tf

from tfsaliency.graph.affine import NORMALIZATION
from tfsaliency.graph.operations import ADDITIONS, CLIPS, GATES, JOINS, MOVES_OF_GATES, QUOTIENTS
from tfsaliency.graph.readers import Readers
from tfsaliency.graph.step import Step


class Gating(IntEnum):
    """How surely a factor is a gate. Of two factors the surer one is it."""

    NO = 0
    MAYBE = 1
    YES = 2


def gating(traced: tf.Tensor, readers: Readers) -> Gating:
    """How surely a tensor is a gate, from the steps that make it.

    A sigmoid, hard ones included, one over a number, and roots of that are gates. Other numbers between 0 and 1 may be.
    """
    step = readers.maker(traced)
    if step is None:
        return Gating.NO
    cut = _cut(step, readers)
    if step.type in GATES or _is_inverse(step) or cut.is_hard_sigmoid or _is_sigmoid_of_tanh(traced):
        return Gating.YES
    read = [source for source, depends in zip(step.sources, step.depends, strict=True) if depends]
    is_moved = step.type in (NORMALIZATION, *MOVES_OF_GATES) and (len(read) == 1 or step.type in JOINS)
    moved = min(gating(source, readers) for source in read) if is_moved else Gating.NO
    return max(moved, Gating.MAYBE if (cut.low, cut.high) == (0, 1) else Gating.NO)


def _is_inverse(step: Step) -> bool:
    """Whether a step is one over its source, or over a power of it."""
    if step.type in QUOTIENTS:
        return not step.depends[0]
    exponent = tf.get_static_value(step.sources[1]) if step.type == "Pow" and not step.depends[1] else None
    return exponent is not None and bool((exponent < 0).all())


class _Cut(NamedTuple):
    """Where numbers of the network are cut below and above; None where they are not."""

    source: tf.Tensor
    low: float | None
    high: float | None

    @property
    def is_hard_sigmoid(self) -> bool:
        """Whether it is at 0 and at twice the constant that was added to the numbers, as in ``relu6(x + 3)``."""
        if self.low != 0 or self.high is None:
            return False
        _, shift, _ = _line(self.source)
        return math.isclose(2 * shift, self.high, rel_tol=1e-6)


def _cut(step: Step, readers: Readers) -> _Cut:
    """Where a step cuts numbers, together with a cut right before it."""
    if step.type == "Relu6":
        return _Cut(step.source, 0.0, 6.0)
    below = readers.maker(step.source) if step.type in CLIPS else None
    pair = [each for each in (below, step) if each is not None and each.type in CLIPS and each.depends.count(True) == 1]
    bounds = {each.type: _number(each.sources[1 - each.depends.index(True)]) for each in pair}
    return _Cut(pair[0].source if pair else step.source, bounds.get("Maximum"), bounds.get("Minimum"))


def _is_sigmoid_of_tanh(traced: tf.Tensor) -> bool:
    """Whether numbers are a tanh shifted and scaled to end at 0, as ``(1 + tanh(x)) / 2`` is."""
    slope, shift, below = _line(traced)
    more, rest, source = _line(below)
    return shift > 0 and rest == 0 and source.op.type == "Tanh" and math.isclose(abs(slope * more), shift, rel_tol=1e-6)


def _line(traced: tf.Tensor) -> tuple[float, float, tf.Tensor]:
    """``slope * x + shift`` of the operations with one constant number up to the last that adds it, and their ``x``."""
    op = traced.op
    constants = [_number(each) for each in op.inputs] if op.type in (*ADDITIONS, "Sub", "Mul", "RealDiv") else []
    if constants.count(None) != 1:
        return 1.0, 0.0, traced
    place = constants.index(None)
    (constant,) = (each for each in constants if each is not None)
    if op.type in ADDITIONS:
        return 1.0, constant, op.inputs[place]
    if op.type == "Sub":
        return (-1.0, constant, op.inputs[1]) if place else (1.0, -constant, op.inputs[0])
    if op.type == "RealDiv" and place:
        return 1.0, 0.0, traced
    factor = constant if op.type == "Mul" else 1 / constant
    slope, shift, below = _line(op.inputs[place])
    return factor * slope, factor * shift, below


def _number(traced: tf.Tensor) -> float | None:
    """A constant that is one number, None for any other tensor."""
    value = tf.get_static_value(traced) if traced.shape.num_elements() == 1 else None
    return None if value is None else float(value.item())
