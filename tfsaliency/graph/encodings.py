"""Whole numbers that encode ids, ones and zeros or counts, put together before they become floats.

The lookups of Keras give encodings of integers. A layer may concatenate several of them before the next one casts them.
"""

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import BAGS, IDENTITIES, JOINS, RESHAPES
from tfsaliency.graph.step import replayed_now

_PARTS = ("Slice", "StridedSlice", "Transpose")
# The place of a number that is not of an encoding.
ELSEWHERE = -1


def is_encoder(op: tf.Operation) -> bool:
    """Whether an operation encodes ids along the last axis of what it makes."""
    is_one_hot = op.type == "OneHot" and op.get_attr("axis") in (-1, op.outputs[0].shape.rank - 1)
    return is_one_hot or op.type in BAGS


def encodings_in(tensor: tf.Tensor) -> list[tf.Operation]:
    """The operations that make the encodings which whole numbers are rearranged from; none where they are more."""
    op = tensor.op
    if is_encoder(op):
        return [op]
    found = list(map(encodings_in, _rearranged(op)))
    is_known = found and all(found) and None not in tensor.shape[1:]
    return list(dict.fromkeys(each for of_source in found for each in of_source)) if is_known else []


def places_of(encoding: tf.Operation, tensor: tf.Tensor) -> np.ndarray:
    """Where the numbers of an encoding are in what it is rearranged to.

    Returns:
        For each number of a sample of the tensor its place in a sample of the encoding, row by row; or `ELSEWHERE`.
    """
    return _followed(encoding, tensor).reshape(-1)


def _followed(encoding: tf.Operation, tensor: tf.Tensor) -> np.ndarray:
    op, own = tensor.op, (1, *tensor.shape[1:])
    if is_encoder(op):
        return np.arange(np.prod(own)).reshape(own) if op is encoding else np.full(own, ELSEWHERE)
    moved = {source.ref(): _followed(encoding, source) for source in _rearranged(op)}
    if op.type in (*IDENTITIES, *RESHAPES):
        return next(iter(moved.values())).reshape(own)
    return replayed_now(op, [moved.get(each.ref(), tf.get_static_value(each)) for each in op.inputs])[0]


def _rearranged(op: tf.Operation) -> list[tf.Tensor]:
    """The sources whose numbers an operation puts in another order, or next to each other; none for any other one."""
    if op.type in (*IDENTITIES, *RESHAPES):
        return [op.inputs[0]]
    if op.type not in (*JOINS, *_PARTS):
        return []
    moved, how = list(op.inputs), []
    if op.type != "Pack":
        end = len(moved) - 1 if op.type in JOINS else 1
        moved, how = moved[:end], moved[end:]
    return moved if all(tf.get_static_value(each) is not None for each in how) else []
