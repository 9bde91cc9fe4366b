"""What operations compute, found out by running them: the part of a trace between two tensors, as a function of arrays.

How a function is written says little about what it is: ``1 / (1 + exp(-z))`` and ``0.5 * (1 + tanh(z / 2))`` are one
sigmoid. A few numbers that go through it tell.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.operations import NESTED, PRODUCTS, TRANSPOSED_CONVOLUTIONS
from tfsaliency.graph.step import replay

# Beyond this many operations a function is no activation and no end of a network any more.
MOST_OPERATIONS = 40


class Part(NamedTuple):
    """The operations between two tensors of a trace, where all that the second depends on goes through the first.

    Attributes:
        source: the first tensor.
        result: the second one.
        operations: in the order of the trace.
    """

    source: tf.Tensor
    result: tf.Tensor
    operations: list[tf.Operation]

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """What the operations make of other numbers than those of the trace; NaN where they take no such shape."""
        # Out of the graph that is under construction.
        with tf.init_scope():
            try:
                return np.asarray(self._run(tf.constant(numbers, self.source.dtype)), "float64")
            except tf.errors.InvalidArgumentError:
                # The trace does not know each size of its tensors, and others than the real ones were tried.
                return np.full(numbers.shape, np.nan)

    def _run(self, source: tf.Tensor) -> tf.Tensor:
        values = {self.source.ref(): source}
        for op in self.operations:
            read = [
                values[each.ref()] if each.ref() in values else tf.constant(_fixed(each), each.dtype)
                for each in op.inputs
            ]
            values |= zip((each.ref() for each in op.outputs), replay(op, *read), strict=True)
        return values[self.result.ref()]


def parts_below(result: tf.Tensor) -> Iterator[Part]:
    """The parts that end in a tensor and begin in a tensor of the same shape, the shortest first.

    They end at the last operation with weights.
    """
    # The tensors that the result depends on; constants are none of them.
    front = {result.ref(): result}
    operations: list[tf.Operation] = []
    for op in reversed(ancestors(result)):
        mine = [output for output in op.outputs if output.ref() in front]
        if not mine:
            continue
        if len(front) == 1 and operations and repr(mine[0].shape) == repr(result.shape):
            yield Part(mine[0], result, operations[::-1])
        if len(operations) == MOST_OPERATIONS or not op.inputs or _ends(op):
            return
        operations.append(op)
        for each in mine:
            del front[each.ref()]
        front |= {each.ref(): each for each in op.inputs if _fixed(each) is None}


def _ends(op: tf.Operation) -> bool:
    with_weights = op.type in (*NESTED, *PRODUCTS, *TRANSPOSED_CONVOLUTIONS)
    can_run = hasattr(tf.raw_ops, op.type)
    return with_weights or not can_run or op.op_def.is_stateful or any(each.dtype == tf.resource for each in op.inputs)


def _fixed(tensor: tf.Tensor) -> np.ndarray | None:
    value: np.ndarray | None = tf.get_static_value(tensor)
    return value
