"""Which tensors reach others as numbers, and not by choices alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import before
from tfsaliency.graph.bodies import body_of
from tfsaliency.graph.operations import (
    IDENTITIES,
    LOOPS,
    NUMBER_BY_NUMBER,
    REARRANGEMENTS,
    RESHAPES,
)
from tfsaliency.graph.step import replayed_now

# Stands for a number that is not followed, among the places of those that are.
_OTHER = -1


def read_as_numbers(*tensors: tf.Tensor, stops: Sequence[str] = ()) -> set[Any]:
    """The tensors, as ``ref()``, that reach some others as numbers: not by choices alone, as indices and masks do.

    Args:
        tensors: the others.
        stops: types of operations that are not passed.
    """
    seen = {tensor.ref() for tensor in tensors}
    stack = list(tensors)
    while stack:
        tensor = stack.pop()
        if tensor.op.type in stops:
            continue
        numbers = [each for each in _sources(tensor, stops) if _holds_numbers(each)]
        stack += [each for each in numbers if each.ref() not in seen]
        seen |= {each.ref() for each in numbers}
    return seen


def places_read_as_numbers(part: tf.Tensor, reached: set[Any]) -> np.ndarray:
    """Which numbers of each sample of a part of the inputs are read as numbers: one column of a table may be an id.

    Args:
        part: the traced part, ``(N, *places)``.
        reached: what reaches the outputs as numbers.

    Returns:
        ``(*places)`` booleans; one for all places where the trace does not know how many there are.
    """
    places = part.shape[1:]
    if None in places:
        return np.array(True)
    read = np.zeros(places.num_elements(), bool)
    rows = part.shape[0] or 1
    stack = [(part, np.tile(np.arange(read.size), rows).reshape(rows, *places))]
    while stack:
        tensor, numbers = stack.pop()
        for op in tensor.consumers():
            if any(result.ref() in reached for result in op.outputs):
                moved = _moved(op, tensor, numbers)
                read[numbers[numbers != _OTHER]] |= moved is None
                stack += [pair for pair in zip(op.outputs, moved or [], strict=False) if pair[0].ref() in reached]
    return read.reshape(places)


def _moved(op: tf.Operation, tensor: tf.Tensor, numbers: np.ndarray) -> list[np.ndarray] | None:
    """Numbers in the order in which an operation puts them; None where it computes several together."""
    if op.type in NUMBER_BY_NUMBER and len(op.outputs) == 1:
        return [numbers] if op.outputs[0].shape[1:].as_list() == [*numbers.shape[1:]] else None
    if op.type not in REARRANGEMENTS:
        return None
    known = [numbers if each is tensor else _known(each, len(numbers)) for each in op.inputs]
    if all(each is not None for each in known):
        try:
            moved = [each.astype(int) for each in replayed_now(op, known)]
        except tf.errors.InvalidArgumentError:
            # It takes another number of rows.
            return None
        return moved if all(each.size for each in moved) else None
    # A shape is counted from the number of rows, but for the rows the trace often knows it.
    size = op.outputs[0].shape[1:].num_elements()
    is_moved = op.type in RESHAPES and size == numbers[0].size
    return [numbers.reshape(-1, *op.outputs[0].shape[1:])] if is_moved else None


def _known(tensor: tf.Tensor, rows: int) -> np.ndarray | None:
    """The value of a constant, or of a shape for these rows; other numbers than those that are followed."""
    value = tf.get_static_value(tensor, partial=True)
    if value is not None:
        # What is not known of a list of lengths is counted from the number of rows.
        return np.where(value == np.array(None), rows, value).astype(tensor.dtype.as_numpy_dtype)
    shape = tensor.shape
    if not _holds_numbers(tensor) or shape.rank is None or None in shape[1:]:
        return None
    return np.full((rows, *shape[1:]), _OTHER)


def _holds_numbers(tensor: tf.Tensor) -> bool:
    """Whether a tensor may have a gradient: floats, complex numbers, and the lists of a loop, which are variants."""
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex or tensor.dtype == tf.variant)


def _sources(tensor: tf.Tensor, stops: Sequence[str]) -> list[tf.Tensor]:
    """What an operation reads for one of its results; a loop what its turns read as numbers."""
    op = tensor.op
    if op.type not in LOOPS:
        return list(op.inputs)
    body = body_of(op, "body")
    pairs = zip(body.inputs, body.outputs, strict=True)
    is_kept = [before(end, IDENTITIES).ref() == start.ref() for start, end in pairs]
    if is_kept[tensor.value_index]:
        return [op.inputs[tensor.value_index]]
    # What a turn hands on as it is, is read by the other results or not at all.
    changed = [end for end, kept in zip(body.outputs, is_kept, strict=True) if not kept]
    read = read_as_numbers(*changed, stops=stops)
    return [source for source, start in zip(op.inputs, body.inputs, strict=True) if start.ref() in read]
