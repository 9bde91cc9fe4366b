"""How the places of a layer lie over an input: their grid, and tokens folded back to it."""

import math
from typing import NamedTuple

import tensorflow as tf

from tfsaliency.graph.axes import UNKNOWN, Axes, Axis, tokens_of
from tfsaliency.tensors.places import resize


class Grid(NamedTuple):
    """The places of a layer.

    Attributes:
        shape: of the grid, one axis per spatial axis of the input.
        extra: how many tokens in front have no place: class, distillation and register tokens.
        extent: of the input, in the same order of axes.
        channels: whether the input has an axis of channels.
        in_front: whether channels come before places, in the layer and in the input; by default behind.
    """

    shape: tuple[int, ...]
    extra: int
    extent: tuple[int, ...]
    channels: bool
    in_front: bool = False

    @property
    def of_channels(self) -> int:
        """The axis of the layer's channels, and of the input's where it has one."""
        return 1 if self.in_front else -1

    def fold(self, activations: tf.Tensor) -> tf.Tensor:
        """What lies over the layer as ``(N, *shape, K)``, without tokens of no place."""
        if self.in_front:
            return tf.experimental.numpy.moveaxis(activations, 1, -1)
        if activations.shape.rank == 3:
            activations = activations[:, self.extra : self.extra + math.prod(self.shape)]
        return tf.reshape(activations, [-1, *self.shape, activations.shape[-1]])

    def over_input(self, maps: tf.Tensor) -> tf.Tensor:
        """``(N, *shape)`` maps, resized linearly to ``(N, *extent)``."""
        return resize(maps, self.extent)

    def with_channels(self, maps: tf.Tensor) -> tf.Tensor:
        """Maps ``(N, ...)`` with one channel, where the input has channels."""
        return tf.expand_dims(maps, self.of_channels) if self.channels else maps


def grid_of(
    activations: tf.TensorShape, axes: Axes | None, part: tf.TensorShape, in_front: bool = False
) -> Grid | None:
    """How activations ``(N, ..., K)`` lie over a part of the inputs ``(N, ...)``; None where they do not.

    Args:
        activations: their shape.
        axes: where the axes of the part are in them, as the trace shows it; None where they do not depend on the part.
        part: the shape of the part.
        in_front: whether every operation on the way has its channels in front: ``(N, K, ...)``.
    """
    if axes is None or len(axes) < 3 or not _is_batch(axes[0]):
        return None
    if in_front:
        return _behind_channels(activations, part)
    if activations[-1] is None:
        return None
    places, channels = axes[1:-1], True
    extent = tuple(part[1:-1])
    if len(places) == len(extent) + 1:
        # An input without channels: a table of numbers, a grey picture.
        channels, extent = False, tuple(part[1:])
    if not extent or None in (*activations[1:-1], *extent) or activations[1:-1].num_elements() == 1:
        return None
    if len(places) == len(extent) and all(_may_be(axis, place) for place, axis in enumerate(places, start=1)):
        return Grid(tuple(activations[1:-1]), 0, extent, channels)
    return _folded(places[0], extent, channels) if len(places) == 1 else None


def _behind_channels(activations: tf.TensorShape, part: tf.TensorShape) -> Grid | None:
    """The grid of places that come after the channels. Convolutions alone have made them."""
    shape = activations[2:]
    channels = part.rank == activations.rank
    extent = part[2:] if channels else part[1:]
    if extent.rank != shape.rank or None in (*activations[1:], *extent) or shape.num_elements() == 1:
        return None
    return Grid(tuple(shape), 0, tuple(extent), channels, True)


def _is_batch(axis: Axis) -> bool:
    """Whether an axis is that of the batch alone: windows and heads of a picture are no samples."""
    return all(factor.axis in (0, UNKNOWN) for factor in axis)


def _may_be(axis: Axis, place: int) -> bool:
    """Whether an axis comes from that of the input, or nothing else is known of it."""
    return all(factor.axis == UNKNOWN or (factor.axis == place and factor.is_whole) for factor in axis)


def _folded(axis: Axis, extent: tuple[int, ...], channels: bool) -> Grid | None:
    """The grid of tokens that are all places of the input, row by row."""
    tokens = tokens_of(axis)
    found = {factor.axis: factor.size for factor in tokens.places if factor.is_whole}
    if (
        list(found) != sorted(found)
        or len(found) < len(tokens.places)
        or not set(found) <= {*range(1, len(extent) + 1)}
    ):
        return None
    # An axis of one place leaves no trace.
    shape = tuple(found.get(place) or 1 for place in range(1, len(extent) + 1))
    return Grid(shape, tokens.before, extent, channels)
