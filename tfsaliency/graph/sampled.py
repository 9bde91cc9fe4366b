"""What operations compute, found out by running them: the part of a trace between two tensors, as a function of arrays.

How a function is written says little about what it is: ``1 / (1 + exp(-z))`` and ``0.5 * (1 + tanh(z / 2))`` are one
sigmoid. A few numbers that go through it tell.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import descendants
from tfsaliency.graph.operations import NUMBER_BY_NUMBER
from tfsaliency.graph.step import replay
from tfsaliency.graph.trace import Trace

# Beyond this many operations a function is no activation and no end of a network any more.
MOST_OPERATIONS = 40
# The value that every parameter has while a function is looked at, such as the slope of a PReLU. What a unit is does
# not depend on how far a model was trained.
PARAMETER = 0.25
# The operations that functions of single numbers are made of.
OF_SINGLE_NUMBERS = set(NUMBER_BY_NUMBER) - {"BiasAdd", "IdentityN", "EnsureShape"}


class Part(NamedTuple):
    """The operations between two tensors of a trace, where all that the second depends on goes through the first.

    Attributes:
        source: the first tensor.
        result: the second one.
        operations: in the order of the trace.
        others: what else these operations read, as ``ref()`` -> value.
    """

    source: tf.Tensor
    result: tf.Tensor
    operations: list[tf.Operation]
    others: dict[Any, Any]

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """What the operations make of other numbers than those of the trace; NaN where they take no such shape."""
        # Out of the graph that is under construction.
        with tf.init_scope():
            try:
                result = self.run(
                    tf.constant(numbers, _precise(self.source.dtype)),
                    lambda each: tf.constant(self.others[each.ref()], _precise(each.dtype)),
                )
                return np.asarray(result, "float64")
            except tf.errors.InvalidArgumentError:
                # The trace does not know each size of its tensors, and others than the real ones were tried.
                return np.full(numbers.shape, np.nan)

    @property
    def spelling(self) -> Any:
        """A value that is equal for parts of the same operations on the same constants."""
        places: dict[Any, Any] = {self.source.ref(): "source"}
        spelled = []
        for number, op in enumerate(self.operations):
            read = tuple(places.get(each.ref()) or _constant(self.others[each.ref()]) for each in op.inputs)
            definition = op.node_def
            names = sorted(name for name in definition.attr if not name.startswith("_"))
            attributes = tuple((name, definition.attr[name].SerializeToString()) for name in names)
            spelled.append((op.type, attributes, read))
            places |= {each.ref(): (number, place) for place, each in enumerate(op.outputs)}
        return tuple(spelled)

    def run(self, source: tf.Tensor, other: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """The result for another value of the source.

        Args:
            source: that value.
            other: gives the value of what else the operations read.
        """
        values = {self.source.ref(): source}
        for op in self.operations:
            read = [values[each.ref()] if each.ref() in values else other(each) for each in op.inputs]
            results = read if _is_rounding(op, read) else replay(op, *read)
            values |= zip((each.ref() for each in op.outputs), results, strict=True)
        return values[self.result.ref()]


def _precise(dtype: tf.DType) -> tf.DType:
    # In 16 bits no two slopes are the same.
    return tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype


def _constant(value: Any) -> Any:
    return str(np.asarray(value).dtype), np.asarray(value).tobytes()


def _is_rounding(op: tf.Operation, read: list[tf.Tensor]) -> bool:
    """Whether an operation rounds to 16 bits what came there in 16 bits, and comes in 32 now; or the other way."""
    return bool(op.type == "Cast" and read[0].dtype.is_floating and _precise(op.outputs[0].dtype) == read[0].dtype)


class Parts:
    """The parts of a trace.

    Args:
        graph: the graph of the trace.
        passes: whether an operation may belong to a part.
        fixed: the value of a tensor that does not count as one that others depend on; None for any other tensor.
    """

    def __init__(
        self,
        graph: tf.Graph,
        passes: Callable[[tf.Operation], bool],
        fixed: Callable[[tf.Tensor], Any] = tf.get_static_value,
    ):
        self._order = {op.name: place for place, op in enumerate(graph.get_operations())}
        self._passes, self._fixed = passes, fixed

    def below(self, result: tf.Tensor) -> Iterator[Part]:
        """The parts that end in a tensor and begin in a tensor of the same shape, the shortest first."""
        operations: list[tf.Operation] = []
        others: dict[Any, Any] = {}
        # What the result depends on and was not passed yet.
        front = {result.ref(): result}
        while front:
            latest = max(front.values(), key=lambda each: self._order[each.op.name])
            if len(front) == 1 and operations and repr(latest.shape) == repr(result.shape):
                yield Part(latest, result, operations[::-1], others)
            if len(operations) == MOST_OPERATIONS or not latest.op.inputs or not self._passes(latest.op):
                return
            operations.append(latest.op)
            fixed = {each.ref(): self._fixed(each) for each in latest.op.inputs}
            others |= {ref: value for ref, value in fixed.items() if value is not None}
            front = {ref: each for ref, each in front.items() if each.op is not latest.op}
            front |= {each.ref(): each for each in latest.op.inputs if fixed[each.ref()] is None}


def functions_of_numbers(trace: Trace, inputs: list[tf.Tensor]) -> Parts:
    """The parts of a trace that compute a function of single numbers, such as an activation.

    Args:
        trace: the traced function.
        inputs: traced tensors. What does not depend on them is a constant of these functions, or a parameter.
    """
    after = descendants(trace.operations, inputs)
    dependent = {each.ref() for each in (*inputs, *(output for op in after for output in op.outputs))}

    def fixed(tensor: tf.Tensor) -> Any:
        if tensor.ref() in dependent:
            return None
        value = tf.get_static_value(tensor)
        is_number = value is not None and np.size(value) == 1
        return np.reshape(value, ()) if is_number else PARAMETER if tensor.dtype.is_floating else None

    return Parts(trace.graph, lambda op: op.type in OF_SINGLE_NUMBERS, fixed)
