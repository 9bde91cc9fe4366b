"""A traced graph with each turn of its loops written out, and both branches of its conditions: what rules go through.

So an LSTM becomes a long row of products, sums and activations. A loop is unrolled where the trace tells how often it
turns. One that goes on until the data says stop stays a loop, as does one of too many turns.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.bodies import body_of
from tfsaliency.graph.custom_gradients import CustomGradients
from tfsaliency.graph.operations import CONDITIONS, REARRANGEMENTS
from tfsaliency.graph.replay import Pairs, Replay, branches_of
from tfsaliency.graph.step import replayed_now

# The length of an axis that is not declared.
UNKNOWN = -1


class Listed:
    """A TensorFlow list whose elements are known.

    Attributes:
        elements: one tensor each; None where nothing was written yet.
        tensor: the list itself, for a loop that is not unrolled.
    """

    def __init__(self, elements: list[tf.Tensor | None], tensor: tf.Tensor):
        self.elements, self.tensor = elements, tensor


class Unrolled(Replay):
    """The values of traced tensors, with loops unrolled.

    Args:
        gradients: the custom gradients of the operations.
        given: pairs of a traced tensor and its value.
        turns: the most turns that a loop is unrolled for.
    """

    def __init__(self, gradients: CustomGradients, given: Pairs, turns: int):
        super().__init__(gradients, given)
        self._turns = turns

    def named(self, value: Any, name: str) -> Any:
        if isinstance(value, Listed):
            return value
        known = tf.get_static_value(value) if _is_index(value) else None
        return super().named(value, name) if known is None else tf.constant(known, value.dtype, name=name)

    def inside(self, given: Pairs) -> "Unrolled":
        return Unrolled(self._gradients, given, self._turns)

    def results(self, op: tf.Operation, inputs: list[Any]) -> Sequence[Any]:
        if op.type == "Identity" and isinstance(inputs[0], Listed):
            return inputs
        if op.type in LISTS:
            return self._of_list(op, inputs)
        counted = _counted(op, inputs)
        return super().results(op, inputs) if counted is None else counted

    def copy(self, op: tf.Operation, inputs: list[Any]) -> list[tf.Tensor]:
        return super().copy(op, [_tensor(each) for each in inputs])

    def loop(self, op: tf.Operation, inputs: list[Any]) -> list[Any]:
        condition, body = body_of(op, "cond"), body_of(op, "body")
        state = inputs
        for _ in range(self._turns + 1):
            goes_on = tf.get_static_value(self.body(condition, state)[0])
            if goes_on is None:
                break
            if not goes_on:
                return state
            state = self.body(body, state)
        return super().loop(op, [_tensor(each) for each in inputs])

    def condition(self, op: tf.Operation, inputs: list[Any]) -> list[Any]:
        choice, *arguments = inputs
        branches = branches_of(op)
        known = tf.get_static_value(choice)
        if known is not None:
            place = int(known)
            return self.body(branches[place if 0 <= place < len(branches) else -1], arguments)
        if any(each.type.startswith("Assign") for branch in branches for each in branch.get_operations()):
            return super().condition(op, [_tensor(each) for each in inputs])
        results = [self.body(branch, arguments) for branch in branches]
        if not all(_same_form(each) for each in zip(*results, strict=True)):
            return super().condition(op, [_tensor(each) for each in inputs])
        return [_chosen(choice, each) for each in zip(*results, strict=True)]

    def operations_of(self, graph: Any) -> list[tf.Operation]:
        # Not what runs for its effect: a check belongs to the branch that is taken.
        return ancestors(*graph.outputs)

    def _of_list(self, op: tf.Operation, inputs: list[Any]) -> list[Any]:
        elements = LISTS[op.type](op, *inputs)
        if elements is None or op.type in READERS:
            return self.copy(op, inputs) if elements is None else [elements]
        return [Listed(elements, self.copy(op, inputs)[0])]


def _tensor(value: Any) -> tf.Tensor:
    return value.tensor if isinstance(value, Listed) else value


def _counted(op: tf.Operation, inputs: list[Any]) -> list[tf.Tensor] | None:
    """The results where they are integers that are known now, such as the counters of a loop; None elsewhere."""
    if not inputs or op.op_def.is_stateful or op.type in CONDITIONS:
        return None
    if not all(map(_is_index, op.outputs)) or not all(map(_is_index, op.inputs)):
        return None
    known = [tf.get_static_value(each) for each in inputs]
    is_part = known[0] is None and op.type in REARRANGEMENTS
    if is_part:
        # The length of an axis, where that of another one is not declared.
        known[0] = _declared_shape(inputs[0])
    if any(each is None for each in known):
        return None
    results = replayed_now(op, known)
    if is_part and any((each == UNKNOWN).any() for each in results):
        return None
    return [tf.constant(each) for each in results]


def _declared_shape(tensor: tf.Tensor) -> list[int] | None:
    """The shape that a tensor holds, as far as it is declared; None where it holds none."""
    if not tf.is_symbolic_tensor(tensor) or tensor.op.type != "Shape" or tensor.op.inputs[0].shape.rank is None:
        return None
    return [UNKNOWN if size is None else size for size in tensor.op.inputs[0].shape]


def _is_index(tensor: tf.Tensor) -> bool:
    return bool(tensor.dtype.is_integer or tensor.dtype.is_bool)


def _same_form(results: tuple[Any, ...]) -> bool:
    if not all(tf.is_tensor(each) and each.dtype not in (tf.variant, tf.resource) for each in results):
        return False
    first = results[0].shape
    return all(each.shape.rank == first.rank and each.shape.is_compatible_with(first) for each in results)


def _chosen(choice: tf.Tensor, results: tuple[tf.Tensor, ...]) -> tf.Tensor:
    *others, last = results
    if choice.dtype == tf.bool:
        return tf.where(choice, last, others[0])
    for place, result in reversed(list(enumerate(others))):
        last = tf.where(tf.equal(choice, place), result, last)
    return last


# --- TensorFlow's lists, as lists of Python ---


def _reserved(op: tf.Operation, shape: tf.Tensor, count: tf.Tensor) -> list[Any] | None:
    known = tf.get_static_value(count)
    return None if known is None else [None] * int(known)


def _unstacked(op: tf.Operation, tensor: tf.Tensor, shape: tf.Tensor) -> list[Any] | None:
    return None if tensor.shape[0] is None else tf.unstack(tensor)


def _written(op: tf.Operation, given: Any, index: tf.Tensor, value: tf.Tensor) -> list[Any] | None:
    place = tf.get_static_value(index)
    if not isinstance(given, Listed) or place is None:
        return None
    elements = given.elements + [None] * (int(place) + 1 - len(given.elements))
    return [*elements[:place], value, *elements[place + 1 :]]


def _pushed(op: tf.Operation, given: Any, value: tf.Tensor) -> list[Any] | None:
    return [*given.elements, value] if isinstance(given, Listed) else None


def _element(op: tf.Operation, given: Any, index: tf.Tensor, shape: tf.Tensor) -> tf.Tensor | None:
    place = tf.get_static_value(index)
    return given.elements[place] if isinstance(given, Listed) and place is not None else None


def _together(join: Callable[[list[tf.Tensor]], tf.Tensor]) -> Callable[..., tf.Tensor | None]:
    def joined(op: tf.Operation, given: Any, *others: tf.Tensor) -> tf.Tensor | None:
        elements = given.elements if isinstance(given, Listed) else []
        is_whole = elements and all(each is not None for each in elements)
        return join(elements) if is_whole else None

    return joined


def _length(op: tf.Operation, given: Any) -> tf.Tensor | None:
    return tf.constant(len(given.elements)) if isinstance(given, Listed) else None


READERS: dict[str, Callable[..., Any]] = {
    "TensorListGetItem": _element,
    "TensorListLength": _length,
    "TensorListStack": _together(tf.stack),
}
LISTS: dict[str, Callable[..., Any]] = {
    "EmptyTensorList": lambda op, *shapes: [],
    "TensorListFromTensor": _unstacked,
    "TensorListPushBack": _pushed,
    "TensorListReserve": _reserved,
    "TensorListSetItem": _written,
    **READERS,
}
