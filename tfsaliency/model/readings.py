"""A text that a model reads in several ways: as a whole, as words, as letters.

What is told of each way lies side by side. Ways that split the text alike are one, however many words each keeps.
"""

import tensorflow as tf

from tfsaliency.graph.ancestry import alike, ancestors
from tfsaliency.graph.operations import SPLITS
from tfsaliency.graph.trace import Values
from tfsaliency.model.looked_up import LookedUp


class Readings:
    """The ways in which a model reads one part of the inputs.

    Args:
        part: the traced part.
        leaves: what is looked up for it.

    Attributes:
        has_words: whether the part is a text that is split.
    """

    def __init__(self, part: tf.Tensor, leaves: list[LookedUp]):
        self._part = part
        self._leaves = leaves
        self._splits = [_split(part, leaf.lookup.index) for leaf in leaves]
        self.has_words = any(split is not None for split in self._splits)
        # Each way by the first of the leaves that read in it.
        self._ways = [
            next(first for first, each in enumerate(self._splits) if _same(each, split)) for split in self._splits
        ]

    def laid_out(self, leaf: LookedUp, told: tf.Tensor, values: Values) -> tf.Tensor:
        """One number for each word of one leaf as ``(N, T)``, with zeros at the words of other ways."""
        if not self.has_words:
            return told
        begin, total = self._begin(leaf, values), tf.add_n([*self._lengths(values).values()])
        told = tf.reshape(told, [tf.shape(told)[0], -1])
        return tf.pad(told, [[0, 0], [begin, total - begin - tf.shape(told)[1]]])

    def share_of(self, leaf: LookedUp, shares: tf.Tensor, values: Values) -> tf.Tensor:
        """Of numbers ``(copies, N, T)`` for all words those of one leaf."""
        if not self.has_words:
            return shares
        begin, length = self._begin(leaf, values), tf.shape(self._words(leaf, values))[1]
        own = shares[:, :, begin : begin + length]
        is_whole = self._splits[self._leaves.index(leaf)] is None
        return tf.reshape(own, tf.concat([tf.shape(shares)[:1], tf.shape(values[self._part])], 0)) if is_whole else own

    def words(self, values: Values) -> tf.Tensor:
        """``(N, T)``."""
        lengths = self._lengths(values)
        found: dict[int, tf.Tensor] = {}
        for leaf, way in zip(self._leaves, self._ways, strict=True):
            words = self._words(leaf, values)
            words = tf.pad(words, [[0, 0], [0, lengths[way] - tf.shape(words)[1]]], constant_values="")
            found[way] = tf.where(tf.equal(found[way], ""), words, found[way]) if way in found else words
        return tf.concat([*found.values()], axis=1)

    def _begin(self, leaf: LookedUp, values: Values) -> tf.Tensor:
        own = self._ways[self._leaves.index(leaf)]
        before = [length for way, length in self._lengths(values).items() if way < own]
        return tf.add_n(before) if before else tf.constant(0)

    def _lengths(self, values: Values) -> dict[int, tf.Tensor]:
        """How many words there are of each way."""
        lengths: dict[int, tf.Tensor] = {}
        for leaf, way in zip(self._leaves, self._ways, strict=True):
            length = tf.shape(self._words(leaf, values))[1]
            lengths[way] = tf.maximum(lengths[way], length) if way in lengths else length
        return lengths

    def _words(self, leaf: LookedUp, values: Values) -> tf.Tensor:
        """``(N, T)``; the text itself where it is read as a whole."""
        words = leaf.words(self._part, values)
        text = values[self._part]
        return tf.reshape(text, [tf.shape(text)[0], -1]) if words is None else words


def _split(part: tf.Tensor, index: tf.Tensor) -> tf.Tensor | None:
    """The words that ids are made of; None where they are made of a whole text, or of no text."""
    if part.dtype != tf.string:
        return None
    splits = (op for op in reversed(ancestors(index, known=[part])) if op.type in SPLITS)
    return next((each for op in splits for each in op.outputs if each.dtype == tf.string), None)


def _same(first: tf.Tensor | None, second: tf.Tensor | None) -> bool:
    return first is second or (first is not None and second is not None and alike(first, second))
