"""Whether the rows of a batch stay apart, as far as a trace shows it.

The axis of the batch is followed from the inputs to the outputs, operation by operation. What is not in the tables
below is not judged here: running a row alone and among others decides then.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.operations import (
    AVERAGE_POOLS,
    CONVOLUTIONS,
    ELEMENTWISE,
    FILLS,
    HASHES,
    JOINS_AND_PARTS,
    MAX_POOLS,
    NUMBER_BY_NUMBER,
    REDUCTIONS,
    REORDERS,
    RESIZES,
    SHAPE_READERS,
    TRANSPOSED_CONVOLUTIONS,
)


class Batch(NamedTuple):
    """Where the rows of the batch are in a tensor.

    Attributes:
        axis: the axis of the batch.
        share: how many entries of that axis belong to each row, one after the other.
    """

    axis: int = 0
    share: int = 1


class Meeting(NamedTuple):
    """An operation at which the rows of a batch meet, or may meet.

    Attributes:
        operation: the operation.
        certain: whether the trace proves it: a sum, mean or maximum over all axes, or over the axis of the batch
            which is known from the inputs on.
    """

    operation: tf.Operation
    certain: bool


# The batch is nowhere: the tensor does not depend on the inputs. Its size may depend on how many rows there are.
_APART, _SIZE = "apart", "size"
Place = Batch | str


class _MetError(Exception):
    """The rows meet for certain."""


class _AllMetError(_MetError):
    """The rows meet wherever they are: all numbers become one."""


class _UnknownError(Exception):
    """The tables do not say what happens to the rows."""


class _LongerError(_UnknownError):
    """The axis of the batch holds more than the rows."""


def meetings(inputs: list[tf.Tensor], outputs: list[tf.Tensor]) -> list[Meeting]:
    """The operations between traced inputs and outputs at which rows meet or may meet, in the order of the trace.

    Behind such an operation the batch is looked for in the first axis again, to find the next one.
    """
    places: dict[Any, Place] = {each.ref(): Batch() for each in inputs}
    found: list[Meeting] = []
    guessed: set[Any] = set()
    for op in ancestors(*outputs, known=inputs):
        sources = [places.get(source.ref(), _APART) for source in op.inputs]
        is_guess = any(source.ref() in guessed for source in op.inputs)
        try:
            results = _results(op, sources)
        except (_MetError, _UnknownError) as error:
            # The largest of some integers may be no more than how long a tensor has to be.
            is_sum = isinstance(error, _MetError) and op.outputs[0].dtype.is_floating
            is_known = not is_guess or isinstance(error, _AllMetError)
            found.append(Meeting(op, is_sum and is_known))
            results = [Batch() if each.shape.rank != 0 else _APART for each in op.outputs]
            is_guess = True
        guessed |= {output.ref() for output in op.outputs} if is_guess else set()
        places |= {output.ref(): place for output, place in zip(op.outputs, results, strict=True)}
    apart = [places.get(each.ref(), _APART) in (_APART, Batch()) for each in outputs]
    return found + [Meeting(output.op, False) for output, is_apart in zip(outputs, apart, strict=True) if not is_apart]


def begins_with_rows(tensor: tf.Tensor, part: tf.Tensor) -> bool | None:
    """Whether the first axis of a tensor is the batch, with one entry for each row of a part of the inputs.

    None where the tables do not say it.
    """
    places: dict[Any, Place] = {part.ref(): Batch()}
    for op in ancestors(tensor, known=[part]):
        try:
            results = _results(op, [places.get(source.ref(), _APART) for source in op.inputs])
        except _LongerError:
            return False
        except (_MetError, _UnknownError):
            return None
        places |= {output.ref(): place for output, place in zip(op.outputs, results, strict=True)}
    return places[tensor.ref()] == Batch()


def _results(op: tf.Operation, places: list[Place]) -> list[Place]:
    if all(place == _APART for place in places):
        return [_APART] * len(op.outputs)
    if op.type in SHAPE_READERS:
        return [_SIZE] * len(op.outputs)
    if not any(isinstance(place, Batch) for place in places):
        # Numbers computed from shapes alone, and constants of such a shape.
        if op.type in FILLS:
            return [_APART] * len(op.outputs)
        if op.type in (*ELEMENTWISE, *REORDERS, *JOINS_AND_PARTS):
            return [_SIZE] * len(op.outputs)
        raise _UnknownError
    follow = _FOLLOW.get(op.type)
    if follow is None:
        raise _UnknownError
    place = follow(op, places)
    return [place] * len(op.outputs)


# --- how each kind of operation moves the axis of the batch ---


def _one(places: list[Place]) -> Batch:
    """The place of the first source, where no other depends on the inputs."""
    first, *others = places
    if not isinstance(first, Batch) or any(place != _APART for place in others):
        raise _UnknownError
    return first


def _leading(op: tf.Operation, places: list[Place]) -> Batch:
    """The batch comes first, and each row is treated alone."""
    place = _one(places)
    if place.axis:
        raise _UnknownError
    return place


def _number_by_number(op: tf.Operation, places: list[Place]) -> Batch:
    """Shapes are aligned at their ends."""
    rank = op.outputs[0].shape.rank
    found = set()
    for source, place in zip(op.inputs, places, strict=True):
        if place == _SIZE or rank is None or source.shape.rank is None:
            raise _UnknownError
        if isinstance(place, Batch):
            found.add(place._replace(axis=place.axis + rank - source.shape.rank))
    if len(found) != 1:
        raise _UnknownError
    return found.pop()


def _constant(tensor: tf.Tensor) -> Any:
    value = tf.get_static_value(tensor)
    if value is None:
        raise _UnknownError
    return value


def _positive(axis: int, rank: int | None) -> int:
    if rank is None:
        raise _UnknownError
    return int(axis) % rank


def _reduced(op: tf.Operation, places: list[Place]) -> Batch:
    place, rank = _one(places), op.inputs[0].shape.rank
    axes = {_positive(axis, rank) for axis in np.ravel(_constant(op.inputs[1]))}
    if place.axis in axes:
        raise _AllMetError if len(axes) == rank else _MetError
    keeps = "keep_dims" in op.node_def.attr and op.get_attr("keep_dims")
    return place if keeps else place._replace(axis=place.axis - sum(axis < place.axis for axis in axes))


def _not_along(axis_of: Callable[[tf.Operation], int]) -> Callable[[tf.Operation, list[Place]], Batch]:
    """Reads numbers along one axis: they meet if that is the axis of the batch."""

    def follow(op: tf.Operation, places: list[Place]) -> Batch:
        place = _one(places)
        if place.axis == _positive(axis_of(op), op.inputs[0].shape.rank):
            raise _MetError
        return place

    return follow


def _transposed(op: tf.Operation, places: list[Place]) -> Batch:
    place = _one(places)
    return place._replace(axis=_constant(op.inputs[1]).tolist().index(place.axis))


def _reshaped(op: tf.Operation, places: list[Place]) -> Batch:
    """A batch that comes first stays first; each row then has one or more entries of the new first axis."""
    place, shape = places[0], op.outputs[0].shape
    if not isinstance(place, Batch) or isinstance(places[1], Batch) or place.axis or not shape.rank:
        raise _UnknownError
    if shape[0] is not None:
        raise _UnknownError
    before, after = (_inner_size(each.shape) for each in (op.inputs[0], op.outputs[0]))
    if place.share * before % after:
        raise _UnknownError
    return Batch(0, place.share * before // after)


def _inner_size(shape: tf.TensorShape) -> int:
    size = shape[1:].num_elements() if shape.rank else None
    if not size:
        raise _UnknownError
    return int(size)


def _expanded(op: tf.Operation, places: list[Place]) -> Batch:
    place, axis = _one(places), _positive(_constant(op.inputs[1]), op.outputs[0].shape.rank)
    return place._replace(axis=place.axis + (axis <= place.axis))


def _squeezed(op: tf.Operation, places: list[Place]) -> Batch:
    place, rank = _one(places), op.inputs[0].shape.rank
    axes = [_positive(axis, rank) for axis in op.get_attr("squeeze_dims")]
    if not axes or place.axis in axes:
        raise _UnknownError
    return place._replace(axis=place.axis - sum(axis < place.axis for axis in axes))


def _joined(op: tf.Operation, places: list[Place]) -> Batch:
    """Concatenated along another axis than that of the batch."""
    *parts, _ = places
    found = {place for place in parts if isinstance(place, Batch)}
    if len(found) != 1 or _SIZE in parts:
        raise _UnknownError
    place = found.pop()
    if place.axis == _positive(_constant(op.inputs[-1]), op.outputs[0].shape.rank):
        raise _LongerError
    return place


def _packed(op: tf.Operation, places: list[Place]) -> Batch:
    found = {place for place in places if isinstance(place, Batch)}
    if len(found) != 1 or _SIZE in places:
        raise _UnknownError
    place = found.pop()
    return place._replace(axis=place.axis + (_positive(op.get_attr("axis"), op.outputs[0].shape.rank) <= place.axis))


def _unpacked(op: tf.Operation, places: list[Place]) -> Batch:
    place, axis = _one(places), _positive(op.get_attr("axis"), op.inputs[0].shape.rank)
    if axis == place.axis:
        raise _UnknownError
    return place._replace(axis=place.axis - (axis < place.axis))


def _split(op: tf.Operation, places: list[Place]) -> Batch:
    at = 0 if op.type == "Split" else 2
    place, value = places[1 - at // 2], op.inputs[1 - at // 2]
    if not isinstance(place, Batch) or place.axis == _positive(_constant(op.inputs[at]), value.shape.rank):
        raise _UnknownError
    return place


def _untouched(changes: Callable[[tf.Operation, int], bool]) -> Callable[[tf.Operation, list[Place]], Batch]:
    """Moves numbers along some axes, of which the batch is none."""

    def follow(op: tf.Operation, places: list[Place]) -> Batch:
        place = _one(places)
        if changes(op, place.axis):
            raise _UnknownError
        return place

    return follow


def _sliced(op: tf.Operation, places: list[Place]) -> Batch:
    """``x[:, a:b, ..., None]``, with the whole axis of the batch."""
    place, rank = _one(places), op.inputs[0].shape.rank
    begin, _, stride = (_constant(each).tolist() for each in op.inputs[1:])
    if rank is None:
        raise _UnknownError
    result = source = 0
    for kind, entry in _entries(op, len(begin), rank):
        if kind != "new_axis" and source == place.axis:
            if kind == "part" and not (
                _marked(op, "begin", entry) and _marked(op, "end", entry) and stride[entry] == 1
            ):
                raise _UnknownError
            if kind == "shrink_axis":
                raise _UnknownError
            return place._replace(axis=result)
        source += kind != "new_axis"
        result += kind != "shrink_axis"
    return place._replace(axis=result + place.axis - source)


def _entries(op: tf.Operation, given: int, rank: int) -> Iterator[tuple[str, int]]:
    """The entries of a slice, ``(kind, number)``, with as many whole axes in place of an ellipsis as it stands for."""
    new = sum(_marked(op, "new_axis", entry) for entry in range(given))
    for entry in range(given):
        if _marked(op, "ellipsis", entry):
            yield from [("whole", entry)] * (rank - (given - 1 - new))
        else:
            kinds = [kind for kind in ("new_axis", "shrink_axis") if _marked(op, kind, entry)]
            yield (*kinds, "part")[0], entry


def _marked(op: tf.Operation, mask: str, entry: int) -> bool:
    return bool(op.get_attr(f"{mask}_mask") >> entry & 1)


def _gathered(op: tf.Operation, places: list[Place]) -> Batch:
    values, indices, _ = places
    batch_dims = op.get_attr("batch_dims")
    axis = _positive(_constant(op.inputs[2]), op.inputs[0].shape.rank)
    if isinstance(values, Batch) and isinstance(indices, Batch):
        if values == indices and values.axis < batch_dims:
            return values
        raise _UnknownError
    if isinstance(indices, Batch):
        return indices._replace(axis=indices.axis + axis - batch_dims)
    assert isinstance(values, Batch)
    if values.axis == axis or batch_dims:
        raise _UnknownError
    if values.axis < axis:
        return values
    return values._replace(axis=values.axis - 1 + (op.inputs[1].shape.rank or 0))


def _matrix_product(op: tf.Operation, places: list[Place]) -> Batch:
    """``a @ b``: rows meet where the axis of the batch is summed over."""
    flips = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
    rank = op.outputs[0].shape.rank
    found = set()
    for number, (source, place) in enumerate(zip(op.inputs, places, strict=True)):
        if place == _SIZE or rank is None or source.shape.rank is None:
            raise _UnknownError
        if not isinstance(place, Batch):
            continue
        from_end = place.axis - source.shape.rank
        if from_end < -2:
            found.add(place._replace(axis=rank + from_end))
            continue
        kept = -2 if (number == 0) != op.get_attr(flips[number]) else -1
        if from_end != kept:
            raise _MetError
        if all(isinstance(each, Batch) for each in places):
            raise _UnknownError
        found.add(place._replace(axis=rank - 2 + number))
    if len(found) != 1:
        raise _UnknownError
    return found.pop()


def _einsum(op: tf.Operation, places: list[Place]) -> Batch:
    left, result = op.get_attr("equation").decode().replace(" ", "").split("->")
    if "." in left:
        raise _UnknownError
    labels = {
        (subscript[place.axis], place.share)
        for subscript, place in zip(left.split(","), places, strict=True)
        if isinstance(place, Batch)
    }
    if len(labels) != 1 or _SIZE in places:
        raise _UnknownError
    ((label, share),) = labels
    if label not in result:
        raise _MetError
    return Batch(result.index(label), share)


def _normalized(op: tf.Operation, places: list[Place]) -> Batch:
    if op.get_attr("is_training"):
        raise _MetError
    return _leading(op, places)


def _transposed_convolution(op: tf.Operation, places: list[Place]) -> Batch:
    place = places[2]
    if not isinstance(place, Batch) or place.axis or isinstance(places[1], Batch):
        raise _UnknownError
    return place


_FOLLOW: dict[str, Callable[[tf.Operation, list[Place]], Batch]] = {
    **dict.fromkeys((*HASHES, *NUMBER_BY_NUMBER), _number_by_number),
    **dict.fromkeys((*CONVOLUTIONS, *AVERAGE_POOLS, *MAX_POOLS, *RESIZES), _leading),
    **dict.fromkeys(REDUCTIONS, _reduced),
    **dict.fromkeys(("MatMul", "BatchMatMulV2", "BatchMatMulV3"), _matrix_product),
    **dict.fromkeys(TRANSPOSED_CONVOLUTIONS, _transposed_convolution),
    **dict.fromkeys(("Softmax", "LogSoftmax", "TopKV2"), _not_along(lambda op: -1)),
    **dict.fromkeys(("Cumsum", "Cumprod"), _not_along(lambda op: _constant(op.inputs[1]))),
    **dict.fromkeys(("Split", "SplitV"), _split),
    **dict.fromkeys(
        ("Pad", "PadV2", "MirrorPad"), _untouched(lambda op, axis: bool(_constant(op.inputs[1])[axis].any()))
    ),
    "ConcatV2": _joined,
    "DepthToSpace": _leading,
    "Einsum": _einsum,
    "ExpandDims": _expanded,
    "ExtractImagePatches": _leading,
    "FusedBatchNormV3": _normalized,
    "GatherV2": _gathered,
    "OneHot": _untouched(lambda op, axis: op.get_attr("axis") != -1),
    "Pack": _packed,
    "Reshape": _reshaped,
    "ReverseV2": _untouched(lambda op, axis: axis in np.ravel(_constant(op.inputs[1])) % op.inputs[0].shape.rank),
    "Roll": _untouched(lambda op, axis: axis in np.ravel(_constant(op.inputs[2])) % op.inputs[0].shape.rank),
    "SpaceToDepth": _leading,
    "Squeeze": _squeezed,
    "StridedSlice": _sliced,
    "Tile": _untouched(lambda op, axis: _constant(op.inputs[1])[axis] != 1),
    "Transpose": _transposed,
    "Unpack": _unpacked,
}
