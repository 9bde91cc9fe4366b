"""Which numbers of the inputs each id inside a network came from, and which words of a text.

An id may be made of several numbers, such as one that stands for a pair of categories: it comes from all of them.
"""

import itertools
from typing import Any

import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.operations import (
    CHOICES,
    FILLED_UP,
    GATHERS,
    HASHES,
    IDENTITIES,
    JOINS,
    NUMBER_BY_NUMBER,
    PADS,
    REARRANGEMENTS,
    SPELLINGS,
    SPLITS,
)
from tfsaliency.graph.step import replay
from tfsaliency.graph.trace import Values

# Number by number: a table of words, a hash, a shift, a comparison; and a list that stays one.
ONE_BY_ONE = {*NUMBER_BY_NUMBER, *GATHERS, *HASHES, *SPELLINGS, "RaggedTensorToSparse"}
# The place of a number that no input has, such as a token that a model adds.
NOWHERE = -1
# Where each id comes from: tensors in the shape of the ids, one for each number that an id is made of.
Found = tuple[tf.Tensor, ...]


class Origins:
    """Where ids come from, computed from what the network computed.

    Args:
        part: a part of the inputs, traced.
        values: of the traced tensors, in the graph under construction.
    """

    def __init__(self, part: tf.Tensor, values: Values):
        self._part, self._values = part, values
        self._places: dict[Any, Found] = {}
        self._words: dict[Any, Found] = {}
        self._cells: dict[Any, Found] = {}

    def places(self, index: tf.Tensor) -> Found:
        """For each of the ids, int32 in their shape, the place of its number in the part, row by row.

        As many tensors as an id is made of numbers, with no place twice for one id. `NOWHERE` for an id that is not
        from the part; empty where ids have no places: those of a text are made of it.
        """
        places: list[tf.Tensor] = []
        for each in self._followed(index, self._places, self._place, tf.constant(NOWHERE)):
            for known in places:
                each = tf.where(each == known, NOWHERE, each)
            places.append(each)
        return tuple(places)

    def words(self, index: tf.Tensor) -> tf.Tensor | None:
        """For each of the ids, in their shape, the word of the text; None where there is none, or several."""
        found = self._followed(index, self._words, self._word, tf.constant(""))
        return found[0] if len(found) == 1 else None

    def grid(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor] | None:
        """For ids in one list, the place of each in a grid with a row for each sample, and the shape of that grid.

        The grid is that of the part, or that of the words of texts: ``(N, T)`` with T words in the longest. None where
        ids have no places, or several.
        """
        places = self.places(index)
        if places:
            return (places[0], tf.shape(self._values[self._part])) if len(places) == 1 else None
        cells = self._followed(index, self._cells, self._cell, tf.constant(NOWHERE))
        if len(cells) != 1 or self._part.shape[1:].num_elements() not in (None, 1):
            return None
        split = next(op for op in reversed(ancestors(index, known=[self._part])) if op.type in SPLITS)
        return cells[0], self._rows_of_words(split)[1]

    def _cell(self, tensor: tf.Tensor) -> tf.Tensor | None:
        if tensor.op.type not in SPLITS or tensor.dtype != tf.string:
            return None
        at, shape = self._rows_of_words(tensor.op)
        return at[:, 0] * shape[1] + at[:, 1]

    def _rows_of_words(self, split: tf.Operation) -> tuple[tf.Tensor, tf.Tensor]:
        """For each word that an operation makes its row and its place there, ``(words, 2)``; and the shape of all."""
        if split.type == "StringSplitV2":
            indices, _, shape = (self._values[each] for each in split.outputs)
            return tf.cast(indices, tf.int32), tf.cast(shape, tf.int32)
        if split.type == "UnicodeEncode":
            # A word is a letter here.
            decoded = next(op for op in reversed(ancestors(*split.outputs)) if op.type == "UnicodeDecode")
            words, splits = self._values[split.outputs[0]], self._values[decoded.outputs[0]]
        else:
            words, splits = (self._values[each] for each in split.outputs)
        rows = tf.RaggedTensor.from_row_splits(words, tf.cast(splits, tf.int32))
        at = rows.value_rowids()
        within = tf.range(tf.size(words)) - tf.gather(rows.row_starts(), at)
        return tf.stack([at, within], axis=1), tf.cast(rows.bounding_shape(), tf.int32)

    def _place(self, tensor: tf.Tensor) -> tf.Tensor | None:
        if tensor is not self._part:
            return None
        shape = tf.shape(self._values[tensor])
        return tf.reshape(tf.range(tf.reduce_prod(shape)), shape)

    def _word(self, tensor: tf.Tensor) -> tf.Tensor | None:
        return self._values[tensor] if tensor.op.type in SPLITS and tensor.dtype == tf.string else None

    def _followed(self, tensor: tf.Tensor, known: dict[Any, Found], start: Any, empty: tf.Tensor) -> Found:
        if tensor.ref() not in known:
            found = start(tensor)
            if found is not None:
                known[tensor.ref()] = (found,)
            elif tensor.op.type in SPLITS:
                known[tensor.ref()] = ()
            else:
                known[tensor.ref()] = self._moved(tensor, lambda each: self._followed(each, known, start, empty), empty)
        return known[tensor.ref()]

    def _moved(self, tensor: tf.Tensor, of: Any, empty: tf.Tensor) -> Found:
        """The origins of what an operation makes, from those of what it reads."""
        op = tensor.op
        origins: list[Found] = [of(source) for source in op.inputs]
        if not any(origins):
            return ()
        if op.type == "SparseCross":
            # One id for each row, made of one number or word of each column.
            is_single = all(each.shape.rank == 2 and each.shape[1] == 1 for each in op.inputs)
            columns = tuple(tf.reshape(each, [-1]) for found in origins for each in found)
            return columns if is_single and tensor.value_index == 1 else ()
        if op.type in ONE_BY_ONE and not (op.type in GATHERS and not origins[1]):
            return self._kept(tensor, origins, empty)
        sheets = itertools.zip_longest(*origins)
        moved = (self._rearranged(tensor, list(sheet), empty) for sheet in sheets)
        return tuple(each for each in moved if each is not None)

    def _rearranged(self, tensor: tf.Tensor, origins: list[tf.Tensor | None], empty: tf.Tensor) -> tf.Tensor | None:
        """The origins of the numbers of a rearrangement: they are rearranged likewise."""
        op = tensor.op
        sources = [self._values[each] for each in op.inputs]
        if op.type in FILLED_UP:
            values, default = FILLED_UP[op.type]
            if origins[values] is None:
                return None
            sources[values], sources[default] = origins[values], empty
            return replay(op, *sources)[tensor.value_index]
        if op.type == "TopKV2":
            chosen = self._values[op.outputs[1]]
            return tf.gather(origins[0], chosen, batch_dims=op.outputs[1].shape.rank - 1)
        if op.type in PADS:
            return None if origins[0] is None else tf.pad(origins[0], sources[1], constant_values=empty)
        if op.type not in REARRANGEMENTS:
            return None
        if op.type in JOINS:
            is_joined = [each.dtype == op.outputs[0].dtype for each in op.inputs]
            if op.type == "ConcatV2":
                is_joined[-1] = False
            nothing = zip(sources, is_joined, strict=True)
            sources = [tf.fill(tf.shape(each), empty) if joined else each for each, joined in nothing]
            origins = [each if joined else None for each, joined in zip(origins, is_joined, strict=True)]
        filled = [value if origin is None else origin for value, origin in zip(sources, origins, strict=True)]
        return replay(op, *filled)[tensor.value_index]

    def _kept(self, tensor: tf.Tensor, origins: list[Found], empty: tf.Tensor) -> Found:
        """The origins of numbers that are made one by one: of all that each is made of.

        True and false times an id say not what it is. Where an operation chooses, what is chosen counts.
        """
        op = tensor.op
        if op.type == "IdentityN":
            own: Found = origins[tensor.value_index]
            return own
        read = slice(1, 2) if op.type in GATHERS else slice(None)
        sources = list(op.inputs)[read]
        found = [
            tuple(spread for each in of_source if (spread := self._spread(each, source, tensor)) is not None)
            for source, of_source in zip(sources, origins[read], strict=True)
        ]
        if op.type in CHOICES:
            return self._chosen(tensor, found, empty)
        ids = [each for source, each in zip(sources, found, strict=True) if not _is_condition(source)]
        made_of = ids if op.type == "Mul" and any(ids) else found
        return tuple({each.ref(): each for of_source in made_of for each in of_source}.values())

    def _chosen(self, tensor: tf.Tensor, found: list[Found], empty: tf.Tensor) -> Found:
        """The origins of numbers of two sources; a constant is there because of what the condition is made of."""
        of_condition, *of_branches = found
        nothing = tf.fill(tf.shape(self._values[tensor]), empty)
        pairs = itertools.zip_longest(*(each or of_condition for each in of_branches), fillvalue=nothing)
        condition = self._values[tensor.op.inputs[0]]
        return tuple(replay(tensor.op, condition, *pair)[0] for pair in pairs)

    def _spread(self, origin: tf.Tensor, source: tf.Tensor, result: tf.Tensor) -> tf.Tensor | None:
        """The origins of the numbers of a source, in the shape of what is made of them one by one; None where none is.

        Only arithmetic repeats a source along axes that it lacks.
        """
        op = result.op
        if op.type in IDENTITIES or repr(source.shape) == repr(result.shape):
            return origin
        if op.type == "Select" or op.type not in NUMBER_BY_NUMBER:
            return None
        return tf.broadcast_to(origin, tf.shape(self._values[result]))


def _is_condition(tensor: tf.Tensor) -> bool:
    """Whether numbers are true or false, or made of that and constants."""
    op = tensor.op
    if tensor.dtype == tf.bool:
        return True
    if op.type in ("Mul", "Sub"):
        return all(_is_condition(each) or tf.get_static_value(each) is not None for each in op.inputs)
    return op.type in (*IDENTITIES, *REARRANGEMENTS) and _is_condition(op.inputs[0])
