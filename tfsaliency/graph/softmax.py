"""Softmaxes that a trace shows as several operations, put together again."""

from typing import Any

import tensorflow as tf

from tfsaliency.graph.ancestry import alike, before
from tfsaliency.graph.log_sum_exp import LogSumExp, axes_of_sum, is_common
from tfsaliency.graph.operations import ADDITIONS, IDENTITIES, QUOTIENTS, RESHAPES
from tfsaliency.graph.step import Step

SOFTMAX = "Softmax"


class WrittenSoftmax(Step):
    """``exp(z) / sum exp(z)``, ``exp(z - log sum exp(z))`` or ``exp(log_softmax(z))``, as one step that reads ``z``.

    Args:
        logits: ``z``, or more by a common number.
        axes: the axes of the sum.
        operations: those that it is written as.
        last: the step of the last one.
    """

    def __init__(self, logits: tf.Tensor, axes: tuple[int, ...], operations: list[tf.Operation], last: Step):
        super().__init__(SOFTMAX, last.name, [logits], last.results, [True])
        self.operations, self.names = [op.type for op in operations], [op.name for op in operations]
        self.axes = axes

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        (z,) = inputs
        powers = tf.exp(z - tf.reduce_max(z, axis=self.axes, keepdims=True))
        return [powers / tf.reduce_sum(powers, axis=self.axes, keepdims=True)]


def axes_of(softmax: Step) -> tuple[int, ...]:
    """The axes that a softmax, or the logarithm of its sum, is taken over together."""
    return softmax.axes if isinstance(softmax, LogSumExp | WrittenSoftmax) else (-1,)


def joined_softmaxes(steps: list[Step]) -> list[Step]:
    """The steps, with a `WrittenSoftmax` in place of each quotient or exponential that is one.

    The exponential and its sum stay where they are for other readers; without any, a walk passes them by.
    """
    sums = {step.results[0].ref(): step for step in steps if isinstance(step, LogSumExp)}

    def joined(step: Step) -> Step:
        softmax = _quotient(step) if step.type in QUOTIENTS else _power(step, sums) if step.type == "Exp" else None
        return softmax or step

    return list(map(joined, steps))


def _power(exponential: Step, sums: dict[Any, LogSumExp]) -> WrittenSoftmax | None:
    difference = exponential.source.op
    if difference.type == "LogSoftmax":
        return WrittenSoftmax(difference.inputs[0], (-1,), [difference, exponential.results[0].op], exponential)
    if difference.type != "Sub":
        return None
    z, subtracted = difference.inputs
    summed = sums.get(subtracted.ref())
    if summed is None or summed.source is not z or subtracted.shape.rank != z.shape.rank:
        return None
    return WrittenSoftmax(z, summed.axes, [difference, exponential.results[0].op], exponential)


def _quotient(quotient: Step) -> WrittenSoftmax | None:
    numerator = before(quotient.sources[0], IDENTITIES).op
    denominator = before(quotient.sources[1], (*IDENTITIES, *RESHAPES, "StridedSlice")).op
    if not all(quotient.depends) or numerator.type != "Exp" or denominator.type != "Sum":
        return None
    powers, axes = numerator.outputs[0], axes_of_sum(denominator)
    if powers.shape.rank is None or not axes or not alike(powers, denominator.inputs[0]):
        return None
    # Of one softmax over the whole tensor, or of the rows of another tensor, this is not the sum of its own row.
    kept = [1 if axis in axes else size for axis, size in enumerate(powers.shape)]
    if repr(quotient.sources[1].shape) != repr(tf.TensorShape(kept)):
        return None
    operations = [numerator, denominator, quotient.results[0].op]
    return WrittenSoftmax(without_common(numerator.inputs[0], axes), axes, operations, quotient)


def without_common(z: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """Logits without what is added to all of them: a softmax is the same for any, as for minus the largest."""
    while z.op.type in ("Sub", *ADDITIONS):
        first, second = z.op.inputs
        if first.shape.rank != z.shape.rank or any(first.shape[axis] == 1 for axis in axes):
            break
        if second.shape.rank != 0 and not is_common(second, z, axes):
            break
        z = first
    return z
