"""Softmaxes that a trace shows as an exponential, its sum and a quotient, put together again."""

import tensorflow as tf

from tfsaliency.graph.ancestry import alike, before
from tfsaliency.graph.operations import ADDITIONS, IDENTITIES, QUOTIENTS, RESHAPES
from tfsaliency.graph.step import Step

SOFTMAX = "Softmax"


class WrittenSoftmax(Step):
    """``exp(z) / sum exp(z)``, with ``z`` the logits minus a common number, as one step that reads the logits.

    Attributes:
        axes: the axes of the sum.
    """

    def __init__(self, logits: tf.Tensor, powers: tf.Operation, summed: tf.Operation, quotient: Step):
        super().__init__(SOFTMAX, quotient.name, [logits], quotient.results, [True])
        self.operations = [powers.type, summed.type, quotient.type]
        self.names = [powers.name, summed.name, quotient.name]
        self.axes = _axes(summed)

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        (z,) = inputs
        powers = tf.exp(z - tf.reduce_max(z, axis=self.axes, keepdims=True))
        return [powers / tf.reduce_sum(powers, axis=self.axes, keepdims=True)]


def axes_of(softmax: Step) -> tuple[int, ...]:
    """The axes that a softmax is taken over together."""
    return softmax.axes if isinstance(softmax, WrittenSoftmax) else (-1,)


def joined_softmaxes(steps: list[Step]) -> list[Step]:
    """The steps, with a `WrittenSoftmax` in place of each quotient that is one.

    The exponential and its sum stay where they are for other readers; without any, a walk passes them by.
    """
    return [(_written(step) if step.type in QUOTIENTS else None) or step for step in steps]


def _written(quotient: Step) -> WrittenSoftmax | None:
    numerator = before(quotient.sources[0], IDENTITIES).op
    denominator = before(quotient.sources[1], (*IDENTITIES, *RESHAPES, "StridedSlice")).op
    if not all(quotient.depends) or numerator.type != "Exp" or denominator.type != "Sum":
        return None
    powers, axes = numerator.outputs[0], _axes(denominator)
    if powers.shape.rank is None or not axes or not alike(powers, denominator.inputs[0]):
        return None
    # Of one softmax over the whole tensor, or of the rows of another tensor, this is not the sum of its own row.
    kept = [1 if axis in axes else size for axis, size in enumerate(powers.shape)]
    if repr(quotient.sources[1].shape) != repr(tf.TensorShape(kept)):
        return None
    return WrittenSoftmax(without_common(numerator.inputs[0], axes), numerator, denominator, quotient)


def without_common(z: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """Logits without what is added to all of them: a softmax is the same for any, as for minus the largest."""
    while z.op.type in ("Sub", *ADDITIONS):
        first, second = z.op.inputs
        if first.shape.rank != z.shape.rank or any(first.shape[axis] == 1 for axis in axes):
            break
        is_common = second.shape.rank == z.shape.rank and all(second.shape[axis] == 1 for axis in axes)
        if second.shape.rank != 0 and not is_common:
            break
        z = first
    return z


def _axes(summed: tf.Operation) -> tuple[int, ...]:
    """The axes of a sum, counted from the first; none where they are not known."""
    axes, rank = tf.get_static_value(summed.inputs[1]), summed.inputs[0].shape.rank
    return () if axes is None or rank is None else tuple(sorted(int(axis) % rank for axis in axes.reshape(-1)))
