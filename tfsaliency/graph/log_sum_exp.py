"""``log sum exp z``, written with its largest number taken out, as one step."""

import tensorflow as tf

from tfsaliency.graph.ancestry import alike, before
from tfsaliency.graph.operations import ADDITIONS, IDENTITIES, LOG_OF_SUM, RESHAPES
from tfsaliency.graph.step import Step

LOG_SUM_EXP = "LogSumExp"
# A common number may come back in another shape than it was taken out in.
_SAME_NUMBERS = (*IDENTITIES, *RESHAPES, "StopGradient")


class LogSumExp(Step):
    """``log sum exp z`` as one step that reads ``z``.

    Args:
        z: what is summed over.
        summed: the sum of the exponentials.
        addition: puts the common number back.

    Attributes:
        axes: the axes of the sum.
    """

    def __init__(self, z: tf.Tensor, summed: tf.Operation, addition: Step):
        super().__init__(LOG_SUM_EXP, addition.name, [z], addition.results, [True])
        self.operations, self.names = [*LOG_OF_SUM, addition.type], [summed.name, addition.name]
        self.axes = axes_of_sum(summed)

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        (z,) = inputs
        kept = z.shape.rank == self.results[0].shape.rank
        return [tf.reduce_logsumexp(z, axis=self.axes, keepdims=kept)]


def joined_log_sums(steps: list[Step]) -> list[Step]:
    """The steps, with a `LogSumExp` in place of each addition that ends one.

    The exponential and its sum stay where they are for other readers; without any, a walk passes them by.
    """
    return [(_written(step) if step.type in ADDITIONS else None) or step for step in steps]


def _written(addition: Step) -> LogSumExp | None:
    # The operands, since the common number may be behind a stop_gradient.
    first, second = addition.results[0].op.inputs
    return _of(addition, first, second) or _of(addition, second, first)


def _of(addition: Step, logarithm: tf.Tensor, common: tf.Tensor) -> LogSumExp | None:
    """The step that adds a common number to a logarithm, if that is one of a sum of exponentials without it."""
    made: list[tf.Operation] = []
    read = logarithm
    for kind in LOG_OF_SUM:
        op = before(read, (*IDENTITIES, *RESHAPES)).op
        if op.type != kind:
            return None
        made.append(op)
        read = op.inputs[0]
    _, summed, _, difference = made
    z, taken_out = difference.inputs
    axes = axes_of_sum(summed)
    is_same = alike(before(common, _SAME_NUMBERS), before(taken_out, _SAME_NUMBERS))
    return LogSumExp(z, summed, addition) if axes and is_common(taken_out, z, axes) and is_same else None


def is_common(number: tf.Tensor, z: tf.Tensor, axes: tuple[int, ...]) -> bool:
    """Whether a tensor holds one number for all that a tensor has along some axes."""
    return number.shape.rank == z.shape.rank and all(number.shape[axis] == 1 for axis in axes)


def axes_of_sum(summed: tf.Operation) -> tuple[int, ...]:
    """The axes of a sum, counted from the first; none where they are not known."""
    axes, rank = tf.get_static_value(summed.inputs[1]), summed.inputs[0].shape.rank
    return () if axes is None or rank is None else tuple(sorted(int(axis) % rank for axis in axes.reshape(-1)))
