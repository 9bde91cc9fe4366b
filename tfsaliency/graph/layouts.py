"""Where tensors have their channels: behind their places, as TensorFlow's convolutions do, or in front of them."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import ELEMENTWISE, NUMBER_BY_NUMBER, PADS

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


def layout_of_input(given: tf.Tensor, operations: Iterable[tf.Operation]) -> str | None:
    """Where an input has its channels, as the first convolution or pooling that reads it says; None where none does.

    Args:
        given: the traced input.
        operations: in the order of the trace.
    """
    # Where the channels of the input have been moved to, for the input itself and what is made of it number by number.
    moved: dict[str, str | None] = {given.op.name: None}
    for op in operations:
        sources = [source.op.name for source in op.inputs if source.op.name in moved]
        if not sources:
            continue
        has, to = moved[sources[0]], _moved_to(op)
        if said := _said(op):
            return said if has is None else _OTHER[said] if has == said else None
        if to and has is None:
            moved[op.name] = to
        elif op.type in (*ELEMENTWISE, *NUMBER_BY_NUMBER, *PADS, "ExpandDims"):
            moved[op.name] = has
    return None


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
