"""Where tensors have their channels: behind their places, as TensorFlow's convolutions do, or in front of them."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import CONVOLUTIONS, NUMBER_BY_NUMBER, PADS

FRONT, BEHIND = "front", "behind"


def layouts(operations: Iterable[tf.Operation]) -> dict[str, set[str]]:
    """For each operation, in the order of the trace, where its results have their channels.

    A convolution or pooling says it, a transpose moves them, and all else leaves them where they are.
    """
    found: dict[str, set[str]] = {}
    for op in operations:
        said, moved_to = _said(op), _moved_to(op)
        before = set().union(*(found.get(source.op.name, set()) for source in op.inputs))
        found[op.name] = {said} if said else {moved_to} if moved_to else before
    return found


class _Way(NamedTuple):
    """What became of the axes of an input on the way to a tensor.

    Attributes:
        moved_to: where its channels have been moved to; None where they are where they were.
        added: the axes of one entry that were added.
    """

    moved_to: str | None = None
    added: tuple[int, ...] = ()


def layout_of_input(given: tf.Tensor, operations: Iterable[tf.Operation]) -> str | None:
    """Where an input has its channels, as all convolutions say that read it; None where none does, or not all one.

    A convolution over single places, or one whose channels are an axis that was added, says nothing of the input.

    Args:
        given: the traced input.
        operations: in the order of the trace.
    """
    # The input, and what is made of it number by number.
    ways: dict[str, _Way] = {given.op.name: _Way()}
    said: set[str] = set()
    for op in operations:
        way = next((ways[source.op.name] for source in op.inputs if source.op.name in ways), None)
        if way is None:
            continue
        if op.type in CONVOLUTIONS and not is_of_single_places(op):
            said |= _said_of_input(op, way)
        elif after := _after(op, way):
            ways[op.name] = after
    return said.pop() if len(said) == 1 else None


def _after(op: tf.Operation, way: _Way) -> _Way | None:
    """The way to the result of an operation that keeps places and channels apart."""
    if op.type == "ExpandDims":
        added = tf.get_static_value(op.inputs[1])
        return None if added is None else way._replace(added=(*way.added, int(added) % op.outputs[0].shape.rank))
    if to := _moved_to(op):
        return way._replace(moved_to=None if way.moved_to else to)
    return way if op.type in (*NUMBER_BY_NUMBER, *PADS, *CONVOLUTIONS) else None


def is_of_single_places(op: tf.Operation) -> bool:
    """Whether a convolution reads one place at a time."""
    return set(op.inputs[1].shape[:-2]) == {1}


def _said_of_input(op: tf.Operation, way: _Way) -> set[str]:
    """Where a convolution says that an input has its channels, which came to it by a way."""
    said = _said(op)
    channels = 1 if said == FRONT else op.outputs[0].shape.rank - 1
    if said is None or channels in way.added:
        return set()
    if way.moved_to is None:
        return {said}
    return {_OTHER[said]} if way.moved_to == said else set()


_OTHER = {FRONT: BEHIND, BEHIND: FRONT}


def _said(op: tf.Operation) -> str | None:
    """Where a convolution or pooling has the channels. Vectors have no places."""
    if "data_format" not in op.node_def.attr or op.outputs[0].shape.rank == 2:
        return None
    return FRONT if op.get_attr("data_format").startswith(b"NC") else BEHIND


def _moved_to(op: tf.Operation) -> str | None:
    """Where a transpose moves channels to."""
    rank = op.outputs[0].shape.rank if op.type == "Transpose" else None
    order = tf.get_static_value(op.inputs[1]) if rank else None
    if rank is None or order is None:
        return None
    to_front, to_behind = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
    return {tuple(to_front): FRONT, tuple(to_behind): BEHIND}.get(tuple(np.asarray(order).tolist()))
