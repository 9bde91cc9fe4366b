"""Sums over everything but the batch, and shapes that broadcast against a batch."""

from typing import Any

import tensorflow as tf


def samples_of(structure: Any) -> tf.Tensor:
    """The number of rows of a batch, a scalar int32 tensor."""
    return tf.shape(tf.nest.flatten(structure)[0])[0]


def total(structure: Any) -> tf.Tensor:
    """``(N,)``: the sum over all parts and all axes but the batch axis."""
    return tf.add_n([tf.reduce_sum(part, inner_axes(part)) for part in tf.nest.flatten(structure)])


def inner_axes(part: tf.Tensor) -> list[int]:
    """All axes but the batch axis."""
    return list(range(1, part.shape.rank))


def along(numbers: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """``(n,)`` numbers, reshaped to ``(n, 1, ...)`` so that they broadcast against ``part``."""
    return tf.reshape(numbers, [-1] + [1] * (part.shape.rank - 1))


def repeated(structure: Any, count: tf.Tensor) -> Any:
    """``count`` copies of a batch, stacked in blocks: ``(count * N, ...)`` with all rows of the first copy first."""
    return tf.nest.map_structure(lambda part: tf.tile(part, [count] + [1] * (part.shape.rank - 1)), structure)


def of_copies(structure: Any, count: tf.Tensor) -> Any:
    """``(count, N, ...)``: what belongs to each copy of a batch of stacked copies ``(count * N, ...)``."""
    return tf.nest.map_structure(lambda part: tf.reshape(part, [count, -1, *part.shape[1:]]), structure)
