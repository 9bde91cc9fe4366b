"""How the places of a layer lie over an input: their grid, tokens folded back to it, and maps resized to the input."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# A class token, a distillation token and a few registers: more tokens in front than this are not looked for.
MOST_EXTRA_TOKENS = 8


class Grid(NamedTuple):
    """The places of a layer.

    Attributes:
        shape: of the grid, an axis per spatial axis of the input.
        extra: tokens in front that belong to no place: class, distillation and register tokens.
        extent: of the input, in the same order of axes.
        channels: whether the input has an axis of channels behind its spatial ones.
    """

    shape: tuple[int, ...]
    extra: int
    extent: tuple[int, ...]
    channels: bool

    def fold(self, activations: tf.Tensor) -> tf.Tensor:
        """``(N, tokens, K)`` or ``(N, *shape, K)`` as ``(N, *shape, K)``."""
        places = activations if activations.shape.rank > 3 else activations[:, self.extra :]
        return tf.reshape(places, [-1, *self.shape, activations.shape[-1]])

    def resize(self, maps: tf.Tensor) -> tf.Tensor:
        """``(N, *shape)`` resized linearly to ``(N, *extent)``, in any number of dimensions.

        The centres of places are where they are in the input, and beyond the outermost ones a map stays as it is there:
        what ``tf.image.resize`` does with pictures.
        """
        for axis, (places, size) in enumerate(zip(self.shape, self.extent, strict=True), start=1):
            moved = tf.tensordot(maps, tf.constant(_linear(places, size)), axes=[[axis], [0]])
            maps = tf.experimental.numpy.moveaxis(moved, -1, axis)
        return maps


def _linear(places: int, size: int) -> np.ndarray:
    """Weights ``(places, size)`` of linear interpolation between the centres of ``places`` equal parts."""
    centres = np.clip((np.arange(size) + 0.5) * places / size - 0.5, 0, places - 1)
    return np.maximum(0, 1 - np.abs(np.arange(places)[:, None] - centres)).astype("float32")


def grid_of(activations: tf.TensorShape, part: tf.TensorShape) -> Grid | None:
    """How activations ``(N, ..., K)`` lie over a part of the inputs ``(N, ...)``; None where they do not."""
    places, channels = tuple(activations[1:-1]), True
    extent = tuple(part[1:-1])
    if len(places) == len(extent) + 1:
        # An input without channels: a table of numbers, a grey picture.
        channels, extent = False, tuple(part[1:])
    if not places or not extent or None in (*places, *extent, activations[-1]) or math.prod(places) == 1:
        return None
    if len(places) == len(extent):
        return Grid(places, 0, extent, channels)
    return _folded(places[0], extent) if len(places) == 1 and channels and len(extent) == 2 else None


def _folded(tokens: int, extent: tuple[int, ...]) -> Grid | None:
    """The grid of a picture's tokens: the one of the picture's own proportions with the fewest tokens left over."""
    height, width = extent
    for extra in range(min(MOST_EXTRA_TOKENS + 1, tokens - 1)):
        for rows in range(1, tokens - extra + 1):
            columns, rest = divmod(tokens - extra, rows)
            # Up to the rounding of a patch.
            if rest == 0 and abs(rows * width - columns * height) < max(height, width):
                return Grid((rows, columns), extra, extent, True)
    return None
