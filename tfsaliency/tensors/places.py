"""Values per place: pixels, time steps, and the coarser places of a layer."""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.tensors.sums import along, of_copies, sizes_of

# The length of a block of pixels.
BLOCK = 8


def spatial_shape(part: tf.Tensor) -> tf.TensorShape:
    """The axes of space or time of one input: those between the batch and the channels. A table has its columns.

    Raises:
        ValueError: the length of one is not known before the model is run.
    """
    shape = part.shape[1:-1] if part.shape.rank > 2 else part.shape[1:]
    if None in shape:
        raise ValueError(
            "This method hides places of the inputs and has to know how many there are. Received: an axis whose length "
            "the model does not declare. Give it one: keras.Input((100, 3)), for texts "
            "TextVectorization(output_sequence_length=100), for tf.math.bincount CategoryEncoding(num_tokens, "
            "output_mode='count'); or explain the model behind them, which takes ids."
        )
    return shape


def one_per_place(part: tf.Tensor) -> tf.Tensor:
    """Zeros, one for each place of a batch: ``(N, *places, 1)``; ``(N, F)`` for a table."""
    return tf.zeros_like(part[..., :1] if part.shape.rank > 2 else part)


def over_part(shares: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Numbers for places ``(copies, N, *places)``, laid over copies of a batch: ``(copies * N, *places)``.

    They get an axis of length 1 for the channels where the batch has channels.
    """
    joined = tf.reshape(shares, [-1, *sizes_of(shares)[1:]])
    return tf.expand_dims(joined, axis=-1) if joined.shape.rank < part.shape.rank else joined


def mixed(mask: tf.Tensor, part: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Copies of a batch in blocks, ``(count * N, ...)``: a part where a mask is 1, and another one where it is 0.

    Args:
        mask: of each copy, from 0 to 1, ``(count, 1 or N, *places)``; an axis of length 1 for channels may follow.
        part: ``(N, *places, ...)``.
        other: of the same shape.
    """
    # What is seen is exact, and of the copies no more than two are made on the way.
    return tf.reshape(part + (1 - along(mask, part[None])) * (other - part), [-1, *sizes_of(part)])


def block_means(copies: Any) -> list[tf.Tensor]:
    """Means over blocks of 8 x 8 pixels, with the channels summed. Blocks at the edges are cut off.

    Args:
        copies: of a batch, in any structure, ``(count, N, ...)``.

    Returns:
        One for each picture ``(count, N, height, width, channels)`` of at least a block: ``(count, N, rows, columns,
        1)``.
    """
    means = []
    for part in tf.nest.flatten(copies):
        if part.shape.rank == 5 and all(size is not None and size >= BLOCK for size in part.shape[2:4]):
            pictures = tf.reduce_sum(tf.reshape(part, [-1, *part.shape[2:]]), axis=-1, keepdims=True)
            means.append(of_copies(tf.nn.avg_pool2d(pictures, BLOCK, BLOCK, "SAME"), tf.shape(part)[0]))
    return means


# Where an axis begins and ends in another one, as shares of that: turned around where it ends before it begins.
Span = tuple[float, float]
WHOLE: Span = (0.0, 1.0)


def resize(maps: tf.Tensor, extent: Sequence[int], spans: Sequence[Span]) -> tf.Tensor:
    """Maps ``(N, *places)``, resized linearly to ``(N, *extent)``, in any number of axes.

    The centre of each place stays where it is in the input. Beyond the outermost centres a map is constant, as in
    ``tf.image.resize``, and outside of its span it is zero.
    """
    for axis, (places, size, span) in enumerate(zip(maps.shape[1:], extent, spans, strict=True), start=1):
        maps = spread(maps, _linear(places, size, span), axis)
    return maps


def spread(values: tf.Tensor, weights: np.ndarray | tf.Tensor, axis: int) -> tf.Tensor:
    """Multiplies one axis of length ``n`` by a matrix ``(n, m)``; the axis then has length ``m``.

    Each row of the values may have a matrix of its own: ``(N, n, m)``.
    """
    axes = string.ascii_lowercase[: values.shape.rank]
    old, rows = axes[axis], axes[: len(weights.shape) - 2]
    return tf.einsum(f"{axes},{rows}{old}Z->{axes.replace(old, 'Z')}", values, tf.cast(weights, values.dtype))


def _linear(places: int, size: int, span: Span) -> np.ndarray:
    """Weights ``(places, size)`` of linear interpolation between the centres of ``places`` equal parts of a span."""
    start, stop = span
    at = ((np.arange(size) + 0.5) / size - start) / (stop - start)
    centres = np.clip(at * places - 0.5, 0, places - 1)
    weights = np.maximum(0, 1 - np.abs(np.arange(places)[:, None] - centres)) * ((at >= 0) & (at <= 1))
    return np.asarray(weights, "float32")
