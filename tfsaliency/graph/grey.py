"""Whether a model reads an input ``(N, height, width)`` as pictures that have no axis of channels."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfsaliency.base.shapes import is_like_a_picture
from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.layouts import is_of_single_places
from tfsaliency.graph.operations import CONVOLUTIONS, GIVE_CHANNELS, NUMBER_BY_NUMBER, PADS, SHAPE_READERS


def is_grey_picture(given: tf.Tensor, outputs: Sequence[tf.Tensor]) -> bool:
    """Whether a model reads an input as pictures, and not as a series of steps.

    All that reads its numbers gives them an axis of channels, or lays them in one row: then nothing tells rows from
    columns, and it is a picture if its shape is like one. A convolution along one axis reads a series, and so does one
    that is as long as one axis.

    Args:
        given: the traced input.
        outputs: of the trace. What they do not depend on, such as an assertion, says nothing.
    """
    if given.shape.rank != 3:
        return False
    operations = ancestors(*outputs)
    extent = given.shape[1:]
    readers = _readers([given.op], operations, lambda op: _is_by_number(op) and op.outputs[0].shape[1:] == extent)
    with_channels = [op for op in readers if _gives_channels(op, extent)]
    in_row = [op for op in readers if _lays_in_row(op, extent)]
    if len(with_channels) + len(in_row) < len(readers):
        return False
    first = _readers(with_channels, operations, lambda op: _is_by_number(op) or op.type in PADS or _is_of_places(op))
    if any(op.type in CONVOLUTIONS and not _is_along_both(op.inputs[1].shape[:2], extent) for op in first):
        return False
    return bool(with_channels) or (bool(in_row) and is_like_a_picture(extent))


def _readers(
    makers: Sequence[tf.Operation], operations: Sequence[tf.Operation], passes: Callable[[tf.Operation], bool]
) -> list[tf.Operation]:
    """What reads the results of some operations, directly or behind operations that pass them on."""
    names = {op.name for op in makers}
    found = []
    for op in operations:
        if op.type in SHAPE_READERS or not any(source.op.name in names for source in op.inputs):
            continue
        if passes(op):
            names.add(op.name)
        else:
            found.append(op)
    return found


def _is_by_number(op: tf.Operation) -> bool:
    return op.type in NUMBER_BY_NUMBER


def _is_of_places(op: tf.Operation) -> bool:
    return op.type in CONVOLUTIONS and is_of_single_places(op)


def _gives_channels(op: tf.Operation, extent: tf.TensorShape) -> bool:
    shape = op.outputs[0].shape[1:]
    return bool(op.type in GIVE_CHANNELS and shape.rank == 3 and shape[:2] == extent)


def _lays_in_row(op: tf.Operation, extent: tf.TensorShape) -> bool:
    shape = op.outputs[0].shape[1:]
    return bool(op.type == "Reshape" and shape.rank == 1 and shape[0] == extent.num_elements() is not None)


def _is_along_both(kernel: tf.TensorShape, extent: tf.TensorShape) -> bool:
    """Whether a kernel reads places of both axes: more than one of each, and not all of one alone."""
    is_whole = [length == size for length, size in zip(kernel, extent, strict=True)]
    return all(length > 1 for length in kernel) and len(set(is_whole)) == 1
