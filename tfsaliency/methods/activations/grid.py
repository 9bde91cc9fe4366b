"""How the places of a layer lie over an input: their grid, and tokens folded back to it."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf

from tfsaliency.graph.axes import UNKNOWN, Axes, Axis, size_of, span_of, tokens_of
from tfsaliency.tensors.places import WHOLE, Span, resize

# Decimal places of a share of an axis.
SHARES = 9


class Grid(NamedTuple):
    """The places of a layer.

    Attributes:
        shape: of the grid, one axis per spatial axis of the input.
        extra: how many tokens in front have no place: class, distillation and register tokens.
        extent: of the input, in the same order of axes.
        channels: the axis of channels of the input, 1 or -1; None where it has none.
        in_front: whether the layer's channels come before its places; by default behind.
        spans: what each axis of the grid covers of that of the input; empty where all cover the whole.
    """

    shape: tuple[int, ...]
    extra: int
    extent: tuple[int, ...]
    channels: int | None
    in_front: bool = False
    spans: tuple[Span, ...] = ()

    @property
    def of_channels(self) -> int:
        """The axis of the layer's channels."""
        return 1 if self.in_front else -1

    def fold(self, activations: tf.Tensor) -> tf.Tensor:
        """What lies over the layer as ``(N, *shape, K)``, without tokens of no place."""
        if self.in_front:
            return tf.experimental.numpy.moveaxis(activations, 1, -1)
        if activations.shape.rank == 3:
            activations = activations[:, self.extra : self.extra + math.prod(self.shape)]
        return tf.reshape(activations, [-1, *self.shape, activations.shape[-1]])

    def over_input(self, maps: tf.Tensor) -> tf.Tensor:
        """``(N, *shape)`` maps, resized linearly to ``(N, *extent)``; zero where the layer sees nothing."""
        return resize(maps, self.extent, self.spans or [WHOLE] * len(self.extent))

    def with_channels(self, maps: tf.Tensor) -> tf.Tensor:
        """Maps ``(N, ...)`` with one channel, where the input has channels."""
        return maps if self.channels is None else tf.expand_dims(maps, self.channels)


def grid_of(
    activations: tf.TensorShape,
    axes: Axes | None,
    part: tf.TensorShape,
    *,
    in_front: bool = False,
    is_grey: bool = False,
    is_looked_up: bool = False,
) -> Grid | None:
    """How activations ``(N, ..., K)`` lie over a part of the inputs ``(N, ...)``; None where they do not.

    Args:
        activations: their shape.
        axes: where the axes of the part are in them, as the trace shows it; None where they do not depend on the part.
        part: the shape of the part.
        in_front: whether every operation on the way has its channels in front: ``(N, K, ...)``.
        is_grey: whether the part is pictures without an axis of channels, which methods see with one behind.
        is_looked_up: whether the part is vectors, which have their numbers behind.
    """
    if axes is None or len(axes) < 3 or not _is_batch(axes[0]):
        return None
    # TensorFlow does not know the size of every reshape.
    sizes = (size_of(axis) if size is None else size for axis, size in zip(axes, activations, strict=True))
    activations = tf.TensorShape(sizes)
    if in_front:
        return _behind_channels(activations, part, is_grey)
    if None in activations[1:] or activations[1:-1].num_elements() == 1:
        return None
    found = (_over(axes[1:-1], tuple(activations[1:-1]), extent) for extent in _extents(part, is_grey, is_looked_up))
    return next((grid for grid in found if grid is not None), None)


class _Extent(NamedTuple):
    """The axes of an input that places may lie over.

    Attributes:
        first: the first of them.
        sizes: how long they are.
        channels: the axis of channels; None where there is none.
    """

    first: int
    sizes: tuple[int, ...]
    channels: int | None


def _extents(part: tf.TensorShape, is_grey: bool, is_looked_up: bool) -> list[_Extent]:
    """The ways to read an input: channels behind, in front, or none, as in a table of numbers or a grey picture."""
    ways = [_Extent(1, tuple(part[1:-1]), -1), _Extent(2, tuple(part[2:]), 1), _Extent(1, tuple(part[1:]), None)]
    if is_grey:
        ways = [_Extent(1, tuple(part[1:]), -1)]
    elif is_looked_up:
        ways = ways[:1]
    return [each for each in ways if each.sizes and None not in each.sizes]


def _over(places: Axes, sizes: tuple[int, ...], extent: _Extent) -> Grid | None:
    """The grid of places of some sizes; None where they are not those of this way to read the input."""
    if len(places) == len(extent.sizes):
        pairs = enumerate(places, start=extent.first)
        fits = _is_from if extent.channels == 1 else _may_be
        if all(fits(axis, place) for place, axis in pairs):
            return Grid(sizes, 0, extent.sizes, extent.channels, spans=_spans(map(span_of, places)))
    return _folded(places[0], extent) if len(places) == 1 else None


def _behind_channels(activations: tf.TensorShape, part: tf.TensorShape, is_grey: bool) -> Grid | None:
    """The grid of places that come after the channels. Convolutions alone have made them."""
    shape = activations[2:]
    channels = -1 if is_grey else 1 if part.rank == activations.rank else None
    extent = part[2:] if channels == 1 else part[1:]
    if extent.rank != shape.rank or None in (*activations[1:], *extent) or shape.num_elements() == 1:
        return None
    return Grid(tuple(shape), 0, tuple(extent), channels, True)


def _is_batch(axis: Axis) -> bool:
    """Whether an axis is that of the batch alone: windows and heads of a picture are no samples."""
    return all(factor.axis in (0, UNKNOWN) for factor in axis)


def _may_be(axis: Axis, place: int) -> bool:
    """Whether an axis comes from that of the input, or nothing else is known of it."""
    return all(factor.axis == UNKNOWN or (factor.axis == place and factor.is_whole) for factor in axis)


def _is_from(axis: Axis, place: int) -> bool:
    """Whether an axis comes from that of the input."""
    return bool(axis) and all(factor.axis == place and factor.is_whole for factor in axis)


def _folded(axis: Axis, extent: _Extent) -> Grid | None:
    """The grid of tokens that are all places of the input, row by row."""
    tokens = tokens_of(axis)
    found = {factor.axis: factor for factor in tokens.places if factor.is_whole}
    places = range(extent.first, extent.first + len(extent.sizes))
    in_order = list(found) == sorted(found) and len(found) == len(tokens.places)
    # An axis of one place leaves no trace, which is taken for one where channels are in their usual place alone.
    fits = set(found) <= {*places} if extent.channels == -1 else set(found) == {*places}
    if not in_order or not fits:
        return None
    shape = tuple(found[place].size or 1 if place in found else 1 for place in places)
    spans = _spans(found[place].span if place in found else WHOLE for place in places)
    return Grid(shape, tokens.before, extent.sizes, extent.channels, spans=spans)


def _spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    # Without what floats cannot hold of a share.
    known = tuple((round(start, SHARES), round(stop, SHARES)) for start, stop in spans)
    return known if set(known) != {WHOLE} else ()
