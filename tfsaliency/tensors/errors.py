"""How far an estimate is from what it estimates."""

from typing import Any

import tensorflow as tf

from tfsaliency.tensors.sums import squares


def relative_error(values: Any, error2: tf.Tensor) -> tf.Tensor:
    """``(N,)``: the error of values as a share of what they estimate, both by their L2 norm.

    Infinite where the error is no smaller than the values are, NaN where it is not known.

    Args:
        values: in any structure, ``(N, ...)``.
        error2: ``(N,)``, their squared error, which is in the square of the values too: E |m|^2 = |E m|^2 + Var m.
    """
    true2 = squares(values) - error2
    error = tf.sqrt(tf.math.divide_no_nan(error2, tf.nn.relu(true2)))
    return tf.where((true2 <= 0) & (error2 > 0), float("inf"), tf.where(error2 >= 0, error, float("nan")))
