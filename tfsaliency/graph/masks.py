"""Whether a model masks with what a comparison finds, or reads it as one more number."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import before
from tfsaliency.graph.operations import (
    ADDITIONS,
    CHOICES,
    FILLS,
    IDENTITIES,
    JOINS,
    JUDGEMENTS,
    MOVES,
    PRODUCTS,
    REDUCTIONS,
    SHAPE_READERS,
)

# Smaller numbers under a softmax are those that masks put there, from -1e4 in half precision to -inf.
MASKED = -9e3


def hides(found: Iterable[tf.Tensor], values: Iterable[tf.Tensor], chosen: Iterable[tf.Tensor] = ()) -> bool:
    """Whether what was found of some values decides where they, or what is computed from them, count.

    A mask multiplies them, chooses between them and zeros or what stands at another place, or drops numbers below a
    softmax. A feature is added to other numbers, stands beside them, or has weights.

    Args:
        found: what comparisons of the values found, true or false.
        values: the values, or what is looked up for them.
        chosen: tensors that are made before the values: a mask may decide which ids are looked up.
    """
    # Grows while it is read.
    flags = list(found)
    known = {flag.ref() for flag in flags}
    masked, ends = _computed_from(values), {each.ref() for each in chosen}
    for flag in flags:
        for op in flag.consumers():
            others = [source for source in op.inputs if source.ref() not in known]
            meets = [source for source in others if source.ref() in masked]
            if _masks(op, flag, meets, others) or any(result.ref() in ends for result in op.outputs):
                return True
            if not meets and not _ends(op, others):
                new = [result for result in op.outputs if result.ref() not in known]
                flags += new
                known |= {result.ref() for result in new}
    return False


def has_places(traced: tf.Tensor) -> bool:
    """Whether there are several numbers for each sample."""
    return traced.shape.rank is None or any(size != 1 for size in traced.shape[1:])


def _masks(op: tf.Operation, flag: tf.Tensor, meets: list[tf.Tensor], others: list[tf.Tensor]) -> bool:
    if op.type in CHOICES and flag is op.inputs[0]:
        instead = [number for branch in op.inputs[1:] if (number := _constant(branch)) is not None]
        is_nothing = all(number == 0 or abs(number) >= -MASKED for number in instead)
        return is_nothing and len(instead) + len(meets) >= 2 and (bool(meets) or any(instead))
    if meets:
        return op.type not in (*ADDITIONS, "AddN", "Sub", *JOINS)
    return op.type == "Mul" and any(abs(_constant(other) or 0) >= -MASKED for other in others)


def _ends(op: tf.Operation, others: list[tf.Tensor]) -> bool:
    """Whether what an operation makes of a flag is none: it has weights, or is about a whole sample."""
    if op.type in SHAPE_READERS or (op.type in PRODUCTS and any(_constant(other) is None for other in others)):
        return True
    return op.type in REDUCTIONS and op.outputs[0].dtype == tf.bool and not has_places(op.outputs[0])


def _computed_from(values: Iterable[tf.Tensor]) -> set[Any]:
    """The values and all that is computed from them, but for what comparisons find, as ``ref()``."""
    made = list(values)
    known = {each.ref() for each in made}
    for tensor in made:
        for op in tensor.consumers():
            if op.type not in (*JUDGEMENTS, *SHAPE_READERS):
                new = [each for each in op.outputs if each.ref() not in known and each.dtype != tf.bool]
                made += new
                known |= {each.ref() for each in new}
    return known


def _constant(traced: tf.Tensor) -> float | None:
    """The largest of constant numbers, also where their shape is not constant; None for what is computed."""
    op = before(traced, (*IDENTITIES, *MOVES)).op
    if op.type == "ZerosLike":
        return 0.0
    value = tf.get_static_value(op.inputs[1] if op.type in FILLS else op.outputs[0])
    if value is None or not np.size(value) or value.dtype.kind not in "fiub":
        return None
    flat = np.ravel(value).astype("float64")
    return float(flat[np.abs(flat).argmax()])
