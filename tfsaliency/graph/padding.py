"""The numbers that may fill up short series: a model that masks them compares with them."""

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import EQUALITIES, IDENTITIES, REARRANGEMENTS


def fillers(part: tf.Tensor) -> list[np.generic]:
    """The constants that a part of the inputs of a trace is compared with, as `keras.layers.Masking` does.

    They have the type in which the model compares.
    """
    same = [part]
    found: dict[float, np.generic] = {}
    # Grows while it is read.
    for tensor in same:
        for op in tensor.consumers():
            if op.type in EQUALITIES:
                known = (tf.get_static_value(each) for each in op.inputs)
                values = [np.ravel(each)[0] for each in known if each is not None and np.size(each) == 1]
                found |= {float(each): each for each in values}
            elif op.type in (*IDENTITIES, *REARRANGEMENTS) and tensor is op.inputs[0]:
                same += [each for each in op.outputs if each.dtype.is_floating]
    return list(found.values())
