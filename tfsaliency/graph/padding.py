"""The numbers that may fill up short series: a model that masks them compares with them."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.axes import Axes, followed_axes
from tfsaliency.graph.masks import Masks, has_places
from tfsaliency.graph.operations import EQUALITIES, IDENTITIES, JUDGEMENTS, REARRANGEMENTS, SIZES

# A step is told from none by a size that is above rounding.
SMALL = 0.01


class Filler(NamedTuple):
    """What padding is made of.

    Attributes:
        value: the number, in the type in which the model compares.
        axes: of the inputs, whose numbers are padding together or not at all, as the channels of a step.
    """

    value: np.generic
    axes: tuple[int, ...]


def fillers(part: tf.Tensor) -> list[Filler]:
    """The constants that a model masks steps of a part of its inputs by, as `keras.layers.Masking` does.

    Zero where the size of steps is compared with a small number or taken for true or false, as in
    ``tf.reduce_sum(tf.abs(x), -1) > 0``. What is compared and not masked is no filler.
    """
    # Each with whether it is a size of steps. Grows while it is read.
    made, masks = [(part, False)], Masks([part])
    found: dict[tf.Operation, np.generic] = {}
    for tensor, is_size in made:
        for op in tensor.consumers():
            value = _compared_with(op, tensor, is_size)
            if value is not None and masks.hidings(op, tensor, value) > 0:
                found[op] = value
            elif tensor is op.inputs[0] and (_makes_size(op) or op.type in (*IDENTITIES, *REARRANGEMENTS)):
                made += [
                    (each, is_size or _makes_size(op))
                    for each in op.outputs
                    if each.dtype.is_floating and has_places(each)
                ]
    axes = followed_axes(part, part.graph.get_operations()) if found else {}
    return list({Filler(value, tuple(sorted(_told_over(op.outputs[0], axes, part)))) for op, value in found.items()})


def _told_over(flag: tf.Tensor, axes: dict[Any, Axes], part: tf.Tensor) -> set[int]:
    """The axes of the inputs that are gone where what a comparison found is read as a mask."""
    readers = flag.consumers()
    if readers and all(op.type in ("All", "Any", "LogicalNot", *IDENTITIES) for op in readers):
        return set.intersection(*(_told_over(op.outputs[0], axes, part) for op in readers))
    kept = {factor.axis for axis in axes[flag.ref()] for factor in axis}
    is_known = all(axis >= 0 for axis in kept)
    return {*range(1, part.shape.rank)} - kept if is_known else set()


def _compared_with(op: tf.Operation, tensor: tf.Tensor, is_size: bool) -> np.generic | None:
    """The filler that an operation may tell from other numbers, None if it tells none."""
    zero: np.generic = tensor.dtype.as_numpy_dtype(0)
    if op.type == "Cast" and op.outputs[0].dtype == tf.bool:
        return zero
    known = (tf.get_static_value(each) for each in op.inputs)
    numbers = [np.ravel(each)[0] for each in known if each is not None and np.size(each) == 1]
    if not is_size:
        return numbers[0] if op.type in EQUALITIES and numbers else None
    tells = op.type == "Sign" or (op.type in JUDGEMENTS and any(abs(each) <= SMALL for each in numbers))
    return zero if tells else None


def _makes_size(op: tf.Operation) -> bool:
    return op.type in SIZES or (op.type == "Mul" and op.inputs[0] is op.inputs[1])
