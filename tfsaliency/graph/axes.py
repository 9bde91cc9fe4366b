"""Where the axes of an input are in every tensor behind it: which axis of a layer comes from which of a picture.

Each axis of a traced tensor is a product of factors, the slowest first: tokens of a picture are its rows times its
columns. Factors are followed from the input, operation by operation. What is not in the tables below is not known,
and taken to leave places where they are, as an RNN does, but for what may put them anywhere.

A layer is taken to lie over all that the network reads of an axis, as everyone resizes activation maps. What is cropped
is not read, an axis may be read backwards, and padding lies around the input unless it makes up for the border that a
convolution cuts off.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import descendants
from tfsaliency.graph.bodies import operations_of
from tfsaliency.graph.lengths import Lengths, NotFromShapesError
from tfsaliency.graph.operations import (
    ALONG_AXES,
    AVERAGE_POOLS,
    COMPLEX,
    CONDITIONS,
    CONVOLUTIONS,
    MAX_POOLS,
    NUMBER_BY_NUMBER,
    PYTHON_CODE,
    REDUCTIONS,
    RESIZES,
    SHAPE_READERS,
    TRANSFORMS,
    TRANSFORMS_2D,
    TRANSPOSED_CONVOLUTIONS,
)
from tfsaliency.graph.replay import branches_of
from tfsaliency.tensors.places import WHOLE, Span

# What a factor is that is no axis of the input: another one that the network made, one that nothing is known of, places
# with entries around them that are none, or the same entry several times.
OTHER, UNKNOWN, TOKENS, REPEATED = -1, -2, -3, -4
# Numbers of rows that show which of several sizes of a reshape the batch has a part in.
BATCHES = (7, 11)


class Factor(NamedTuple):
    """A part of an axis.

    Attributes:
        axis: the axis of the input that it comes from, `OTHER`, `UNKNOWN`, `TOKENS` or `REPEATED`.
        size: how many entries it has; None for the batch.
        step: how many places of that axis lie between two of its own: more than one where an axis was cut in windows.
        whole: how many places that axis has.
        places: of `TOKENS`, the factors of the entries that are places.
        before: of `TOKENS`, how many entries in front are none: class, distillation and register tokens.
        span: what all places of that axis lie over.
        rolled: by how many places it was rolled.
    """

    axis: int
    size: int | None
    step: int = 1
    whole: int | None = None
    places: tuple["Factor", ...] = ()
    before: int = 0
    span: Span = WHOLE
    rolled: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it has all places of an axis in their order, and is not one window of it or one place in each."""
        return self.size is not None and self.size * self.step == self.whole and not self.rolled


# Factors, the slowest first; none for an axis of one entry.
Axis = tuple[Factor, ...]
Axes = tuple[Axis, ...]


class Tokens(NamedTuple):
    """An axis as places with entries around them that are none."""

    before: int
    places: Axis
    after: int


def tokens_of(axis: Axis) -> Tokens:
    """The places of an axis, and what is in front of them and behind."""
    if len(axis) == 1 and axis[0].axis == TOKENS:
        (around,) = axis
        return Tokens(around.before, around.places, (around.size or 0) - around.before - (size_of(around.places) or 0))
    return Tokens(0, axis, 0)


def size_of(axis: Axis) -> int | None:
    """How many entries an axis has, None where the batch is in it."""
    sizes = [each.size for each in axis if each.size is not None]
    return math.prod(sizes) if len(sizes) == len(axis) else None


def span_of(axis: Axis) -> Span:
    """What an axis covers of that of the input."""
    return next((each.span for each in axis if each.axis != UNKNOWN), WHOLE)


def _is_of_input(axis: Axis) -> bool:
    """Whether a part of it comes from an axis of the input, or may come from one."""
    return any(each.axis not in (OTHER, REPEATED) for each in axis)


def _surrounded(axis: Axis, before: int, after: int) -> Axis:
    """An axis with more entries around it, or fewer."""
    tokens = tokens_of(axis)
    before, after, size = before + tokens.before, after + tokens.after, size_of(tokens.places)
    if not before and not after:
        return tokens.places
    if size is None:
        raise _UnknownError
    return (Factor(TOKENS, before + size + after, places=tokens.places, before=before),)


class Entry(NamedTuple):
    """One entry of an axis of a tensor: what was taken out of it, and what is made of that alone.

    Attributes:
        whole: the tensor, as ``ref()``.
        place: of the axis.
        number: of the entry.
    """

    whole: Any
    place: int
    number: int


def _entries_of(op: tf.Operation, of_sources: list[Entry | None]) -> dict[Any, Entry]:
    """The entry that each result of an operation is made of, as ``ref()``; nothing where it is made of more."""
    if op.type == "Unpack":
        place = op.get_attr("axis") % op.inputs[0].shape.rank
        return {each.ref(): Entry(op.inputs[0].ref(), place, number) for number, each in enumerate(op.outputs)}
    if op.type == "StridedSlice" and op.get_attr("shrink_axis_mask") in (1, 2, 4, 8, 16):
        begins = tf.get_static_value(op.inputs[1])
        place = op.get_attr("shrink_axis_mask").bit_length() - 1
        if begins is not None and not op.get_attr("ellipsis_mask") and not op.get_attr("new_axis_mask"):
            return {op.outputs[0].ref(): Entry(op.inputs[0].ref(), place, int(begins[place]))}
    entry = of_sources[0] if len(set(of_sources)) == 1 else None
    return {each.ref(): entry for each in op.outputs} if entry is not None else {}


def _put_together(op: tf.Operation, axes: Axes, parts: list[Entry | None], found: dict[Any, Axes]) -> Axes:
    """The axes of a pack, where its parts are made of the entries of one axis, one by one: it is that axis again.

    So it is behind a ``TimeDistributed``, which calls its layer for each step of a series.
    """
    first = parts[0]
    if first is None or parts != [first._replace(number=number) for number in range(len(parts))]:
        return axes
    axis, place = found[first.whole][first.place], op.get_attr("axis") % len(axes)
    return (*axes[:place], axis, *axes[place + 1 :]) if size_of(axis) == len(parts) else axes


class _UnknownError(Exception):
    """The tables do not say what happens to the axes."""


def followed_axes(given: tf.Tensor, operations: Iterable[tf.Operation]) -> dict[Any, Axes]:
    """The axes of every tensor that depends on an input, as ``ref()``.

    Args:
        given: the traced input.
        operations: in the order of the trace.
    """
    found: dict[Any, Axes] = {given.ref(): tuple(_of(axis, size) for axis, size in enumerate(given.shape))}
    return _follow(found, [given], operations)


def _follow(found: dict[Any, Axes], given: list[tf.Tensor], operations: Iterable[tf.Operation]) -> dict[Any, Axes]:
    """Adds the axes of every tensor that depends on some of known axes."""
    entries: dict[Any, Entry] = {}
    turned: set[Any] = set()
    # A token that is repeated for each sample depends on their number alone.
    for op in descendants((op for op in operations if op.type not in SHAPE_READERS), given):
        sources = [found.get(source.ref()) for source in op.inputs]
        for result in op.outputs:
            if result.shape.rank is None:
                continue
            shape = _with_lengths(op, result.shape, found)
            try:
                axes = _followed(op, sources, shape, result.value_index)
            except _UnknownError:
                axes = None
            if axes is None or len(axes) != result.shape.rank:
                # Behind a loop that an RNN runs backwards nothing is where it was.
                if any(source.ref() in turned or _is_turned(found.get(source.ref(), ())) for source in op.inputs):
                    turned.add(result.ref())
                is_lost = op.type in _ANYWHERE or result.ref() in turned
                axes = tuple(_of(OTHER if is_lost else UNKNOWN, size) for size in shape)
            axes = tuple(map(_declared, axes, shape))
            if op.type == "Pack":
                axes = _put_together(op, axes, [entries.get(source.ref()) for source in op.inputs], found)
            found[result.ref()] = axes
        entries |= _entries_of(op, [entries.get(source.ref()) for source in op.inputs if source.ref() in found])
    return found


def _declared(axis: Axis, size: int | None) -> Axis:
    """An axis whose length may be declared again, behind operations that do not tell it."""
    if size is None or size_of(axis) is not None:
        return axis
    return _of(OTHER if {factor.axis for factor in axis} == {OTHER} else UNKNOWN, size)


def first_that_scatters(given: tf.Tensor, operations: Iterable[tf.Operation]) -> tf.Operation | None:
    """The first operation behind an input that may put its numbers anywhere."""
    return next((op for op in descendants(operations, [given]) if op.type in _ANYWHERE), None)


def _is_turned(axes: Axes) -> bool:
    return any(factor.span[0] > factor.span[1] for axis in axes for factor in axis)


def _followed(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape, number: int) -> Axes | None:
    """The axes of a result of an operation, of some number; None where there is no table for it."""
    if op.type in ("Split", "SplitV"):
        return _split(op, next(each for each in sources if each is not None), number)
    if op.type in CONDITIONS:
        return _branched(op, sources, number)
    return _FOLLOW[op.type](op, sources, shape) if op.type in _FOLLOW else None


def _branched(op: tf.Operation, sources: list[Axes | None], number: int) -> Axes:
    """Those of the branch that shapes say is taken, or that all branches agree on."""
    bodies = branches_of(op)
    try:
        place = int(_constant(op.inputs[0]))
        bodies = [bodies[place if 0 <= place < len(bodies) else -1]]
    except _UnknownError:
        pass
    results = []
    for body in bodies:
        given = [(each, axes) for each, axes in zip(body.inputs, sources[1:], strict=True) if axes is not None]
        inside = _follow({each.ref(): axes for each, axes in given}, [each for each, _ in given], operations_of(body))
        results.append(inside.get(body.outputs[number].ref()))
    known = [each for each in results if each is not None]
    if not known or len(set(map(len, known))) > 1:
        raise _UnknownError
    return tuple(
        axes[0] if len(set(axes)) == 1 or not any(map(_is_of_input, axes)) else _of(OTHER, size_of(axes[0]))
        for axes in zip(*known, strict=True)
    )


def _with_lengths(op: tf.Operation, shape: tf.TensorShape, found: dict[Any, Axes]) -> tf.TensorShape:
    """The shape of a reshape to several sizes that are computed, with those that are the same for any batch."""
    if op.type != "Reshape" or shape.as_list().count(None) < 2:
        return shape
    try:
        first, other = (_reshaped_to(op, found, rows) for rows in BATCHES)
    except (NotFromShapesError, _UnknownError):
        return shape
    return tf.TensorShape([a if a == b else None for a, b in zip(first, other, strict=True)])


def _reshaped_to(op: tf.Operation, found: dict[Any, Axes], rows: int) -> list[int]:
    """The shape that a reshape makes for a number of rows of the inputs."""

    def shape_of(tensor: tf.Tensor) -> list[int]:
        if tensor.shape.is_fully_defined():
            return list(tensor.shape)
        axes = found.get(tensor.ref(), ((Factor(UNKNOWN, None),),))
        return [math.prod(_length(factor, rows) for factor in axis) for axis in axes]

    sizes: list[int] = Lengths(shape_of)[op.inputs[1]].tolist()
    whole = math.prod(shape_of(op.inputs[0]))
    return [whole // -math.prod(sizes) if size == -1 else size for size in sizes]


def _length(factor: Factor, rows: int) -> int:
    if factor.size is None and factor.axis != 0:
        raise _UnknownError
    return rows if factor.size is None else factor.size


def _of(axis: int, size: int | None, span: Span = WHOLE) -> Axis:
    return () if size == 1 else (Factor(axis, size, whole=size, span=span),)


def _first(sources: list[Axes | None]) -> Axes:
    if sources[0] is None:
        raise _UnknownError
    return sources[0]


def _length_of(source: tf.Tensor, axes: Axes | None, place: int) -> int | None:
    """How many entries an axis has: TensorFlow does not know the size of every reshape."""
    known: int | None = source.shape[place]
    return size_of(axes[place]) if known is None and axes is not None else known


def _constant(tensor: tf.Tensor) -> Any:
    value = tf.get_static_value(tensor)
    return _from_shapes(tensor) if value is None else value


def _from_shapes(tensor: tf.Tensor) -> np.ndarray:
    """Numbers that are the same for any batch, such as the corners of a crop in the middle."""
    try:
        first, other = (Lengths(functools.partial(_sizes, rows=rows))[tensor] for rows in BATCHES)
    except NotFromShapesError:
        raise _UnknownError from None
    if not np.array_equal(first, other):
        raise _UnknownError
    return first


def _sizes(tensor: tf.Tensor, rows: int) -> list[int]:
    if tensor.shape.rank is None:
        raise NotFromShapesError
    return [rows if size is None else size for size in tensor.shape]


# --- how each kind of operation moves axes ---


def _kept(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    return _first(sources)


def _agreed(axes: list[Axis], size: int | None) -> Axis:
    """The axis that several operands have in common: what comes from the input counts before what does not."""
    wide = [each for each in axes if each]
    of_input = list(dict.fromkeys(each for each in wide if _is_of_input(each)))
    if len({_laid(each, WHOLE) for each in of_input}) > 1:
        return _of(UNKNOWN, size)
    if len(of_input) > 1:
        return _around(of_input, size)
    return of_input[0] if of_input else (wide[0] if wide else _of(OTHER, size))


def _laid(axis: Axis, span: Span) -> Axis:
    """An axis that lies over another part of that of the input."""
    return tuple(factor._replace(span=span) for factor in axis)


def _around(axes: list[Axis], size: int | None) -> Axis:
    """An axis over all that some cover, as windows of a series do that are shifted; none where they share nothing."""
    spans = [span_of(axis) for axis in axes]
    if len({start < stop for start, stop in spans}) > 1 or max(map(min, spans)) >= min(map(max, spans)):
        return _of(OTHER, size)
    # What a convolution cuts off at its border is counted as seen: no more than the whole is.
    whole = next((each for each in spans if each in (WHOLE, WHOLE[::-1])), None)
    low, high = min(map(min, spans)), max(map(max, spans))
    return _laid(axes[0], whole or ((low, high) if spans[0][0] < spans[0][1] else (high, low)))


def _number_by_number(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """Shapes are aligned at their ends."""
    rank = len(shape)
    padded = [((),) * (rank - len(each)) + each for each in sources if each is not None]
    sizes = [1 if _is_narrow(op, sources, place - rank) else size for place, size in enumerate(shape)]
    return tuple(_agreed([each[place] for each in padded], size) for place, size in enumerate(sizes))


def _is_narrow(op: tf.Operation, sources: list[Axes | None], place: int) -> bool:
    """Whether no operand has more than one entry along an axis, which is counted from the end."""
    pairs = zip(op.inputs, sources, strict=True)
    reaching = [(each, axes) for each, axes in pairs if each.shape.rank is None or each.shape.rank >= -place]
    return all(each.shape.rank is not None and _length_of(each, axes, place) == 1 for each, axes in reaching)


def _moved(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """Axes of space stay what they are, with another number of places; the last one is made anew."""
    axes = _trimmed(op, next(each for each in sources if each is not None))
    places = zip(axes[:-1], shape[:-1], strict=True)
    return (*(_resized(axis, size) for axis, size in places), _of(OTHER, shape[-1]))


def _pooled(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    return tuple(_resized(axis, size) for axis, size in zip(_trimmed(op, _first(sources)), shape, strict=True))


def _trimmed(op: tf.Operation, axes: Axes) -> Axes:
    """Axes without the padding that a window cuts off at their borders, or with what one adds there."""
    axes, windows = tuple(map(_as_padded, axes)), _windows(op)
    is_known = windows and not op.get_attr("data_format").startswith(b"NC")
    if not is_known or op.get_attr("padding") != b"VALID":
        return axes
    if op.type not in TRANSPOSED_CONVOLUTIONS:
        return tuple(_without_border(axis, width - 1) for axis, width in zip(axes, windows, strict=True))
    # What a window is wider than a step lies around the places, half of it at each end.
    around = [(width / step - 1) / 2 for width, step in zip(windows, op.get_attr("strides"), strict=True)]
    sizes = map(size_of, axes)
    return tuple(
        _cut_to(axis, -each, (size or 0) + each, size) for axis, each, size in zip(axes, around, sizes, strict=True)
    )


def _as_padded(axis: Axis) -> Axis:
    """An axis with entries around its places that are none, as one of more places: they are padding to a window."""
    tokens = tokens_of(axis)
    size = size_of(tokens.places)
    if axis == tokens.places or len(tokens.places) != 1 or size is None:
        return axis
    return _cut_to(tokens.places, -tokens.before, size + tokens.after, size_of(axis))


def _windows(op: tf.Operation) -> list[int]:
    """How many entries of each axis a convolution or pooling reads for a number; empty where that is not known."""
    if op.type in (*AVERAGE_POOLS, *MAX_POOLS):
        return list(op.get_attr("ksize"))
    if op.type not in (*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS) or None in op.inputs[1].shape[:-2]:
        return []
    kernel = [1, *op.inputs[1].shape[:-2], 1]
    return [(width - 1) * apart + 1 for width, apart in zip(kernel, op.get_attr("dilations"), strict=True)]


def _without_border(axis: Axis, width: int) -> Axis:
    """An axis without so many entries in all, as far as they lie outside of the input at either end."""
    size = size_of(axis)
    if size is None or span_of(axis) == WHOLE:
        return axis
    low, high = sorted(span_of(axis))
    of_one = (high - low) / size
    before, after = max(-low, 0.0), max(high - 1, 0.0)
    # Where there is more at both ends than is cut off, half of it is cut off at each.
    first = min(before, max(width / 2 * of_one, width * of_one - after))
    last = min(after, width * of_one - first)
    # Without rounding where nothing is left outside.
    kept = (0.0 if first == before > 0 else low + first, 1.0 if last == after > 0 else high - last)
    return _laid(axis, kept if span_of(axis)[0] < span_of(axis)[1] else (kept[1], kept[0]))


def _resized(axis: Axis, size: int | None) -> Axis:
    if size_of(axis) == size:
        return axis
    if len(axis) == 1 and axis[0].is_whole:
        return _of(axis[0].axis, size, axis[0].span)
    return _renewed(axis, size)


def _cut_to(axis: Axis, first: float, last: float, size: int | None) -> Axis:
    """An axis of the entries from one to another, which may lie outside; backwards where the last one comes first."""
    whole = size_of(axis)
    if not whole or len(axis) != 1 or axis[0].axis < 0 or not axis[0].is_whole:
        # Tokens in another order are no places.
        return _of(OTHER, size) if last < first and _is_of_input(axis) else _resized(axis, size)
    start, stop = axis[0].span
    of_one = (stop - start) / whole
    return _of(axis[0].axis, size, (start + first * of_one, start + last * of_one))


def _into_batches(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """Each of the places that are so many apart in a batch of its own, with padding around all."""
    axes = list(_first(sources))
    for place, (before, after) in enumerate(_constant(op.inputs[2]).tolist(), start=1):
        axes[place] = _cut_to(axes[place], -before, (size_of(axes[place]) or 0) + after, shape[place])
    return tuple(axes)


def _out_of_batches(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """Back between each other, without those that are cropped."""
    axes = list(_first(sources))
    pairs = zip(_constant(op.inputs[1]).tolist(), _constant(op.inputs[2]).tolist(), strict=True)
    for place, (apart, (first, last)) in enumerate(pairs, start=1):
        whole = apart * (size_of(axes[place]) or 0)
        axes[place] = _cut_to(_resized(axes[place], whole or None), first, whole - last, shape[place])
    return tuple(axes)


def _renewed(axis: Axis, size: int | None) -> Axis:
    """An axis of other entries, of which nothing is known if they may be places of the input."""
    is_moved = any(each.rolled for each in axis)
    return _of(UNKNOWN if _is_of_input(axis) and not is_moved else OTHER, size)


def _reduced(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    axes = _first(sources)
    gone = {int(axis) % len(axes) for axis in np.ravel(_constant(op.inputs[1]))}
    if len(shape) == len(axes):
        return tuple(() if place in gone else axis for place, axis in enumerate(axes))
    return tuple(axis for place, axis in enumerate(axes) if place not in gone)


def _transposed(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    axes = _first(sources)
    return tuple(axes[place] for place in _constant(op.inputs[1]))


def _expanded(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    axes, place = list(_first(sources)), int(_constant(op.inputs[1])) % len(shape)
    return (*axes[:place], (), *axes[place:])


def _squeezed(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    axes = _first(sources)
    gone = {axis % len(axes) for axis in op.get_attr("squeeze_dims")}
    return tuple(axis for place, axis in enumerate(axes) if (place not in gone if gone else axis))


def _reshaped(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """Factors are dealt out to the new axes, from both ends towards the one of unknown size."""
    axes, sizes = _first(sources), list(shape)
    if sizes.count(None) > 1:
        raise _UnknownError
    left = [factor for axis in axes for factor in axis]
    split = sizes.index(None) if None in sizes else len(sizes)
    front: list[Axis] = []
    back: list[Axis] = []
    for size in sizes[:split]:
        taken, left = _dealt(left, size)
        front.append(_merged(taken))
    turned: list[Any] = [_Turned(each) for each in reversed(left)]
    for size in reversed(sizes[split + 1 :]):
        taken, turned = _dealt(turned, size)
        back.insert(0, _merged([each.factor for each in reversed(taken)]))
    middle = [_merged([each.factor for each in reversed(turned)])] if split < len(sizes) else []
    if turned and not middle:
        raise _UnknownError
    return (*front, *middle, *back)


class _Turned(NamedTuple):
    """A factor that is dealt out from its end."""

    factor: Factor

    @property
    def size(self) -> int | None:
        return self.factor.size


def _dealt(factors: list[Any], size: int) -> tuple[list[Any], list[Any]]:
    """The first factors, whose product is a size, and the rest; one of them may be cut in two."""
    taken, left, open_ = [], list(factors), size
    while open_ > 1:
        if not left or left[0].size is None:
            raise _UnknownError
        first = left.pop(0)
        if open_ % first.size == 0:
            taken.append(first)
            open_ //= first.size
            continue
        if first.size % open_ or _factor(first).axis == TOKENS:
            raise _UnknownError
        part, rest = _cut(first, open_)
        taken.append(part)
        left.insert(0, rest)
        open_ = 1
    return taken, left


def _factor(each: Any) -> Factor:
    return each.factor if isinstance(each, _Turned) else each


def _cut(first: Any, size: int) -> tuple[Any, Any]:
    """A factor in two: the part of that size which is dealt out first, and the other."""
    if isinstance(first, _Turned):
        factor = first.factor
        inner = factor._replace(size=size)
        return _Turned(inner), _Turned(factor._replace(size=factor.size // size, step=factor.step * size))  # type: ignore[operator]
    rest = first.size // size
    return first._replace(size=size, step=first.step * rest), first._replace(size=rest)


def _merged(factors: Iterable[Factor]) -> Axis:
    """Neighbours that are one factor, such as the windows of an axis and the places in each, are put together."""
    merged: list[Factor] = []
    for factor in factors:
        joint = _joint(merged[-1], factor) if merged else None
        if joint is None:
            merged.append(factor)
        else:
            merged[-1] = joint
    return tuple(merged)


def _joint(slow: Factor, fast: Factor) -> Factor | None:
    """Two neighbours as one factor; None where they are two."""
    if not slow.size or not fast.size or TOKENS in (slow.axis, fast.axis):
        return None
    size = slow.size * fast.size
    if fast.axis == REPEATED and slow.axis >= 0 and slow.step == 1 and slow.is_whole:
        # Each place several times in a row: more places of the same axis.
        return slow._replace(size=size, whole=size)
    are_neighbours = slow.whole == fast.whole and slow.step == fast.step * fast.size
    return fast._replace(size=size) if slow.axis == fast.axis and (fast.axis < 0 or are_neighbours) else None


def _joined(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """Along one axis: tokens of no place in front and at the end of those of the input."""
    *parts, _ = sources
    axis = int(_constant(op.inputs[-1])) % len(shape)
    known = [each for each in parts if each is not None]
    result = [_agreed([each[place] for each in known], size) for place, size in enumerate(shape)]
    of_input = [place for place, each in enumerate(parts) if each is not None and _is_of_input(each[axis])]
    sizes = [_length_of(source, each, axis) for each, source in zip(parts, op.inputs, strict=False)]
    known_sizes = [size for size in sizes if size is not None]
    if len(of_input) == 1 and len(known_sizes) == len(sizes):
        (place,) = of_input
        before, after = sum(known_sizes[:place]), sum(known_sizes[place + 1 :])
        result[axis] = _surrounded(_first([parts[place]])[axis], before, after)
    else:
        result[axis] = _of(UNKNOWN if of_input and shape[axis] is None else OTHER, shape[axis])
    return tuple(result)


def _sliced(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    axes = _first(sources)
    begins, ends, strides = (_constant(each).tolist() for each in op.inputs[1:])
    masks = {name: op.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    new = sum(masks["new_axis"] >> entry & 1 for entry in range(len(begins)))
    result: list[Axis] = []
    place = 0
    for entry, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        marked = {name for name, mask in masks.items() if mask >> entry & 1}
        if "ellipsis" in marked:
            count = len(axes) - (len(begins) - 1 - new)
            result += axes[place : place + count]
            place += count
        elif "new_axis" in marked:
            result.append(())
        else:
            axis = axes[place]
            length = _length_of(op.inputs[0], axes, place)
            place += 1
            if "shrink_axis" in marked:
                continue
            if {"begin", "end"} <= marked and stride == 1:
                result.append(axis)
                continue
            if length is None:
                raise _UnknownError
            bounds = slice(None if "begin" in marked else begin, None if "end" in marked else end, stride)
            result.append(_cropped(axis, range(length)[bounds], length))
    return (*result, *axes[place:])


def _cropped(axis: Axis, taken: range, length: int) -> Axis:
    tokens, rest = tokens_of(axis), length - taken.stop
    if not taken:
        raise _UnknownError
    if taken.step == 1 and taken.start <= tokens.before and rest <= tokens.after:
        return _surrounded(axis, -taken.start, -rest)
    if max(taken) < tokens.before or min(taken) >= length - tokens.after:
        return _of(OTHER, len(taken))
    return _taken(axis, taken)


def _taken(axis: Axis, taken: range) -> Axis:
    """An axis of some of its entries, in steps, forwards or backwards."""
    # Each entry lies in the middle of those that are left out around it.
    first = taken.start + (1 - taken.step) / 2
    return _cut_to(axis, first, first + len(taken) * taken.step, len(taken))


def _part(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """``tf.slice``."""
    axes, begins = _first(sources), _constant(op.inputs[1]).tolist()
    return tuple(
        axis if length == size else _cropped(axis, range(begin, begin + size), length)
        for axis, begin, size, length in zip(axes, begins, shape, op.inputs[0].shape, strict=True)
    )


def _padded(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    pads = _constant(op.inputs[1]).tolist()
    return tuple(
        _surrounded(axis, before, after) if len(axis) > 1 else _cut_to(axis, -before, (size or 0) - before, size)
        for axis, (before, after), size in zip(_first(sources), pads, shape, strict=True)
    )


def _reversed(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    axes = _first(sources)
    turned = {int(axis) % len(axes) for axis in _constant(op.inputs[1])}
    return tuple(
        _cut_to(axis, size_of(axis) or 0, 0, size_of(axis)) if place in turned else axis
        for place, axis in enumerate(axes)
    )


def _rolled(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """Places that are moved around have an order of their own, until they are moved back."""
    axes = list(_first(sources))
    for place, shift in zip(np.ravel(_constant(op.inputs[2])), np.ravel(_constant(op.inputs[1])), strict=True):
        axis = axes[place]
        if len(axis) == 1 and axis[0].size:
            moved = (axis[0].rolled + int(shift)) % axis[0].size
            axes[place] = (axis[0]._replace(rolled=moved),)
    return tuple(axes)


def _split(op: tf.Operation, axes: Axes, number: int) -> Axes:
    axis = int(_constant(op.inputs[0 if op.type == "Split" else 2])) % len(axes)
    sizes = [result.shape[axis] for result in op.outputs]
    if None in sizes:
        raise _UnknownError
    first = sum(sizes[:number])
    part = _cropped(axes[axis], range(first, first + sizes[number]), sum(sizes))
    return (*axes[:axis], part, *axes[axis + 1 :])


def _gathered(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    values, indices, _ = sources
    axis, of_rows = int(_constant(op.inputs[2])) % op.inputs[0].shape.rank, op.get_attr("batch_dims")
    if values is None and indices is not None and not of_rows:
        around = [_of(OTHER, size) for size in op.inputs[0].shape]
        return (*around[:axis], *indices, *around[axis + 1 :])
    if values is None:
        raise _UnknownError
    chosen = _chosen(values[axis], op.inputs[1]) if op.inputs[1].shape.rank == 1 else None
    # Others are in an order of their own.
    found = [_of(OTHER, size) for size in op.inputs[1].shape[of_rows:]] if chosen is None else [chosen]
    return (*values[:axis], *found, *values[axis + 1 :])


def _chosen(axis: Axis, indices: tf.Tensor) -> Axis | None:
    """An axis of the entries at some indices; None where they are not known, or in no order."""
    try:
        taken = _constant(indices).tolist()
    except _UnknownError:
        return None
    steps = {after - before for before, after in itertools.pairwise(taken)}
    if len(steps) == 1 and 0 not in steps:
        (step,) = steps
        return _taken(axis, range(taken[0], taken[0] + step * len(taken), step))
    return _cut_to(axis, taken[0], taken[-1] + 1, len(taken)) if steps and min(steps) >= 0 else None


def _ends_made_anew(number: int) -> Callable[[tf.Operation, list[Axes | None], tf.TensorShape], Axes]:
    """The last axes are other ones: made of all numbers along them, or in an order that the numbers say."""

    def follow(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
        return (*_first(sources)[:-number], *(_of(OTHER, size) for size in shape[-number:]))

    return follow


def _constants(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """Zeros or ones, as many as a source has numbers: they are nowhere in the input."""
    axes = _first(sources)
    return (*axes[:1], *(_of(OTHER, size_of(axis)) for axis in axes[1:]))


def _looked_up(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    """``tf.gather_nd``: indices say which numbers are where."""
    return tuple(_of(OTHER, size) for size in shape)


def _matrix_product(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    flips = [
        op.get_attr(name) for name in (("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y"))
    ]
    rank = len(shape)
    leading = [((),) * (rank - len(each)) + each[:-2] for each in sources if each is not None]
    kept = [_agreed([each[place] for each in leading], size) for place, size in enumerate(shape[:-2])]
    for number, (source, flip) in enumerate(zip(sources, flips, strict=True)):
        # The rows of the first factor and the columns of the second are left.
        kept.append(_of(OTHER, shape[rank - 2 + number]) if source is None else source[-1 if flip != number else -2])
    return tuple(kept)


def _einsum(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    left, result = op.get_attr("equation").decode().replace(" ", "").split("->")
    if "." in left:
        raise _UnknownError
    pairs = [(subscript, axes) for subscript, axes in zip(left.split(","), sources, strict=True) if axes is not None]
    return tuple(
        _agreed([axes[subscript.index(label)] for subscript, axes in pairs if label in subscript], size)
        for label, size in zip(result, shape, strict=True)
    )


def _packed(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    axis = op.get_attr("axis") % len(shape)
    known = [each for each in sources if each is not None]
    inner = [_agreed([each[place] for each in known], None) for place in range(len(shape) - 1)]
    return (*inner[:axis], _of(OTHER, shape[axis]), *inner[axis:])


def _unpacked(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    axes = _first(sources)
    axis = op.get_attr("axis") % len(axes)
    return (*axes[:axis], *axes[axis + 1 :])


def _repeated(op: tf.Operation, sources: list[Axes | None], shape: tf.TensorShape) -> Axes:
    axes = ((),) * (len(shape) - len(_first(sources))) + _first(sources)
    return tuple(
        axis if size_of(axis) == size else _of(OTHER if axis else REPEATED, size)
        for axis, size in zip(axes, shape, strict=True)
    )


_FOLLOW: dict[str, Callable[[tf.Operation, list[Axes | None], tf.TensorShape], Axes]] = {
    **dict.fromkeys((*NUMBER_BY_NUMBER, *COMPLEX), _number_by_number),
    **dict.fromkeys((*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS, "ExtractImagePatches"), _moved),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _moved),
    **dict.fromkeys((*AVERAGE_POOLS, *MAX_POOLS, *RESIZES, "ScaleAndTranslate"), _pooled),
    **dict.fromkeys(REDUCTIONS, _reduced),
    **dict.fromkeys(("MatMul", "BatchMatMulV2", "BatchMatMulV3"), _matrix_product),
    **dict.fromkeys(("ZerosLike", "OnesLike"), _constants),
    **dict.fromkeys(ALONG_AXES, _kept),
    **dict.fromkeys(TRANSFORMS, _ends_made_anew(1)),
    **dict.fromkeys(TRANSFORMS_2D, _ends_made_anew(2)),
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), _padded),
    **dict.fromkeys(("Tile", "BroadcastTo"), _repeated),
    "BatchToSpaceND": _out_of_batches,
    "ConcatV2": _joined,
    "Einsum": _einsum,
    "ExpandDims": _expanded,
    "FusedBatchNormV3": _kept,
    "GatherNd": _looked_up,
    "GatherV2": _gathered,
    "Pack": _packed,
    "Reshape": _reshaped,
    "ReverseV2": _reversed,
    "Roll": _rolled,
    "Slice": _part,
    "SpaceToBatchND": _into_batches,
    "Squeeze": _squeezed,
    "StridedSlice": _sliced,
    "TopKV2": _ends_made_anew(1),
    "Transpose": _transposed,
    "Unpack": _unpacked,
}
# Put numbers where their own numbers or code say.
_ANYWHERE = (
    *CONDITIONS,
    *PYTHON_CODE,
    "CropAndResize",
    "ImageProjectiveTransformV2",
    "ImageProjectiveTransformV3",
    "ReverseSequence",
)
