"""The numbers of a network that stand for inputs: a part that is numbers itself, or what is looked up for ids."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfsaliency.graph.ancestry import alike, ancestors
from tfsaliency.graph.lookups import Lookup, table_of
from tfsaliency.graph.operations import BAGS
from tfsaliency.graph.padding import Filler, fillers
from tfsaliency.graph.places import Found, Origins
from tfsaliency.graph.step import replay
from tfsaliency.graph.tables import counted_from_start
from tfsaliency.graph.trace import Pairs, Values
from tfsaliency.tensors.sums import sizes_of


class Leaf(ABC):
    """Numbers that a method sees, ``(N, ...)``.

    Attributes:
        traced: the tensor of the trace that they are.
        shape: of one sample, as a method sees it.
        nothing: what `neutral` is, in words.
    """

    traced: tf.Tensor
    shape: tuple[int | None, ...]
    nothing = "zero"

    @abstractmethod
    def entered(self, values: Values) -> tf.Tensor:
        """The numbers, float32, from the values of a network."""

    @property
    def order(self) -> list[tf.Tensor]:
        """The traced tensors that `pairs` needs the values of."""
        return []

    @property
    def is_traced(self) -> bool:
        """Whether a method sees the traced tensor as it is, and the model reads it nowhere else."""
        return not self.order and self.traced.shape.rank == 1 + len(self.shape)

    @abstractmethod
    def pairs(self, numbers: tf.Tensor, values: Values) -> Pairs:
        """The traced tensors that they are, and the value of each.

        Args:
            numbers: ``(N, ...)``.
            values: of the tensors of `order`, for the same inputs.
        """

    def may_be_padding(self, numbers: tf.Tensor) -> tf.Tensor | None:
        """Which of the numbers the model may mask; None where it masks no numbers."""
        return None

    @abstractmethod
    def neutral(self, numbers: tf.Tensor, values: Values) -> tf.Tensor:
        """Numbers of the same shape that stand for nothing."""


class Number(Leaf):
    """A part of the inputs.

    Args:
        part: the traced part.
        place: its place among all parts.

    Attributes:
        fillers: what padding may be made of: the model masks by it.
    """

    def __init__(self, part: tf.Tensor, place: int):
        self.traced, self.shape, self.place = part, tuple(part.shape[1:]), place
        self.fillers = fillers(part)

    def entered(self, values: Values) -> tf.Tensor:
        return values[self.traced]

    def may_be_padding(self, numbers: tf.Tensor) -> tf.Tensor | None:
        if not self.fillers:
            return None
        return functools.reduce(tf.logical_or, [_is_filled_with(each, numbers) for each in self.fillers])

    def pairs(self, numbers: tf.Tensor, values: Values) -> Pairs:
        return [(self.traced, numbers)]

    def neutral(self, numbers: tf.Tensor, values: Values) -> tf.Tensor:
        return tf.zeros_like(numbers)

    def told(self, values: tf.Tensor) -> tf.Tensor:
        """What a method says about the numbers that it sees, about the part as it was passed."""
        return values


class GreyPicture(Number):
    """A part of the inputs that is pictures ``(N, height, width)``: a method sees them with an axis of channels."""

    def __init__(self, part: tf.Tensor, place: int):
        super().__init__(part, place)
        self.shape = (*self.shape, 1)

    def entered(self, values: Values) -> tf.Tensor:
        return tf.expand_dims(super().entered(values), axis=-1)

    def may_be_padding(self, numbers: tf.Tensor) -> tf.Tensor | None:
        found = super().may_be_padding(self.told(numbers))
        return None if found is None else tf.expand_dims(found, axis=-1)

    def pairs(self, numbers: tf.Tensor, values: Values) -> Pairs:
        return super().pairs(self.told(numbers), values)

    def told(self, values: tf.Tensor) -> tf.Tensor:
        return tf.squeeze(values, axis=-1)


def _is_filled_with(filler: Filler, numbers: tf.Tensor) -> tf.Tensor:
    equal = tf.equal(tf.cast(numbers, filler.value.dtype), tf.constant(filler.value))
    return equal & tf.reduce_all(equal, axis=filler.axes, keepdims=True)


class LookedUp(Leaf):
    """What is looked up for ids, with at least one axis of places in front of the vectors.

    Attributes:
        lookup: how.
        adds: whether the last axis has the numbers of one id.
        is_of_ids: whether the numbers stand for ids, and are not the numbers that were passed.
    """

    def __init__(self, lookup: Lookup):
        self.lookup, self.traced = lookup, lookup.tensor
        kind = lookup.kind
        self.adds, self.is_of_ids = kind in ("vectors", "one-hot"), kind != "number"
        # A table of one axis has a single number for each id.
        self._is_single = kind == "vectors" and self.traced.shape.rank == lookup.index.shape.rank
        inner = (*lookup.own.shape[1:], *([1] if self._is_single else []))
        self._is_widened = self.adds and len(inner) == 1
        self.shape = (1, *inner) if self._is_widened else inner
        if kind in ("vectors", "one-hot"):
            self.nothing = (
                "the mean of all ids" if lookup.pad is None else f"the id that fills up short rows, {lookup.pad.id:g}"
            )

    @property
    def places(self) -> tuple[int | None, ...]:
        """The axes of places of one sample."""
        return self.shape[:-1] if self.adds else self.shape

    def stands_with(self, other: Leaf) -> bool:
        """Whether another leaf is this one, or stands for the same ids at the same places."""
        if not isinstance(other, LookedUp) or self is other:
            return self is other
        is_beside = self.lookup.parts == other.lookup.parts and self.places == other.places
        # The tables may differ in their length.
        ids, others = (counted_from_start(each.lookup.index) for each in (self, other))
        return self.adds and other.adds and is_beside and alike(ids, others)

    @property
    def is_traced(self) -> bool:
        return super().is_traced and not self.lookup.copies

    @property
    def read(self) -> list[tf.Tensor]:
        """The traced tensors whose values the other methods need."""
        lookup = self.lookup
        splits = [] if lookup.splits is None else [lookup.splits]
        made = {result.ref() for op in lookup.made_by for result in op.outputs}
        beside = [each for op in lookup.made_by for each in op.inputs if each.ref() not in made]
        return [lookup.own, lookup.index, *splits, *beside, *([lookup.pad.ids] if lookup.pad else [])]

    def entered(self, values: Values) -> tf.Tensor:
        numbers = tf.cast(values[self.lookup.own], tf.float32)
        numbers = tf.expand_dims(numbers, axis=-1) if self._is_single else numbers
        numbers = tf.expand_dims(numbers, axis=1) if self._is_widened else numbers
        # A layer may know more of a shape than TensorFlow finds out again.
        return tf.ensure_shape(numbers, [None, *self.shape])

    def pairs(self, numbers: tf.Tensor, values: Values) -> Pairs:
        return self._everywhere(tf.squeeze(numbers, axis=1) if self._is_widened else numbers)

    def _everywhere(self, numbers: tf.Tensor) -> Pairs:
        numbers = tf.squeeze(numbers, axis=-1) if self._is_single else numbers
        tensors = [each.tensor for each in (self.lookup, *self.lookup.copies)]
        return [(each, tf.cast(numbers, each.dtype)) for each in tensors]

    def neutral(self, numbers: tf.Tensor, values: Values) -> tf.Tensor:
        """The vector of the id that fills up short rows; where there is none, the mean of the table."""
        kind, pad = self.lookup.kind, self.lookup.pad
        id = None if pad is None else tf.constant(pad.id, tf.int64)
        if kind == "one-hot":
            length = numbers.shape[-1]
            vector = tf.fill([length], 1 / length) if id is None else tf.one_hot(tf.cast(id, tf.int32), length)
        elif kind == "vectors":
            vector = tf.cast(self._mean(values) if id is None else self._of(id, values), tf.float32)
        else:
            vector = tf.zeros([])
        return vector + tf.zeros_like(numbers)

    def _of(self, ids: tf.Tensor, values: Values) -> tf.Tensor:
        """The vectors of other ids, one or several in a row."""
        ids = tf.reshape(ids, [-1, *[1] * (self.lookup.index.shape.rank - 1)])
        made: dict[Any, tf.Tensor] = {}
        for op in self.lookup.made_by:
            read = [made[each.ref()] if each.ref() in made else values[each] for each in op.inputs]
            if not any(each.ref() in made for each in op.inputs):
                read[1] = tf.cast(ids, op.inputs[1].dtype)
            made |= zip((each.ref() for each in op.outputs), replay(op, *read), strict=True)
        return made[self.traced.ref()]

    def _mean(self, values: Values) -> tf.Tensor:
        table, first = values[table_of(self.lookup)], self.lookup.made_by[0]
        if table.dtype == tf.resource:
            table = tf.raw_ops.ReadVariableOp(resource=table, dtype=first.outputs[0].dtype)
        is_row = self.lookup.made_by == (self.traced.op,)
        return tf.reduce_mean(table if is_row else self._of(tf.range(tf.shape(table)[0]), values), axis=0)

    def told(self, numbers: tf.Tensor, values: Values, *, squared: bool) -> tf.Tensor:
        """What a method says about each number, as one number for each id.

        Returns:
            The sum over the vector of each id, or of the squares, in the shape of the ids. Ids that fill up short rows
            get zero.
        """
        index = values[self.lookup.index]
        if self.lookup.kind == "bag":
            shares = self._of_occurrences(numbers, index, values)
            return tf.square(shares) if squared else shares
        numbers = tf.square(numbers) if squared else numbers
        numbers = tf.reshape(tf.reduce_sum(numbers, axis=-1) if self.adds else numbers, tf.shape(index))
        is_pad = self._is_pad(values)
        return numbers if is_pad is None else tf.where(is_pad, 0.0, numbers)

    def padding(self, values: Values) -> tf.Tensor | None:
        """Which places fill up short rows, ``(N, *places)``; None where none does."""
        return None if self.lookup.kind == "bag" else self._is_pad(values)

    def _is_pad(self, values: Values) -> tf.Tensor | None:
        """Which ids fill up short rows, in the shape of the ids; None where none is masked."""
        if self.lookup.pad is None:
            return None
        ids = values[self.lookup.pad.ids]
        return tf.equal(ids, tf.constant(self.lookup.pad.id, ids.dtype))

    def _of_occurrences(self, numbers: tf.Tensor, index: tf.Tensor, values: Values) -> tf.Tensor:
        """The numbers of a bag, each shared by all places where its id occurs in the row."""
        cells = self._cells(index, numbers, values)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(cells, tf.float32), cells, tf.size(numbers))
        return tf.gather(tf.math.divide_no_nan(tf.reshape(numbers, [-1]), counts), cells)

    def _cells(self, index: tf.Tensor, numbers: tf.Tensor, values: Values) -> tf.Tensor:
        """For each id of a bag, in the shape of the ids, the place of its number among all numbers of the batch."""
        if self.lookup.splits is None:
            rows = tf.repeat(tf.range(tf.shape(index)[0])[:, None], tf.shape(index)[1], axis=1)
        else:
            rows = tf.cast(tf.RaggedTensor.from_row_splits(index, values[self.lookup.splits]).value_rowids(), tf.int32)
        return rows * tf.shape(numbers)[1] + tf.cast(index, tf.int32)

    def onto(self, parts: list[tf.Tensor], told: tf.Tensor, values: Values, *, adds_up: bool) -> list[tf.Tensor]:
        """One number for each id, put where the id came from.

        Args:
            parts: the traced parts of the inputs that the ids come from.
            told: in the shape of the ids.
            values: of the traced tensors.
            adds_up: whether an id that is made of several numbers is shared among them, in equal parts; else each of
                them has the whole.

        Returns:
            For each part numbers in its shape; for a text that is split one for each word, ``(N, T)``.

        Raises:
            ValueError: the ids are made of a part in a way that does not show where each came from.
        """
        places = [Origins(part, values).places(self.lookup.index) for part in parts]
        sources = [each for found in places for each in found]
        if adds_up and len(sources) > 1:
            makers = tf.add_n([tf.cast(each >= 0, tf.float32) for each in sources])
            told /= tf.maximum(makers, 1.0)
        return [self._onto_places(part, told, found, values) for part, found in zip(parts, places, strict=True)]

    def _onto_places(self, part: tf.Tensor, told: tf.Tensor, places: Found, values: Values) -> tf.Tensor:
        if places:
            shape = tf.shape(values[part])
            flat, size = tf.reshape(told, [-1]), tf.reduce_prod(shape)
            onto = [tf.math.unsorted_segment_sum(flat, tf.reshape(each, [-1]), size) for each in places]
            return tf.reshape(tf.add_n(onto), shape)
        if self.words(part, values) is None:
            raise self.lost()
        return self._in_rows(told, values)

    def words(self, part: tf.Tensor, values: Values) -> tf.Tensor | None:
        """The words of a text, ``(N, T)``; None where a part is not split into words."""
        words = Origins(part, values).words(self.lookup.index)
        return None if words is None else self._in_rows(words, values)

    def _in_rows(self, of_words: tf.Tensor, values: Values) -> tf.Tensor:
        """``(N, T)``, of words which may be in one row."""
        if self.lookup.splits is None:
            return of_words
        return tf.RaggedTensor.from_row_splits(of_words, values[self.lookup.splits]).to_tensor()

    def lost(self) -> ValueError:
        """The error of ids whose places in the inputs are not known."""
        op = self.lookup.index.op
        is_encoded = any(each.type in (*BAGS, "OneHot") for each in ancestors(self.lookup.index))
        advice = (
            'Cast each encoding where it is made, y = keras.ops.cast(y, "float32"), or pass' if is_encoded else "Pass"
        )
        return ValueError(
            f"The ids that {op.name!r}, an operation of type {op.type}, makes cannot be followed back to places of the "
            f"inputs. {advice} what it makes to the model behind it, and explain that model."
        )

    def is_cross(self, parts: Sequence[tf.Tensor], values: Values) -> bool:
        """Whether an id is made of several places of the traced parts that the ids come from."""
        return sum(len(Origins(part, values).places(self.lookup.index)) for part in parts) > 1

    def over(self, shares: list[tuple[tf.Tensor, tf.Tensor]], numbers: tf.Tensor, values: Values) -> tf.Tensor:
        """Numbers for places of the inputs, laid over copies of the numbers that stand for them: what `onto` undoes.

        Args:
            shares: each traced part of the inputs that the ids come from, and ``(copies, N, *places)`` for it.
            numbers: ``(N, ...)``, as a method sees them.
            values: of the traced tensors.

        Returns:
            ``(copies * N, ...)``, with an axis of length 1 where an id has several numbers.
        """
        index = values[self.lookup.index]
        copies = tf.shape(shares[0][1])[0]
        of_ids = tf.ones([copies, tf.size(index)])
        for part, share in shares:
            places = Origins(part, values).places(self.lookup.index)
            if not places:
                of_ids = self._of_words(share, copies, values)
            flat = tf.reshape(share, [copies, -1])
            for each in places:
                at = tf.reshape(each, [-1])
                of_ids *= tf.where(at >= 0, tf.gather(flat, tf.maximum(at, 0), axis=1), 1.0)
        if self.lookup.kind == "bag":
            means = tf.map_fn(lambda each: self._mean_of_occurrences(each, numbers, index, values), of_ids)
            return tf.reshape(means, tf.concat([[-1], tf.shape(numbers)[1:]], 0))
        own = [*sizes_of(numbers)[:-1], 1] if self.adds else sizes_of(numbers)
        return tf.reshape(of_ids, [-1, *own])

    def _of_words(self, share: tf.Tensor, copies: tf.Tensor, values: Values) -> tf.Tensor:
        """For words ``(copies, N, T)`` the numbers of the ids, ``(copies, ids)``: short rows have fewer."""
        if self.lookup.splits is None:
            return tf.reshape(share, [copies, -1])
        lengths = tf.RaggedTensor.from_row_splits(values[self.lookup.index], values[self.lookup.splits]).row_lengths()
        return tf.boolean_mask(share, tf.sequence_mask(lengths, tf.shape(share)[2]), axis=1)

    def _mean_of_occurrences(
        self, of_ids: tf.Tensor, numbers: tf.Tensor, index: tf.Tensor, values: Values
    ) -> tf.Tensor:
        """For each number of a bag, the mean over the places where its id occurs; 1 where it does not occur."""
        cells, size = self._cells(index, numbers, values), tf.size(numbers)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(cells, tf.float32), cells, size)
        sums = tf.math.unsorted_segment_sum(of_ids, tf.reshape(cells, [-1]), size)
        return tf.reshape(tf.where(counts > 0, sums / tf.maximum(counts, 1.0), 1.0), tf.shape(numbers))
