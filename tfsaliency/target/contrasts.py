"""The difference of two logits: why this class, and not that one."""

import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.base.structure import flatten, names
from tfsaliency.model.logits import Logits
from tfsaliency.target.base import (
    Rows,
    Target,
    check_classes,
    count_of,
    named_per_sample,
    one_output,
    only_output,
    whole_numbers_or_none,
)
from tfsaliency.target.places import at_position, check_position, of_each_row

_Chosen = int | tuple[int, ...] | None


@dataclass(frozen=True)
class Contrast(Target):
    """The logit of one class less that of another, at one position where the output is a sequence."""

    winner: _Chosen = None
    loser: _Chosen = None
    position: _Chosen = None

    @property
    def waits(self) -> bool:  # type: ignore[override]
        return self.winner is None or self.loser is None

    @property
    def key(self) -> Hashable:
        return Contrast, self.winner is None, self.loser is None, self.position is None

    def given(self, samples: int) -> dict[str, np.ndarray]:
        return named_per_sample({"class": self.winner, "foil": self.loser, "position": self.position}, samples)

    def count(self) -> int:
        return count_of(self.winner, self.loser, self.position)

    def check(self, logits: Logits, given: dict[str, np.ndarray]) -> None:
        values = one_output(logits)
        check_position(values, given.get("position"))
        classes = values.shape[-1]
        if classes == 1:
            raise ValueError(
                "A contrast is between two classes. The output has one unit: its two sides are "
                "tfsaliency.target.binary(0) and binary(1), and under a sigmoid the classes 0 and 1."
            )
        for name in ("class", "foil"):
            check_classes(given.get(name), classes)

    def choose(self, logits: Logits, given: Rows) -> Rows:
        outputs = at_position(only_output(logits.outputs), given.get("position"))
        top, second = tf.unstack(tf.math.top_k(outputs, 2).indices, axis=-1)
        if "foil" in given:
            # The top class apart from the foil: of a class against itself there is nothing to explain.
            return {"class": tf.where(tf.equal(top, given["foil"]), second, top), **given}
        winner = given.get("class", top)
        return {**given, "class": winner, "foil": tf.where(tf.equal(top, winner), second, top)}

    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        values = at_position(one_output(logits), chosen.get("position"))
        of_winner, of_loser = (of_each_row(values, chosen[name]) for name in ("class", "foil"))
        return of_winner - of_loser

    def __str__(self) -> str:
        named = {"winner": self.winner, "loser": self.loser, "position": self.position}
        return f"contrast({', '.join(f'{name}={each}' for name, each in named.items() if each is not None)})"


@dataclass(frozen=True)
class NextId(Contrast):
    """What a language model is asked without a target: its next id, the top one against the runner-up.

    Args:
        place: of the part of the inputs that it goes on with, among all parts.
        filler: the id that fills up short rows, None where it is not known.
    """

    place: int = 0
    filler: int | None = None

    def check_inputs(self, inputs: Any) -> None:
        parts = flatten(inputs)
        ids = parts[self.place]
        marks = {} if self.filler is None else {f"(ids != {self.filler})": ids != self.filler}
        for name, part in zip(names(inputs), parts, strict=True):
            if part is not ids and part.shape == ids.shape and _marks_ends(part):
                marks[f"inputs[{name!r}]" if isinstance(inputs, dict) else f"inputs[{name}]"] = part
        for name, mark in marks.items():
            padded = np.flatnonzero(mark[:, -1] == 0)
            if padded.size:
                warnings.warn(
                    f"Without a target a language model is asked what follows the last position, and in the samples "
                    f"{padded[:5].tolist()} that is padding, by {name}. Say where each text ends, lengths = "
                    f"{name}.sum(axis=1) and target=tfsaliency.target.contrast(position=lengths - 1).",
                    stacklevel=4,
                )
                return


def _marks_ends(part: np.ndarray) -> bool:
    """Whether a part is 1 up to the end of each text and 0 from there on, as a padding mask is."""
    if part.dtype.kind not in "biu":
        return False
    numbers = part.astype("int64")
    return bool((numbers[:, 0] == 1).all() and (numbers >= 0).all() and (np.diff(numbers, axis=1) <= 0).all())


def contrast(winner: Any = None, loser: Any = None, *, position: Any = None) -> Target:
    """The logit of one class less that of another: why the model prefers the one.

    Formula:
        ``S = z_winner - z_loser``, at one position where the output is a sequence ``(N, T, classes)``.

    It is the default for a language model, whose next word is one choice among many: most of what raises its logit
    raises others too.

    Args:
        winner: the class that is explained, or one per sample; None for the top class.
        loser: the class that it is compared with, or one per sample; None for the best class besides the winner.
        position: the place in an output that is a sequence, or one per sample; negative numbers count from the end, and
            None is the last place. In a text that is filled up at its end, that is a place of padding: pass
            ``lengths - 1``.

    The choice is in the explanation: ``target`` is the winner, and ``diagnostics["foil"]`` the loser.

    Raises:
        ValueError: a class is compared with itself; or on ``explain``, if the output has no such class or position.

    Source:
        Yin & Neubig 2022, Interpreting Language Models with Contrastive Explanations.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, use_bias=False)])
        >>> model.set_weights([np.array([[1.0, 2.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0], [0.0, 5.0, 0.0, 7.0]])])
        >>> explanation = tfs.Gradient(model).explain(np.ones((1, 3)), tfs.target.contrast())
        >>> explanation.target, explanation.diagnostics["foil"], explanation.values
        (array([1], dtype=int32), array([3], dtype=int32), array([[ 2.,  1., -2.]], dtype=float32))
    """
    winners, losers = whole_numbers_or_none("winner", winner), whole_numbers_or_none("loser", loser)
    if winners is not None and losers is not None and _meet(np.asarray(winners), np.asarray(losers)):
        raise ValueError(f"A class is compared with another one. Received: winner {winner} and loser {loser}")
    return Contrast(winners, losers, whole_numbers_or_none("position", position))


def _meet(winners: np.ndarray, losers: np.ndarray) -> bool:
    """Whether a sample has one class for both."""
    # How many samples there are is checked against the inputs.
    is_paired = winners.size == losers.size or 1 in (winners.size, losers.size)
    return is_paired and bool((winners == losers).any())


def margin(winner: int, loser: int) -> Target:
    """The difference of two logits: it explains why the model prefers one class to the other.

    Args:
        winner: the class that is explained.
        loser: the class that it is compared with.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        >>> tfs.Gradient(model).explain(np.ones((2, 3)), tfs.target.margin(0, 1)).values.shape
        (2, 3)
    """
    return contrast(winner, loser)
