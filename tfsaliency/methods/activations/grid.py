"""How the places of a layer lie over an input: their grid, and tokens folded back to it."""

import math
from typing import NamedTuple

import tensorflow as tf

from tfsaliency.tensors.places import resize

# A class token, a distillation token and a few registers: no more tokens than this are skipped in front.
MOST_EXTRA_TOKENS = 8


class Grid(NamedTuple):
    """The places of a layer.

    Attributes:
        shape: of the grid, one axis per spatial axis of the input.
        extra: how many tokens in front have no place: class, distillation and register tokens.
        extent: of the input, in the same order of axes.
        channels: whether the input has an axis of channels behind its spatial axes.
    """

    shape: tuple[int, ...]
    extra: int
    extent: tuple[int, ...]
    channels: bool

    def fold(self, activations: tf.Tensor) -> tf.Tensor:
        """``(N, tokens, K)`` or ``(N, *shape, K)`` as ``(N, *shape, K)``."""
        places = activations if activations.shape.rank > 3 else activations[:, self.extra :]
        return tf.reshape(places, [-1, *self.shape, activations.shape[-1]])

    def over_input(self, maps: tf.Tensor) -> tf.Tensor:
        """``(N, *shape)`` maps, resized linearly to ``(N, *extent)``."""
        return resize(maps, self.extent)


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
    """The grid of a picture's tokens: the one in the picture's proportions that leaves the fewest tokens over."""
    height, width = extent
    for extra in range(min(MOST_EXTRA_TOKENS + 1, tokens - 1)):
        for rows in range(1, tokens - extra + 1):
            columns, rest = divmod(tokens - extra, rows)
            # Equal proportions up to the rounding of one patch.
            if rest == 0 and abs(rows * width - columns * height) < max(height, width):
                return Grid((rows, columns), extra, extent, True)
    return None
