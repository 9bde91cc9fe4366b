from typing import Any

import tensorflow as tf


def total(structure: Any) -> tf.Tensor:
    """``(N,)``: the sum over everything but the batch axis, of all parts."""
    return tf.add_n([tf.reduce_sum(part, list(range(1, part.shape.rank))) for part in tf.nest.flatten(structure)])
