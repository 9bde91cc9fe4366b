import time
from dataclasses import dataclass, fields
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfsaliency import forward
from tfsaliency.checks import check_amount, check_built, check_count, check_range, check_values
from tfsaliency.compiled import rows_for
from tfsaliency.explanation import Visualization
from tfsaliency.methods.gradient import gradient
from tfsaliency.methods.parametrization import Fourier, Pixels
from tfsaliency.methods.views import Views
from tfsaliency.provenance import provenance
from tfsaliency.target import ClassTarget, Target, as_target


@dataclass(frozen=True, eq=False)
class ClassVisualization:
    """The picture that a class looks like to the network: an optimizer paints it.

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
        if not isinstance(self.model, keras.Model):
            raise TypeError(f"ClassVisualization takes a keras.Model. Received: {type(self.model).__name__}")
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
        index = chosen.given(count)
        if index is None and chosen.chooses:
            raise ValueError("A class visualization needs a target: the class, or a list of classes. Received: None")
        check_built(self.model)
        shape = self._shape()
        classes = np.zeros(count, "int32") if index is None else index
        logits, units = self._trace(shape, chosen)
        check_range(index, units)
        rows, chunks = rows_for(logits.row_bytes), []
        with tqdm(total=self.steps * -(-count // rows), desc="painting", unit="step", disable=not progress) as bar:
            for first in range(0, count, rows):
                chunks.append(self._paint(shape, chosen, classes[first : first + rows], bar))
        values, starts, scores, scores_at_start = map(np.concatenate, zip(*chunks, strict=True))
        return Visualization(
            values=values,
            inputs=starts,
            target=index,
            scores=scores,
            method=str(self),
            diagnostics={"score_at_start": scores_at_start},
            explained=logits.describe(),
            provenance=provenance(self.model, chosen, time.perf_counter() - start),
        )

    def _trace(self, shape: tuple[int, ...], target: Target) -> tuple[forward.Logits, int | None]:
        """The model's logits as symbols, and how many classes there are to choose from."""
        found = []

        @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, *shape))])
        def trace(x: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                tape.watch(x)
                logits = forward.logits(self.model, x)
                score = target.score(logits, tf.zeros([tf.shape(x)[0]], tf.int32))
            # Says which operation lets no gradient through, before any step is made.
            gradient(tape, score, x)
            found.append((logits, target.units(logits)))

        trace.get_concrete_function()
        return found[0]

    def _paint(self, shape: tuple[int, ...], target: Target, classes: np.ndarray, bar: tqdm) -> tuple:
        count = len(classes)
        start = self.parametrization.start(shape, self.seed)
        numbers = tf.Variable(tf.tile(start[None], [count] + [1] * start.shape.rank))
        rate = keras.optimizers.schedules.CosineDecay(self.learning_rate, self.steps, alpha=0.1)
        optimizer = keras.optimizers.Adam(rate)
        optimizer.build([numbers])
        index = tf.constant(classes)

        def picture() -> tf.Tensor:
            return self.parametrization.picture(numbers, shape, self.low, self.high)

        @tf.function(autograph=False)
        def look() -> tuple[tf.Tensor, tf.Tensor]:
            seen = picture()
            logits = forward.logits(self.model, seen)
            return seen, target.score(logits, index)

        @tf.function(autograph=False)
        def step(done: tf.Tensor) -> None:
            with tf.GradientTape() as painting:
                seen = picture()
            with tf.GradientTape() as tape:
                tape.watch(seen)
                worth = self._objective(seen, target, index, done)
            ascent = gradient(tape, worth, seen)
            optimizer.apply([painting.gradient(seen, numbers, output_gradients=-ascent)], [numbers])

        starts, scores_at_start = look()
        for done in range(self.steps):
            step(tf.constant(done))
            bar.update()
        values, scores = look()
        painted = values.numpy()
        check_values(painted)
        return painted, starts.numpy(), scores.numpy(), scores_at_start.numpy()

    def _objective(self, pictures: tf.Tensor, target: Target, index: tf.Tensor, done: tf.Tensor) -> tf.Tensor:
        """``(n,)``: what each picture is worth at this step."""
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        seen = pictures
        if self.views is not None:
            progress = tf.cast(done, tf.float32) / self.steps
            seen = self.views((pictures - middle) / half, progress, tf.stack([self.seed, done + 1])) * half + middle
        logits = forward.logits(self.model, seen)
        worth = target.score(logits, index)
        if self.rivals and isinstance(target, ClassTarget) and logits.links in ("Softmax", "LogSoftmax"):
            worth -= self.rivals * tf.reduce_logsumexp(logits.values, axis=-1)
        if self.penalty:
            worth -= self.penalty * tf.reduce_sum(tf.square(pictures), axis=list(range(1, pictures.shape.rank)))
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
        return shape

    def __str__(self) -> str:
        options = (f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.name != "model")
        return f"ClassVisualization({', '.join(options)})"
