"""Targets in an output that is a sequence: one token, or several one after the other."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.model.logits import Logits
from tfsaliency.target.base import (
    Rows,
    Target,
    check_classes,
    check_classes_of_places,
    count_of,
    named_per_sample,
    one_output,
    only_output,
    per_sample,
    rows_per_sample,
    shapes_of,
    whole_numbers,
    whole_numbers_or_none,
)
from tfsaliency.target.places import at_position, check_position, of_each_row, within
from tfsaliency.tensors.sums import sizes_of

# Fills up sequences that are shorter than others.
NONE = -1
# The log-probabilities of what stands below a link; of the output itself where the link is not known.
LOG_PROBABILITIES = {
    "": tf.nn.log_softmax,
    "Softmax": tf.nn.log_softmax,
    "LogSoftmax": tf.nn.log_softmax,
    "Sigmoid": tf.math.log_sigmoid,
}


@dataclass(frozen=True)
class Token(Target):
    """The logit of a class at one position of a sequence."""

    position: int | tuple[int, ...] | None
    index: int | tuple[int, ...] | None

    @property
    def waits(self) -> bool:  # type: ignore[override]
        return self.index is None

    @property
    def key(self) -> Hashable:
        return Token, self.position is None, self.index is None

    def given(self, samples: int) -> dict[str, np.ndarray]:
        return named_per_sample({"position": self.position, "class": self.index}, samples)

    def count(self) -> int:
        return count_of(self.position, self.index)

    def check(self, logits: Logits, given: dict[str, np.ndarray]) -> None:
        values = one_output(logits)
        if values.shape.rank != 3:
            raise ValueError(
                "target.token explains an output of shape (N, T, classes). The model's output has shape "
                f"{shapes_of(values)}: for (N, classes) pass the class alone."
            )
        check_position(values, given.get("position"))
        check_classes_of_places(given.get("class"), values.shape[-1])

    def choose(self, logits: Logits, given: Rows) -> Rows:
        if "class" in given:
            return given
        outputs = at_position(only_output(logits.outputs), given.get("position"))
        return {**given, "class": tf.argmax(outputs, axis=-1, output_type=tf.int32)}

    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        values = at_position(one_output(logits), chosen.get("position"))
        return of_each_row(values, chosen["class"])

    def __str__(self) -> str:
        return f"token(position={self.position}, index={self.index})"


def token(position: Any = None, index: Any = None) -> Target:
    """The logit of one class at one position of an output that is a sequence: a tag, or a language model's next token.

    A causal language model that reads ``inputs`` says at position ``t`` what comes at ``t + 1``.

    Args:
        position: the place, or one per sample; negative numbers count from the end, and None is the last place.
        index: the class or token id, or one per sample; None for the top one there.

    Raises:
        ValueError: on ``explain``, if the output is no sequence, or has no such class or position.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((5,)), keras.layers.Embedding(9, 4)])
        >>> model.add(keras.layers.LSTM(8, return_sequences=True))
        >>> model.add(keras.layers.Dense(3, "softmax"))
        >>> ids = np.array([[3, 8, 1, 4, 2]])
        >>> values = tfs.IntegratedGradients(model).explain(ids, tfs.target.token(2, 1)).values
        >>> values[0, 3:]  # the LSTM has not read them yet
        array([0., 0.], dtype=float32)
    """
    return Token(whole_numbers_or_none("position", position), whole_numbers_or_none("index", index))


@dataclass(frozen=True)
class Sequenced(Target):
    """The sum of the log-probabilities of ids at positions that follow each other."""

    ids: tuple[tuple[int, ...], ...]
    first: int | tuple[int, ...]

    @property
    def key(self) -> Hashable:
        return Sequenced

    def given(self, samples: int) -> dict[str, np.ndarray]:
        longest = max(map(len, self.ids))
        filled = [[*row, *[NONE] * (longest - len(row))] for row in self.ids]
        ids = rows_per_sample("sequences", np.array(filled, "int32"), samples)
        return {"ids": ids, "first": per_sample("first", self.first, samples)}

    def count(self) -> int:
        return max(len(self.ids), count_of(self.first))

    def check(self, logits: Logits, given: dict[str, np.ndarray]) -> None:
        values = one_output(logits)
        if values.shape.rank != 3:
            raise ValueError(
                "target.sequence explains an output of shape (N, T, classes). The model's output has shape "
                f"{shapes_of(values)}"
            )
        check_classes(given["ids"][given["ids"] != NONE], values.shape[-1])
        ends = given["first"] + (given["ids"] != NONE).sum(axis=1)
        length = values.shape[1]
        if given["first"].min() < 0 or (length is not None and ends.max() > length):
            raise ValueError(
                f"The output has {length or 'T'} positions, counted from 0. Received: ids for the positions "
                f"{given['first'].min()} to {ends.max() - 1}"
            )

    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        values, ids = one_output(logits), chosen["ids"]
        is_asked = ids != NONE
        places = tf.where(is_asked, chosen["first"][:, None] + tf.range(tf.shape(ids)[1]), 0)
        steps = of_each_row(values, within(places, tf.shape(values)[1]))
        said = LOG_PROBABILITIES.get(only_output(logits.links), tf.math.log)(steps)
        of_ids = of_each_row(tf.reshape(said, [-1, sizes_of(said)[-1]]), tf.reshape(tf.maximum(ids, 0), [-1]))
        return tf.reduce_sum(tf.where(is_asked, tf.reshape(of_ids, tf.shape(ids)), 0.0), axis=1)

    def told(self, chosen: Rows) -> Rows:
        # A single token is the class that is explained.
        return {"class": chosen["ids"][:, 0]} if chosen["ids"].shape[1] == 1 else {}

    def __str__(self) -> str:
        ids = self.ids[0] if len(self.ids) == 1 else self.ids
        return f"sequence({ids}, first={self.first})"


def sequence(ids: Any, first: Any = 0) -> Target:
    """The log-probability of several tokens one after the other, each given those before it that the model was fed.

    Formula:
        ``S = sum_i log p(ids_i | inputs)``, read at the positions ``first + i`` of the output ``(N, T, classes)``.

    The model is fed the tokens itself (teacher forcing). A causal model whose input is a prompt of ``P`` tokens and
    then ``ids`` says the first of them at position ``P - 1``: ``first=P - 1``. A decoder that is fed a start token and
    then ``ids`` says it at 0.

    Args:
        ids: token ids, or a list of them for each sample; these may differ in length.
        first: the position of the output that says the first of them, or one per sample.

    Raises:
        ValueError: no ids, or on ``explain``, if the output has no such class or position.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((None,)), keras.layers.Embedding(9, 4)])
        >>> model.add(keras.layers.LSTM(8, return_sequences=True))
        >>> model.add(keras.layers.Dense(9))
        >>> prompt, answer = [3, 8], [1, 4]
        >>> explanation = tfs.Gradient(model).explain(np.array([prompt + answer]), tfs.target.sequence(answer, first=1))
        >>> bool(explanation.scores[0] < 0), explanation.values[0, 3]  # the last token is not read before it is said
        (True, np.float32(0.0))
    """
    rows = list(ids) if isinstance(ids, Sequence | np.ndarray) else [ids]
    nested = rows if rows and all(np.ndim(row) == 1 for row in rows) else [rows]
    numbers = [whole_numbers("ids", list(row)) for row in nested]
    checked = tuple(each for each in numbers if isinstance(each, tuple))
    if min(map(min, checked)) < 0:
        raise ValueError(f"Token ids are whole numbers from 0 on. Received: {min(map(min, checked))}")
    start = whole_numbers("first", first)
    return Sequenced(checked, start)
