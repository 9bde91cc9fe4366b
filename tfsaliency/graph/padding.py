"""The number that fills up short series of numbers, where a model masks the steps that hold nothing else."""

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import IDENTITIES


def filler(part: tf.Tensor) -> float | None:
    """The number of which a step is made that a model masks, as `keras.layers.Masking` does; None where it masks none.

    Args:
        part: a part of the inputs of a trace, ``(N, *steps, channels)``.
    """
    same = [part]
    # Grows while it is read.
    for tensor in same:
        for op in tensor.consumers():
            same += op.outputs if op.type in IDENTITIES and op.outputs[0].dtype.is_floating else []
            number = _compared_with(op)
            if number is not None and any(map(_is_over_channels, op.outputs[0].consumers())):
                return number
    return None


def _compared_with(op: tf.Operation) -> float | None:
    """The constant that ``x != constant`` compares with."""
    known = [tf.get_static_value(each) for each in op.inputs] if op.type == "NotEqual" else []
    return next((float(value) for value in known if value is not None and value.size == 1), None)


def _is_over_channels(op: tf.Operation) -> bool:
    """Whether it asks if any channel of a step is so."""
    axes = tf.get_static_value(op.inputs[1]) if op.type == "Any" else None
    rank = op.inputs[0].shape.rank
    return axes is not None and rank is not None and set(np.ravel(axes) % rank) == {rank - 1}
