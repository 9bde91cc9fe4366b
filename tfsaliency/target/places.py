"""One position of an output that is a sequence, ``(N, T, classes)``."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.target.base import shapes_of

# What a graph fails with where the length of an output is only known when it runs.
OUTSIDE = "The target names a position that the output does not have, which is as long as:"


def check_position(values: Any, position: np.ndarray | None) -> None:
    """Raises where the output is no sequence, or has no such position.

    Args:
        values: the output, a tensor or its spec.
        position: one for each sample; None for the last.
    """
    if values.shape.rank == 2 and position is None:
        return
    if values.shape.rank != 3:
        raise ValueError(
            "A position is one of a sequence, in an output of shape (N, T, classes). The model's output has shape "
            f"{shapes_of(values)}"
        )
    length = values.shape[1]
    if position is not None and length is not None:
        outside = position[(position < -length) | (position >= length)]
        if outside.size:
            raise ValueError(
                f"The output has the positions 0 to {length - 1}, or -1 to {-length} from the end. "
                f"Received: {outside[0]}"
            )


def at_position(values: tf.Tensor, position: tf.Tensor | None) -> tf.Tensor:
    """``(N, classes)``: an output at one position of each row; the output itself where it is no sequence."""
    if values.shape.rank == 2:
        return values
    if position is None:
        return values[:, -1]
    length = tf.shape(values)[1]
    return of_each_row(values, within(tf.where(position < 0, position + length, position), length))


def of_each_row(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """``(N, ..., *entry)``: of each row of ``values``, ``(M, *entry)``, the entries at its own index, ``(N, ...)``."""
    # tf.gather with batch_dims=1 does the same, but its gradient takes more than a hundred operations.
    rows = tf.cumsum(tf.ones_like(index), exclusive=True)
    return tf.gather_nd(values, tf.stack([rows, index], axis=-1))


def of_each_class(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """``(N, ...)``: of each row of ``values``, ``(..., classes)``, the entries of its own class, ``(N,)``."""
    rank = values.shape.rank
    return of_each_row(tf.transpose(values, [0, rank - 1, *range(1, rank - 1)]), index)


def within(positions: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Positions as they are; the graph fails with `OUTSIDE` where one is none of that many."""
    is_inside = tf.reduce_all((positions >= 0) & (positions < length))
    with tf.control_dependencies([tf.debugging.Assert(is_inside, [OUTSIDE, length])]):
        return tf.identity(positions)
