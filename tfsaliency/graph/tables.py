"""How ids are looked up in tables of vectors: by a gather, or by several of a quantized table."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.graph.ancestry import alike, before
from tfsaliency.graph.operations import (
    ARITHMETIC,
    CHOICES,
    DISTINCT,
    GATHERS,
    IDENTITIES,
    QUOTIENTS,
    RESHAPES,
    SHAPE_READERS,
)


def axis_of(gather: tf.Operation) -> int | None:
    """The axis of a table that its rows are counted along, None where ids belong to one row of a batch each."""
    if gather.type == "ResourceGather":
        return 0 if gather.get_attr("batch_dims") == 0 else None
    if gather.type == "Gather":
        return 0
    axis = None if gather.get_attr("batch_dims") else tf.get_static_value(gather.inputs[2])
    return None if axis is None else int(axis)


def distinct(index: tf.Tensor) -> tf.Operation | None:
    """The operation that made an index of each of some ids once."""
    maker = before(index, IDENTITIES)
    return maker.op if maker.op.type in DISTINCT and maker.value_index == 0 else None


def counted_from_start(index: tf.Tensor) -> tf.Tensor:
    """The ids of a lookup that adds the length of its table to those below zero, which count from the end."""
    op = index.op
    if op.type not in CHOICES:
        return index
    condition, _, ids = op.inputs
    is_below_zero = condition.op.type == "Less" and condition.op.inputs[0] is ids
    return ids if is_below_zero and tf.get_static_value(condition.op.inputs[1]) == 0 else index


class Dequantized(NamedTuple):
    """The vectors that a quantized table has for ids: codes, and scales of theirs, looked up and multiplied.

    Attributes:
        tensor: the vectors.
        made_by: the operations that make them of the ids, in order.
    """

    tensor: tf.Tensor
    made_by: tuple[tf.Operation, ...]


def dequantized(inputs: Sequence[tf.Tensor], order: Sequence[tf.Operation]) -> list[Dequantized]:
    """The first products, in the order of the trace, of codes and scales that are looked up for the same ids.

    Args:
        inputs: of the trace.
        order: the operations that its outputs depend on.
    """
    dependent, names = {part.ref() for part in inputs}, {op.name for op in order}
    # How the numbers that belong to one id each were made.
    made: dict[Any, dict[str, tf.Operation]] = {}
    found = []
    for op in order:
        sources = [source for source in op.inputs if source.ref() in dependent]
        if not sources or op.type in SHAPE_READERS:
            continue
        dependent |= {result.ref() for result in op.outputs}
        if op.type in GATHERS and op.inputs[0].ref() not in dependent:
            made[op.outputs[0].ref()] = {op.name: op}
        elif op.type in (*ARITHMETIC, *RESHAPES, *GATHERS) and all(source.ref() in made for source in sources):
            behind = {name: each for source in sources for name, each in made[source.ref()].items()}
            made_by = (*behind.values(), op)
            if op.type not in ("Mul", *QUOTIENTS) or not _are_codes_and_scales(made_by[:-1]):
                made[op.outputs[0].ref()] = {**behind, op.name: op}
            elif not _are_read_by(made_by[:-1], names - {*behind, op.name}):
                found.append(Dequantized(op.outputs[0], made_by))
    return found


def _are_read_by(operations: Sequence[tf.Operation], names: set[str]) -> bool:
    """Whether one of some other operations, by their names, reads more of what these make than its shape."""
    readers = (reader for op in operations for result in op.outputs for reader in result.consumers())
    return any(reader.name in names and reader.type not in SHAPE_READERS for reader in readers)


def _are_codes_and_scales(operations: Sequence[tf.Operation]) -> bool:
    """Whether operations look up whole numbers and floats for the same ids."""
    made = {result.ref() for op in operations for result in op.outputs}
    gathers = [op for op in operations if not any(source.ref() in made for source in op.inputs)]
    indices = [counted_from_start(op.inputs[1]) for op in gathers]
    kinds = {op.outputs[0].dtype.is_integer for op in gathers}
    return len(kinds) == 2 and all(alike(indices[0], each) for each in indices[1:])
