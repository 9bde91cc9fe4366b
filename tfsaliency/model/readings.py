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
    """

    def __init__(self, part: tf.Tensor, leaves: list[LookedUp]):
        self._part, self._leaves = part, leaves
        splits = [_split(part, leaf.lookup.index) for leaf in leaves]
        self._is_split = any(split is not None for split in splits)
        # Each way by the first of the leaves that read in it.
        self._ways = [next(first for first, each in enumerate(splits) if _same(each, split)) for split in splits]

    def at(self, values: Values) -> "SideBySide | None":
        """The words of all ways, from the values of a network; None where the part is not split."""
        return SideBySide(self._part, self._leaves, self._ways, values) if self._is_split else None


class SideBySide:
    """The words of all ways to read a text, one way behind the other.

    Args:
        part: the traced text.
        leaves: what is looked up for it.
        ways: for each leaf the number of the first one that reads as it does.
        values: of the traced tensors.

    Attributes:
        words: ``(N, T)``.
    """

    def __init__(self, part: tf.Tensor, leaves: list[LookedUp], ways: list[int], values: Values):
        text = values[part]
        # A text that is read as a whole is its own word.
        whole = tf.reshape(text, [tf.shape(text)[0], -1])
        found = [leaf.words(part, values) for leaf in leaves]
        self._leaves, self._of_text = leaves, tf.shape(text)
        self._is_whole = [words is None for words in found]
        of_leaves = [whole if words is None else words for words in found]
        self._lengths = [tf.shape(words)[1] for words in of_leaves]
        self._begins: dict[int, tf.Tensor] = {}
        laid_out: list[tf.Tensor] = []
        end = tf.constant(0)
        for way in dict.fromkeys(ways):
            words, *others = (each for each, own in zip(of_leaves, ways, strict=True) if own == way)
            for other in others:
                words = _merged(words, other)
            self._begins |= {leaf: end for leaf, own in enumerate(ways) if own == way}
            laid_out.append(words)
            end += tf.shape(words)[1]
        # Of texts without a word there is one empty word: nothing counts, draws or keeps an axis of none.
        self._total = tf.maximum(end, 1)
        self.words = tf.pad(tf.concat(laid_out, axis=1), [[0, 0], [0, self._total - end]], constant_values="")

    def laid_out(self, leaf: LookedUp, told: tf.Tensor) -> tf.Tensor:
        """One number for each word of one leaf as ``(N, T)``, with zeros at the words of other ways."""
        begin = self._begins[self._leaves.index(leaf)]
        told = tf.reshape(told, [tf.shape(told)[0], -1])
        return tf.pad(told, [[0, 0], [begin, self._total - begin - tf.shape(told)[1]]])

    def share_of(self, leaf: LookedUp, shares: tf.Tensor) -> tf.Tensor:
        """Of numbers ``(copies, N, T)`` for all words those of one leaf."""
        number = self._leaves.index(leaf)
        begin = self._begins[number]
        own = shares[:, :, begin : begin + self._lengths[number]]
        return tf.reshape(own, tf.concat([tf.shape(own)[:1], self._of_text], 0)) if self._is_whole[number] else own


def _merged(words: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """The same words ``(N, T)`` of which each keeps some, as many as the one that keeps most."""
    length = tf.maximum(tf.shape(words)[1], tf.shape(others)[1])
    words, others = (
        tf.pad(each, [[0, 0], [0, length - tf.shape(each)[1]]], constant_values="") for each in (words, others)
    )
    return tf.where(tf.equal(words, ""), others, words)


def _split(part: tf.Tensor, index: tf.Tensor) -> tf.Tensor | None:
    """The words that ids are made of; None where they are made of a whole text, or of no text."""
    if part.dtype != tf.string:
        return None
    splits = (op for op in reversed(ancestors(index, known=[part])) if op.type in SPLITS)
    return next((each for op in splits for each in op.outputs if each.dtype == tf.string), None)


def _same(first: tf.Tensor | None, second: tf.Tensor | None) -> bool:
    return first is second or (first is not None and second is not None and alike(first, second))
