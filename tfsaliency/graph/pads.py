"""The id that fills up short rows: a model masks it, or puts it there itself."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors, before
from tfsaliency.graph.masks import Masks, has_places
from tfsaliency.graph.operations import CHOICES, CLIPS, IDENTITIES, JUDGEMENTS, PARTS
from tfsaliency.graph.step import replayed_now

# Ids that one is told apart from.
_OTHERS = (0, 1, 2, 3, 4)


class Pad(NamedTuple):
    """How the ids that fill up short rows are known.

    Attributes:
        ids: a tensor in the shape of the ids that are looked up.
        id: what it is at the places of these ids.
    """

    ids: tf.Tensor
    id: float


def pad_of(index: tf.Tensor, looked_up: Iterable[tf.Tensor], order: list[tf.Operation]) -> Pad | None:
    """The id that fills up short rows of an index; None where none is masked.

    Args:
        index: the ids that something is looked up for.
        looked_up: what is looked up for these ids, and beside it for the same inputs.
        order: the operations that the outputs depend on.
    """
    same = [index]
    while same[-1].op.type in (*IDENTITIES, *CHOICES):
        # A negative id counts from the end of a table: where it is one, the length is added.
        same.append(same[-1].op.inputs[-1])
    if same[-1].op.type == "RaggedTensorToTensor":
        filler = tf.get_static_value(same[-1].op.inputs[2])
        return None if filler is None else Pad(same[-1], filler.item())
    made_before = [result for op in ancestors(index) for result in op.outputs]
    masks = Masks(looked_up, made_before)
    # How often each id is masked, and how it is told apart.
    masked: dict[float, tuple[float, Pad | None]] = {}
    for op, compared, pad in _comparisons(same, made_before, order):
        count, first = masked.get(pad.id, (0, pad))
        masked[pad.id] = count + masks.hidings(op, compared, pad.id), first
    most = max(masked, key=lambda id: (masked[id][0], id == 0), default=0.0)
    count, found = masked.get(most, (0, None))
    return found if count > 0 else None


def _comparisons(
    same: list[tf.Tensor], made_before: list[tf.Tensor], order: list[tf.Operation]
) -> Iterable[tuple[tf.Operation, tf.Tensor, Pad]]:
    """The operations that tell one id apart, with what they compare.

    Args:
        same: tensors that hold the ids at the places of the index, which is the first.
        made_before: what the index depends on.
        order: the operations to look at.
    """
    known, before_index = ({each.ref() for each in tensors} for tensors in (same, made_before))
    passed = before(same[-1], (*IDENTITIES, *PARTS))
    for op in order:
        # What is clipped and looked up then is another id.
        is_other_id = op.type in CLIPS and op.outputs[0].ref() in before_index
        for compared in op.inputs if _may_tell(op) and not is_other_id else ():
            if before(compared, IDENTITIES).ref() in known:
                yield from ((op, compared, Pad(compared, id)) for id in _told_apart(op, compared))
            elif before(compared, (*IDENTITIES, *PARTS)) is passed and has_places(compared):
                # Ids are compared before they are listed, or moved otherwise. What is no id, as -1 for a missing
                # category, is not looked up.
                yield from ((op, compared, Pad(same[0], id)) for id in _told_apart(op, compared) if id >= 0)


def _may_tell(op: tf.Operation) -> bool:
    """Whether an operation may be one thing for one id, and another for all others."""
    is_truth = op.type == "Cast" and op.outputs[0].dtype == tf.bool
    return is_truth or op.type in (*JUDGEMENTS, *CLIPS)


def _told_apart(op: tf.Operation, compared: tf.Tensor) -> list[float]:
    """The ids, none or one, that an operation is one thing for, and another for all others.

    That is zero for ``ids > 0``, ``ids >= 1``, ``tf.minimum(ids, 1)`` and ``tf.sign(ids)``. ``ids < 0`` tells none. One
    that is not zero is padding only where others are said to differ from it: ``ids == 3`` finds the token to read.
    """
    constants = [None if each is compared else tf.get_static_value(each) for each in op.inputs]
    others = [each for each in constants if each is not None and each.size == 1]
    if compared.dtype in (tf.bool, tf.string) or len(others) < len(constants) - 1:
        return []
    numbers = {0, *(each.item() for each in others if op.type == "NotEqual")}
    return [number for number in numbers if _tells(op, constants, number, compared.dtype)]


def _tells(op: tf.Operation, constants: list[Any], number: float, dtype: tf.DType) -> bool:
    ids = np.array([number, *(each for each in _OTHERS if each != number)], dtype.as_numpy_dtype)
    known = [ids if each is None else each.item() for each in constants]
    first, *rest = replayed_now(op, known)[0]
    return all(each == rest[0] for each in rest) and bool(first != rest[0])
