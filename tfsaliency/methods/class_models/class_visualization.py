import math
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.base.meaning import Meaning
from tfsaliency.base.options import check_amount, check_count
from tfsaliency.engine.ask import ask
from tfsaliency.engine.provenance import provenance
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Method
from tfsaliency.explanation import Visualization
from tfsaliency.graph.gradients import gradient
from tfsaliency.methods.class_models.parametrization import Fourier, Pixels
from tfsaliency.methods.class_models.views import Views
from tfsaliency.target.classes import ClassTarget
from tfsaliency.target.outputs import as_target
from tfsaliency.tensors.sums import samples_of, total


@dataclass(frozen=True, eq=False)
class ClassVisualization(Method):
    """The picture of a class as the network sees it: an optimizer paints the input with the highest score.

    Formula:
        ``argmax_I  S_c(I) - rivals * log sum_k exp S_k(I) - penalty * |I|^2 - total_variation * TV(I)``, on average
        over the random views of ``I``, by Adam. ``S`` are the logits; ``TV`` is measured with the range of the input as
        [-1, 1].

    The defaults look for what a person recognises. `simonyan` is the plain setting of the paper, which finds the class
    for the network and noise for the eye.

    Args:
        model: a Keras model of one image input.
        low: the smallest number in an input.
        high: the largest. The defaults suit inputs of mean 0 and deviation 1; pass 0 and 1, or 0 and 255, for others.
        steps: of the optimizer.
        learning_rate: of the optimizer at the first step; it falls to a tenth along a cosine.
        parametrization: what the optimizer turns, `Fourier` or `Pixels`.
        views: the random views, None for the picture as it is.
        rivals: how much the other classes count; of a class target on a softmax model only.
        penalty: weight of the squared norm of the input.
        total_variation: weight of the differences between neighbours; of images only.
        shape: of one input, for a model that does not declare it.
        seed: the same seed gives the same picture.

    Raises:
        TypeError: the model is none of Keras.
        ValueError: low is not below high, no steps, or a weight below zero.

    Source:
        Simonyan, Vedaldi & Zisserman 2014, Deep Inside Convolutional Networks, section 2; Olah, Mordvintsev & Schubert
        2017, Feature Visualization, for parametrization and views.

    Example:
        >>> import keras, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
        >>> visualization = tfs.ClassVisualization(model, steps=5).explain(target=[0, 3])
        >>> visualization.values.shape
        (2, 8, 8, 3)
    """

    model: keras.Model
    low: float = -2.0
    high: float = 2.0
    steps: int = 384
    learning_rate: float = 0.03
    parametrization: Fourier | Pixels = Fourier()
    views: Views | None = Views()
    rivals: float = 0.5
    penalty: float = 0.0
    total_variation: float = 1e-3
    shape: tuple[int, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise ValueError(f"low is below high. Received: low={self.low}, high={self.high}")
        check_count("steps", self.steps)
        check_count("seed", self.seed, 0)
        for name in ("learning_rate", "rivals", "penalty", "total_variation"):
            check_amount(name, getattr(self, name))

    @classmethod
    def simonyan(
        cls,
        model: keras.Model,
        *,
        penalty: float = 1e-3,
        steps: int = 200,
        learning_rate: float = 0.05,
        shape: tuple[int, ...] | None = None,
    ) -> "ClassVisualization":
        """The plain setting of the paper: pixels from zero, the class score, and an L2 penalty.

        For inputs of any shape.

        Formula:
            ``argmax_I  S_c(I) - penalty * |I|^2``.

        Args:
            model: a Keras model of one input.
            penalty: weight of the squared norm of the input.
            steps: of the optimizer.
            learning_rate: of the optimizer at the first step; it falls to a tenth along a cosine.
            shape: of one input, for a model that does not declare it.

        Source:
            Simonyan, Vedaldi & Zisserman 2014, Deep Inside Convolutional Networks, section 2.

        Example:
            >>> import keras, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> tfs.ClassVisualization.simonyan(model, steps=5).explain(target=1).values.shape
            (1, 3)
        """
        return cls(
            model,
            steps=steps,
            learning_rate=learning_rate,
            parametrization=Pixels(),
            views=None,
            rivals=0.0,
            penalty=penalty,
            total_variation=0.0,
            shape=shape,
        )

    def explain(self, target: Any, *, progress: bool = False) -> Visualization:
        """Paints one picture for each target.

        Args:
            target: a class, several classes, or what `tfsaliency.target` makes.
            progress: draws a progress bar over the steps.

        Returns:
            ``values`` are the pictures, inputs of the model, ``(n, height, width, channels)``; ``inputs`` is where each
            started; ``scores`` are the explained logits of the pictures, and ``diagnostics["score_at_start"]`` those of
            the start.

        Raises:
            ValueError: no target, a class that the model does not have, or a model that is not one of images.

        Example:
            >>> import keras, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
            >>> visualization = tfs.ClassVisualization(model, steps=5).explain(target=[0, 3])
            >>> bool((visualization.scores > visualization.diagnostics["score_at_start"]).all())
            True
        """
        start = time.perf_counter()
        chosen = as_target(target)
        count = chosen.count()
        if chosen.waits:
            raise ValueError(
                f"A class visualization needs a target: the class, or a list of classes. Received: {target}"
            )
        shape = self._shape()
        blank = self._pictures(self._start(shape)[None], shape)
        answer = ask(self, np.repeat(blank, count, axis=0), chosen, progress=progress)
        seconds = time.perf_counter() - start
        diagnostics = dict(answer.diagnostics)
        return Visualization(
            values=answer.result.values,
            inputs=answer.batch.given,
            target=answer.classes,
            scores=diagnostics.pop("score"),
            method=str(self),
            diagnostics=diagnostics | {"score_at_start": answer.result.scores},
            explained=answer.function.explained,
            provenance=provenance(self.model, chosen, seconds) | answer.notes,
        )

    @property
    def meaning(self) -> Meaning:
        return "painting"

    def attribute(self, x: Any, score: Score) -> Attribution:
        if not score.is_of_inputs:
            raise ValueError(
                "A class visualization paints an input of numbers. Received: a model that looks up vectors for its "
                "inputs, as for token ids: there are no numbers to paint."
            )
        # Names an operation without a gradient before any step is made: the penalty alone would have one.
        score.gradient(x)
        shape = tuple(x.shape[1:])
        start = self._start(shape)
        numbers = tf.tile(start[None], [samples_of(x)] + [1] * start.shape.rank)

        def step(done: tf.Tensor, state: _Adam) -> tuple[tf.Tensor, _Adam]:
            pictures = self._pictures(state.numbers, shape)
            ascent = gradient(self._objective(pictures, score, done), pictures, is_half=score.is_half)
            (descent,) = tf.gradients(pictures, state.numbers, -ascent)
            after = state.stepped(descent, done, self._learning_rate(done))
            with tf.control_dependencies([after.numbers]):
                score.advance(tf.constant(1 / self.steps))
                return done + 1, after

        zeros = tf.zeros_like(numbers)
        _, state = tf.while_loop(
            lambda done, state: done < self.steps, step, (0, _Adam(numbers, zeros, zeros)), parallel_iterations=1
        )
        painted = self._pictures(state.numbers, shape)
        return Attribution(painted, {"score": score.at(painted)})

    def _start(self, shape: tuple[int, ...]) -> tf.Tensor:
        return self.parametrization.start(shape, self.seed)

    def _pictures(self, numbers: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
        return self.parametrization.picture(numbers, shape, self.low, self.high)

    def _learning_rate(self, done: tf.Tensor) -> tf.Tensor:
        """Falls to a tenth along a cosine."""
        progress = tf.cast(done, tf.float32) / self.steps
        return self.learning_rate * (0.1 + 0.9 * 0.5 * (1 + tf.cos(math.pi * progress)))

    def _objective(self, pictures: tf.Tensor, score: Score, done: tf.Tensor) -> tf.Tensor:
        """``(n,)``: what each picture is worth at this step."""
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        seen = pictures
        if self.views is not None:
            progress = tf.cast(done, tf.float32) / self.steps
            seen = self.views((pictures - middle) / half, progress, tf.stack([self.seed, done + 1])) * half + middle
        worth, logits = score.answer(seen)
        if self.rivals and isinstance(score.target, ClassTarget) and logits.links in ("Softmax", "LogSoftmax"):
            worth -= self.rivals * tf.reduce_logsumexp(logits.values, axis=-1)
        if self.penalty:
            worth -= self.penalty * total(tf.square(pictures))
        if self.total_variation:
            worth -= self.total_variation * tf.image.total_variation(pictures / half)
        return worth

    def _shape(self) -> tuple[int, ...]:
        shape = self.shape or getattr(self.model, "input_shape", None)
        if isinstance(shape, tuple) and self.shape is None and all(isinstance(size, int | None) for size in shape):
            shape = shape[1:]
        if not (isinstance(shape, tuple) and shape and all(isinstance(size, int) for size in shape)):
            raise ValueError(
                "A class visualization needs the shape of the model's one input, e.g. shape=(224, 224, 3). "
                f"The model declares: {shape}"
            )
        if len(shape) != 3 and (self.views is not None or self.total_variation):
            raise ValueError(
                f"views and total_variation are of pictures (height, width, channels). Received: shape {shape}. "
                "ClassVisualization.simonyan takes inputs of any shape, and so does parametrization=Pixels() with "
                "views=None and total_variation=0."
            )
        return shape


# The constants of Kingma & Ba 2015, Adam.
_DECAY, _DECAY_OF_SQUARES, _EPSILON = 0.9, 0.999, 1e-7


class _Adam(NamedTuple):
    """The numbers that the optimizer Adam turns, with its running means of gradients and of their squares."""

    numbers: tf.Tensor
    mean: tf.Tensor
    square: tf.Tensor

    def stepped(self, descent: tf.Tensor, done: tf.Tensor, rate: tf.Tensor) -> "_Adam":
        """After one more step down a gradient."""
        count = tf.cast(done + 1, tf.float32)
        mean = _DECAY * self.mean + (1 - _DECAY) * descent
        square = _DECAY_OF_SQUARES * self.square + (1 - _DECAY_OF_SQUARES) * tf.square(descent)
        rate *= tf.sqrt(1 - _DECAY_OF_SQUARES**count) / (1 - _DECAY**count)
        return _Adam(self.numbers - rate * mean / (tf.sqrt(square) + _EPSILON), mean, square)
