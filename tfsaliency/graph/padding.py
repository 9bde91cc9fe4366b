"""The numbers that may fill up short series: a model that masks them compares with them."""

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import EQUALITIES, IDENTITIES, JUDGEMENTS, REARRANGEMENTS, SIZES


def fillers(part: tf.Tensor) -> list[np.generic]:
    """The constants that a part of the inputs of a trace is compared with, as `keras.layers.Masking` does.

    They have the type in which the model compares. Zero where the size of steps is compared with a number or taken for
    true or false, as in ``tf.reduce_sum(tf.abs(x), -1) > 0``.
    """
    # Each with whether it is a size of steps. Grows while it is read.
    made = [(part, False)]
    found: dict[float, np.generic] = {}
    for tensor, is_size in made:
        for op in tensor.consumers():
            if op.type in EQUALITIES and not is_size:
                known = (tf.get_static_value(each) for each in op.inputs)
                values = [np.ravel(each)[0] for each in known if each is not None and np.size(each) == 1]
                found |= {float(each): each for each in values}
            elif (op.type == "Cast" and op.outputs[0].dtype == tf.bool) or (is_size and op.type in JUDGEMENTS):
                found[0.0] = tensor.dtype.as_numpy_dtype(0)
            elif tensor is op.inputs[0] and (_makes_size(op) or op.type in (*IDENTITIES, *REARRANGEMENTS)):
                made += [(each, is_size or _makes_size(op)) for each in op.outputs if each.dtype.is_floating]
    return list(found.values())


def _makes_size(op: tf.Operation) -> bool:
    return op.type in SIZES or (op.type == "Mul" and op.inputs[0] is op.inputs[1])
