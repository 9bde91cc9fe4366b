from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.base.letters import check_letters
from tfsaliency.base.options import check_count
from tfsaliency.engine.copies import Block, scores_of_copies
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer
from tfsaliency.model.foreign import as_black_box


@dataclass(frozen=True, eq=False)
class Mutagenesis(Explainer):
    """In-silico mutagenesis: the change of the score when a letter of a sequence becomes another one.

    Formula:
        ``v[p, c] = S(x with letter c at place p) - S(x)``, ``(N, L, C)``; zero for the letter that is there.

    It costs ``C`` forward passes for each place, and needs no gradient. It is the accepted check of a map of DNA: where
    two letters can stand in for each other, changing one of them shows neither.

    Args:
        model: a Keras model; or any function of arrays ``(N, L, C)``, see `BlackBox`.
        start: the first place that is changed.
        stop: the place behind the last one; None for the end of the sequence. Values of all other places are zero.

    Raises:
        ValueError: on ``explain``, if the inputs are no sequences of letters ``(N, L, C)``, with a one for the letter
            of each place and zeros for the others, or have no such places.

    Source:
        Zhou & Troyanskaya 2015, Predicting Effects of Noncoding Variants with Deep Learning-Based Sequence Model.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3, 4)), keras.layers.Flatten()])
        >>> model.add(keras.layers.Dense(1, use_bias=False))
        >>> model.set_weights([np.arange(12.0)[:, None]])
        >>> letters = np.eye(4)[[[0, 2, 1]]]
        >>> tfs.Mutagenesis(model).explain(letters).values
        array([[[ 0.,  1.,  2.,  3.],
                [-2., -1.,  0.,  1.],
                [-1.,  0.,  1.,  2.]]], dtype=float32)
    """

    model: keras.Model
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_black_box(self.model))
        super().__post_init__()
        check_count("start", self.start, 0)
        if self.stop is not None:
            check_count("stop", self.stop)

    def check_options(self, inputs: Any) -> None:
        super().check_options(inputs)
        check_letters("Mutagenesis", inputs)
        (part,) = tf.nest.flatten(inputs)
        stop = part.shape[1] if self.stop is None else self.stop
        if not self.start < stop <= part.shape[1]:
            raise ValueError(
                f"The sequences have the places 0 to {part.shape[1] - 1}. Received: start={self.start}, stop={stop}"
            )

    def attribute(self, x: Any, score: Score) -> Attribution:
        at_x = score.at(x)
        (part,) = tf.nest.flatten(x)
        length, letters = tf.shape(part)[1], part.shape[2]
        stop = length if self.stop is None else tf.constant(self.stop)

        def ask(block: Block) -> tf.Tensor:
            first, count = block
            numbers = tf.range(first, first + count)
            is_place = tf.one_hot(self.start + numbers // letters, length)[:, None, :, None]
            letter = tf.one_hot(numbers % letters, letters)[:, None, None, :]
            changed = part * (1 - is_place) + is_place * letter
            return score.at(tf.nest.pack_sequence_as(x, [tf.reshape(changed, [-1, length, letters])]))

        places = stop - self.start
        changes = scores_of_copies(places * letters, x, score, ask) - at_x
        values = tf.transpose(tf.reshape(changes, [places, letters, -1]), [2, 0, 1])
        values = tf.pad(values, [[0, 0], [self.start, length - stop], [0, 0]])
        # The letter that is there is not changed: what is left is rounding.
        return Attribution(tf.nest.pack_sequence_as(x, [tf.where(part > 0.5, 0.0, values)]))
