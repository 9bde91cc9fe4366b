"""Random numbers that depend on a name and a number alone: never on the batch, the chunks or earlier draws."""

import zlib
from collections.abc import Callable

import tensorflow as tf

from tfsaliency.tensors.mapped import mapped


def stream(*names: object) -> int:
    """A seed for TensorFlow's stateless generators. Other names give an independent stream."""
    return zlib.crc32("/".join(map(str, names)).encode()) >> 1


def drawn(
    draw: Callable[[tf.Tensor], tf.Tensor], first: tf.Tensor, count: tf.Tensor, shape: tf.TensorShape | list[int]
) -> tf.Tensor:
    """Draws number ``first`` to ``first + count - 1``, stacked: ``(count, *shape)`` float32.

    Args:
        draw: takes the number of a draw, a scalar int32 tensor, and returns the draw, of shape ``shape``.
        first: the number of the first draw.
        count: how many draws.
        shape: the shape of one draw.
    """
    draws: tf.Tensor = mapped(draw, tf.range(first, first + count), tf.TensorSpec(shape, tf.float32))
    return draws
