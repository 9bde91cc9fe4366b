"""Which number of the inputs each id inside a network came from, and which word of a text."""

from typing import Any

import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.operations import (
    ELEMENTWISE,
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
ONE_BY_ONE = {*ELEMENTWISE, *NUMBER_BY_NUMBER, *GATHERS, *HASHES, *SPELLINGS, "RaggedTensorToSparse"}
# The place of a number that no input has, such as a token that a model adds.
NOWHERE = -1


class Origins:
    """Where ids come from, computed from what the network computed.

    Args:
        part: a part of the inputs, traced.
        values: of the traced tensors, in the graph under construction.
    """

    def __init__(self, part: tf.Tensor, values: Values):
        self._part, self._values = part, values
        self._places: dict[Any, tf.Tensor | None] = {}
        self._words: dict[Any, tf.Tensor | None] = {}
        self._cells: dict[Any, tf.Tensor | None] = {}

    def places(self, index: tf.Tensor) -> tf.Tensor | None:
        """For each of the ids, int32 in their shape, the place of its number in the part, row by row.

        `NOWHERE` for an id that is not from the part; None where ids have no places: those of a text are made of it.
        """
        return self._followed(index, self._places, self._place, tf.constant(NOWHERE))

    def words(self, index: tf.Tensor) -> tf.Tensor | None:
        """For each of the ids, in their shape, the word of the text; None where the part is not split into words."""
        return self._followed(index, self._words, self._word, tf.constant(""))

    def grid(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor] | None:
        """For ids in one list, the place of each in a grid with a row for each sample, and the shape of that grid.

        The grid is that of the part, or that of the words of texts: ``(N, T)`` with T words in the longest. None where
        ids have no places.
        """
        places = self.places(index)
        if places is not None:
            return places, tf.shape(self._values[self._part])
        cells = self._followed(index, self._cells, self._cell, tf.constant(NOWHERE))
        if cells is None or self._part.shape[1:].num_elements() not in (None, 1):
            return None
        split = next(op for op in reversed(ancestors(index, known=[self._part])) if op.type in SPLITS)
        return cells, self._rows_of_words(split)[1]

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

    def _followed(self, tensor: tf.Tensor, known: dict[Any, tf.Tensor | None], start: Any, empty: tf.Tensor) -> Any:
        if tensor.ref() not in known:
            found = start(tensor)
            if found is None and tensor.op.type not in SPLITS:
                found = self._moved(tensor, lambda each: self._followed(each, known, start, empty), empty)
            known[tensor.ref()] = found
        return known[tensor.ref()]

    def _moved(self, tensor: tf.Tensor, of: Any, empty: tf.Tensor) -> tf.Tensor | None:
        """The origins of what an operation makes, from those of what it reads."""
        op = tensor.op
        origins = [of(source) for source in op.inputs]
        if all(each is None for each in origins):
            return None
        if op.type in FILLED_UP:
            values, default = FILLED_UP[op.type]
            sources = [self._values[each] for each in op.inputs]
            sources[values], sources[default] = origins[values], empty
            return None if origins[values] is None else replay(op, *sources)[tensor.value_index]
        if op.type == "SparseCross":
            # One id for each row, made of one number or word of each column.
            is_single = all(each.shape.rank == 2 and each.shape[1] == 1 for each in op.inputs)
            columns = [tf.reshape(each, [-1]) for each in origins if each is not None]
            return columns[0] if is_single and tensor.value_index == 1 else None
        if op.type == "TopKV2" and origins[0] is not None:
            chosen = self._values[op.outputs[1]]
            return tf.gather(origins[0], chosen, batch_dims=op.outputs[1].shape.rank - 1)
        by_table = op.type in GATHERS and origins[1] is not None
        if op.type in REARRANGEMENTS and not by_table:
            return self._rearranged(op, origins, empty)[tensor.value_index]
        if op.type in PADS:
            return None if origins[0] is None else tf.pad(origins[0], self._values[op.inputs[1]], constant_values=empty)
        if op.type not in ONE_BY_ONE:
            return None
        pairs = list(zip(op.inputs, origins, strict=True))[by_table:]
        return next((origin for source, origin in pairs if origin is not None and _alike(source, tensor)), None)

    def _rearranged(self, op: tf.Operation, origins: list[tf.Tensor | None], empty: tf.Tensor) -> list[tf.Tensor]:
        """The origins of the numbers of a rearrangement: they are rearranged likewise."""
        filled = []
        for source, origin in zip(op.inputs, origins, strict=True):
            value = self._values[source]
            is_joined = op.type in JOINS and source.dtype == op.outputs[0].dtype
            others = tf.fill(tf.shape(value), empty) if is_joined else value
            filled.append(others if origin is None else origin)
        if op.type == "ConcatV2":
            filled[-1] = self._values[op.inputs[-1]]
        return replay(op, *filled)


def _alike(source: tf.Tensor, result: tf.Tensor) -> bool:
    """Whether an operation that treats each number alone makes one number of each of a source."""
    return result.op.type in IDENTITIES or repr(source.shape) == repr(result.shape)
