"""Whether a model masks with what a comparison finds, or reads it as one more number."""

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import before
from tfsaliency.graph.operations import (
    ADDITIONS,
    CHOICES,
    CLIPS,
    FILLS,
    IDENTITIES,
    JOINS,
    JUDGEMENTS,
    MOVES,
    NUMBER_BY_NUMBER,
    OF_EQUALS,
    PRODUCTS,
    QUOTIENTS,
    REDUCTIONS,
    RUNNING,
    SHAPE_READERS,
)
from tfsaliency.graph.step import replayed_now

# The exponential of a number so far below others is nothing beside theirs.
FAR = 50.0
# A logarithm of no more than that is as good as minus infinity: it was added to keep it from there.
LEAST = 1e-6


def has_places(traced: tf.Tensor) -> bool:
    """Whether there are several numbers for each sample."""
    return traced.shape.rank is None or any(size != 1 for size in traced.shape[1:])


class Masks:
    """What a model hides of some values by what it compares.

    A mask multiplies values by zero, puts zeros or an earlier state in their place, or makes them far smaller than
    others under a softmax. A feature is added to other numbers, stands beside them, or is multiplied by weights.

    Args:
        values: what is compared, or what is looked up for it.
        chosen: tensors that are made before the values: a mask may drop some of the ids that are looked up.
    """

    def __init__(self, values: Iterable[tf.Tensor], chosen: Iterable[tf.Tensor] = ()):
        self._values, self._ends = list(values), {each.ref() for each in chosen}

    @cached_property
    def _masked(self) -> set[Any]:
        return _computed_from(self._values)

    def hidings(self, op: tf.Operation, compared: tf.Tensor, number: Any) -> float:
        """At how many operations a comparison hides values that are equal to a number, or what is computed from them.

        Minus infinity where these values are read by it, and others are not.

        Args:
            op: the comparison.
            compared: what it compares.
            number: that may be masked.
        """
        search = _Search(self._masked, self._ends)
        search.follow(op, {compared.ref(): number})
        # Grows while it is read.
        for flag in search.flags:
            for reader in flag.consumers():
                search.see(reader)
        return -math.inf if search.shows else len(search.hiding)


class _Search:
    """A search along what is computed from a comparison.

    Args:
        masked: the values and what is computed from them, as ``ref()``.
        ends: what is made before the values, as ``ref()``.

    Attributes:
        flags: what is computed from the comparison and not from the values.
        hiding: the operations that hide values.
        shows: whether values are read where the number stands, and not elsewhere, as by an expert for one category.
    """

    def __init__(self, masked: set[Any], ends: set[Any]):
        self._masked, self._ends = masked, ends
        # What each flag is where the number stands; None where that is not known.
        self._at_number: dict[Any, Any] = {}
        self._truths: set[Any] = set()
        self.flags: list[tf.Tensor] = []
        self.hiding: set[str] = set()
        self.shows = False

    def see(self, op: tf.Operation) -> None:
        """Notes whether an operation hides values by a flag, and follows what it makes of the flag alone."""
        meets = [source for source in op.inputs if source.ref() in self._masked]
        decides = any(result.ref() in self._ends for result in op.outputs)
        # Where another id is put for one, its place is read.
        if self._hides(op, meets) or (decides and op.type not in CHOICES):
            self.hiding.add(op.name)
        elif not decides and not meets and not self._is_value(op) and not self._has_weights(op):
            self.follow(op, self._at_number)

    def _is_value(self, op: tf.Operation) -> bool:
        """Whether an operation looks up values for flags, as for categories."""
        return any(result.ref() in self._masked for result in op.outputs)

    def follow(self, op: tf.Operation, known: dict[Any, Any]) -> None:
        """Takes what an operation makes of flags for flags."""
        new = [result for result in op.outputs if result.ref() not in self._at_number]
        number = _result(op, known) if new else None
        for result in new:
            self._at_number[result.ref()] = number
            is_kept = op.type in (*NUMBER_BY_NUMBER, *MOVES, *OF_EQUALS) and has_places(result)
            if result.dtype == tf.bool or (is_kept and any(each.ref() in self._truths for each in op.inputs)):
                self._truths.add(result.ref())
        self.flags += new

    def _hides(self, op: tf.Operation, meets: list[tf.Tensor]) -> bool:
        """Whether an operation hides values where the number stands."""
        if op.type in CHOICES and op.inputs[0].ref() in self._at_number:
            return self._chooses_nothing(op)
        if not meets:
            return False
        flags = [source.ref() for source in op.inputs if source.ref() in self._at_number]
        numbers = [self._at_number[flag] for flag in flags]
        if op.type in (*ADDITIONS, "AddN", "Sub", *CLIPS, *QUOTIENTS):
            is_none = op.type == "DivNoNan" and 0 in numbers
            return is_none or any(number is not None and abs(float(number)) >= FAR for number in numbers)
        if op.type in ("Mul", *PRODUCTS):
            is_truth = any(flag in self._truths for flag in flags)
            self.shows |= is_truth and 1 in numbers
            return any(is_truth if number is None else float(number) == 0 for number in numbers)
        return op.type not in JOINS

    def _chooses_nothing(self, op: tf.Operation) -> bool:
        """Whether zeros, an earlier state or a number far from others takes the place of values."""
        condition, *branches = op.inputs
        is_true = self._at_number[condition.ref()]
        orders = [branches, branches[::-1]] if is_true is None else [branches if is_true else branches[::-1]]
        for instead, other in orders:
            number = _constant(instead)
            if other.ref() in self._masked and (
                other.ref() in _computed_from([instead]) if number is None else number == 0 or abs(number) >= FAR
            ):
                return True
        return False

    def _has_weights(self, op: tf.Operation) -> bool:
        """Whether an operation multiplies flags by weights, counts them, or says one thing of all that a sample has."""
        others = [source for source in op.inputs if source.ref() not in self._at_number]
        if op.type in (*SHAPE_READERS, "Cumsum") or (
            op.type in PRODUCTS and any(_constant(other) is None for other in others)
        ):
            return True
        return op.type in REDUCTIONS and op.outputs[0].dtype == tf.bool and not has_places(op.outputs[0])


def _result(op: tf.Operation, known: dict[Any, Any]) -> Any:
    """What an operation makes of a number that its source has everywhere; None where that is not known."""
    if op.type in (*MOVES, *REDUCTIONS, *RUNNING):
        number = known.get(op.inputs[0].ref())
        is_same = op.type in MOVES or (has_places(op.outputs[0]) and (op.type in OF_EQUALS or number == 0))
        return number if is_same else None
    if op.type not in NUMBER_BY_NUMBER or len(op.outputs) != 1:
        return None
    numbers = [known.get(each.ref()) if each.ref() in known else _constant(each) for each in op.inputs]
    if None not in numbers:
        result = replayed_now(op, numbers)[0]
        return -math.inf if op.type == "Log" and result <= math.log(LEAST) else result
    # One of two is enough to know that both are not true, or that a product is zero.
    decides = {"LogicalAnd": False, "LogicalOr": True, "Mul": 0}.get(op.type)
    return decides if decides in numbers else None


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


def _constant(traced: tf.Tensor) -> Any:
    """The largest of constant numbers, also where their shape is not constant; None for what is computed."""
    op = before(traced, (*IDENTITIES, *MOVES)).op
    if op.type == "ZerosLike":
        return 0.0
    value = tf.get_static_value(op.inputs[1] if op.type in FILLS else op.outputs[0])
    if value is None or not np.size(value) or value.dtype.kind not in "fiub":
        return None
    flat = np.ravel(value)
    return flat[np.abs(flat.astype("float64")).argmax()].item()
