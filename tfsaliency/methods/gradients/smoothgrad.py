import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import tensorflow as tf

from tfsaliency.base.meaning import Meaning
from tfsaliency.base.options import check_amount, check_count
from tfsaliency.engine.copies import Block
from tfsaliency.engine.moments import Before, Moments, residuals
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.methods.gradients.gradient import as_explainer
from tfsaliency.methods.sampled import Sampled
from tfsaliency.tensors.draws import drawn, stream
from tfsaliency.tensors.places import block_means
from tfsaliency.tensors.sums import inner_axes, sizes_of
from tfsaliency.transforms import square


@dataclass(frozen=True, eq=False)
class NoisyCopies(Sampled, Wrapper):
    """Runs another explainer on noisy copies of the inputs.

    Copy ``j`` of every sample gets the same random draw, scaled by the range of the sample. So a map does not depend on
    the other samples of the batch or on the number of copies per model call, and all methods use the same noise.
    Padding of series that the model masks, as behind `keras.layers.Masking`, gets none.

    Args:
        inner: a Keras model, for its `Gradient`, or any explainer.
        samples: number of noisy copies, at least 1 (`VarGrad`: at least 2).
        noise: standard deviation of the noise as a share of each input's ``max - min``. A constant input gets no noise,
            and neither does one that is a single number, such as a column of its own: ``provenance["noise"]`` says so.
            Columns of one scale have noise together as one input, ``keras.Input((columns,))``.
        seed: the same seed gives the same map.
    """

    inner: Explainer
    samples: int = 50
    noise: float = 0.15
    seed: int = 0
    tolerance: float | None = None
    budget: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", as_explainer(self.inner))
        super().__post_init__()
        check_amount("noise", self.noise)
        check_count("seed", self.seed, 0)
        if self.tolerance is not None and self._depth:
            raise ValueError(
                "A tolerance needs copies that differ by this noise alone. Received: an inner explainer that draws "
                f"noise itself, {self.inner}. Say how many samples: tolerance=None"
            )

    def attribute(self, x: Any, score: Score) -> Attribution:
        score.resolve()
        single = sum(part.shape[1:].num_elements() == 1 for part in tf.nest.flatten(x))
        if single:
            score.note("noise", f"none on {single} inputs that are a single number")
        (_, terms), used = self.find(x, score, self._values_of, partial(self._terms, score))
        told = self.told(terms, used)
        if self._depth:
            # A noisy inner explainer uses the same draws for all copies, so their spread does not show its error.
            told = {name: tf.fill(tf.shape(error), math.nan) for name, error in told.items()}
        return Attribution(self._map(terms.of("map"), used), told)

    def told(self, terms: Moments, used: Any) -> dict[str, tf.Tensor]:
        told = super().told(terms, used)
        if terms.mean["blocks"]:
            told["relative_error_of_blocks"] = self.error(terms.of("blocks"), used)
        return told

    @property
    def asked(self) -> Explainer:
        """The explainer whose values are averaged."""
        return self.inner

    def _terms(self, score: Score, values: Any, before: Before) -> dict[str, Any]:
        """What is averaged: that which makes the map, and what its error is told of besides."""
        averaged = self._averaged(values, before)
        # Vectors that are looked up for ids are no picture.
        return {"map": averaged, "blocks": block_means(averaged) if score.is_of_inputs else []}

    def _averaged(self, values: Any, before: Before) -> Any:
        """What the map is the mean of, from the values of copies and the copies before."""
        return values

    def _map(self, moments: Moments, copies: Any) -> Any:
        """The map, from the moments of what makes it."""
        return moments.mean

    @property
    def _depth(self) -> int:
        """The number of wrappers inside this one that also draw noise."""
        depth, inner = 0, self.inner
        while isinstance(inner, Wrapper):
            depth += isinstance(inner, NoisyCopies)
            inner = inner.inner
        return depth

    def _values_of(self, x: Any, score: Score, block: Block) -> Any:
        """The values of a block of noisy copies, ``(count * N, ...)``."""
        return self.asked.attribute(self._noisy(x, score, *block), score).values

    def _noisy(self, x: Any, score: Score, first: tf.Tensor, count: tf.Tensor) -> Any:
        """Copies ``first`` to ``first + count`` of the inputs, stacked in blocks: ``(count * N, ...)``."""
        parts = []
        for place, (part, is_read) in enumerate(zip(tf.nest.flatten(x), score.is_read(x), strict=True)):
            noise = self.noise * _extent(part, is_read) * self._draws(place, part, first, count)[:, None]
            copies = part + (noise if is_read is None else tf.where(is_read, noise, 0.0))
            parts.append(tf.reshape(copies, [-1, *sizes_of(part)]))
        return tf.nest.pack_sequence_as(x, parts)

    def _draws(self, place: int, part: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Standard normal draws in the shape of a sample, ``(count, ...)``; each depends only on its own number."""
        # Each nested wrapper and each part of an input has its own stream: shared draws would be correlated.
        seed = stream(self.seed, self._depth, place)
        sizes = sizes_of(part)
        return drawn(
            lambda number: tf.random.stateless_normal(sizes, tf.stack([seed, number])), first, count, part.shape[1:]
        )


def _extent(part: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
    """``max - min`` of each sample, of what is no padding; zero where all of it is."""
    axes = inner_axes(part)
    low, high = (
        (part, part) if is_read is None else (tf.where(is_read, part, end) for end in (part.dtype.max, part.dtype.min))
    )
    return tf.nn.relu(tf.reduce_max(high, axes, keepdims=True) - tf.reduce_min(low, axes, keepdims=True))


@dataclass(frozen=True, eq=False)
class SmoothGrad(NoisyCopies):
    """The mean of another explainer's values over noisy copies of the input.

    Formula:
        ``v = 1/n sum_j f(x + e_j)``, ``e_j ~ N(0, (noise * (max x - min x))^2)``, ``f`` the inner explainer.

    ``diagnostics["relative_error"]``, ``(N,)``, estimates ``||v - E v|| / ||E v||`` from the variance of the samples:
    the distance from this map to the map of infinitely many samples. It falls with the square root of ``samples``. It
    is infinite if the map is not distinguishable from noise, and NaN for one sample or for an inner explainer that
    draws noise itself. ``relative_error_of_blocks`` is that of the means over blocks of 8 x 8 pixels, channels summed,
    for pictures of at least that size: a person looks at blocks, and of photographs they settle long before single
    pixels. With a tolerance, which is for pixels, there are ``samples_used`` and ``converged`` too. A signed map of a
    real network takes hundreds of copies for a tolerance of 0.5, a map of absolute values
    (``SmoothGrad(Gradient(model).then(absolute), tolerance=0.2)``) about thirty. The paper advises ``noise`` from 0.1
    to 0.2.

    Raises:
        ValueError: an option is out of range; a tolerance for an inner explainer that draws noise itself.

    Source:
        Smilkov, Thorat, Kim, Viegas & Wattenberg 2017, SmoothGrad: removing noise by adding noise.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> explanation = tfs.SmoothGrad(model, samples=8).explain(np.ones((1, 3)) * [1, 2, 3])
        >>> explanation.values.shape, explanation.method
        ((1, 3), 'SmoothGrad(Gradient, samples=8, noise=0.15, seed=0, tolerance=None, budget=1000)')
    """


@dataclass(frozen=True, eq=False)
class SmoothGradSquared(NoisyCopies):
    """The mean of the squares of another explainer's values over noisy copies of the input.

    Formula:
        ``v = 1/n sum_j f(x + e_j)^2``, with the noise of `SmoothGrad`; never negative.

    Source:
        Hooker, Erhan, Kindermans & Kim 2019, A Benchmark for Interpretability Methods in Deep Neural Networks, section
        4.1.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> bool((tfs.SmoothGradSquared(model).explain(np.eye(3)).values >= 0).all())
        True
    """

    @property
    def asked(self) -> Explainer:
        return self.inner.then(square)

    @property
    def meaning(self) -> Meaning:
        return "magnitude"

    @property
    def gives_slopes(self) -> bool:
        return False


@dataclass(frozen=True, eq=False)
class VarGrad(NoisyCopies):
    """The variance of another explainer's values over noisy copies of the input.

    Formula:
        ``v = 1/n sum_j (f(x + e_j) - m)^2``, with ``m`` the map of `SmoothGrad` and ``e_j`` its noise.

    The relative errors are those of `SmoothGrad`, for ``E v = (n - 1) / n`` of the variance; NaN for two samples.

    Raises:
        ValueError: samples below 2, and as `SmoothGrad`.

    Source:
        Adebayo, Gilmer, Goodfellow & Kim 2018, Local Explanation Methods for Deep Neural Networks Lack Sensitivity to
        Parameter Values.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(2)])
        >>> bool((tfs.VarGrad(model).explain(np.eye(3)).values > 0).all())
        True
    """

    # One sample has no variance.
    fewest: ClassVar[int] = 2

    @property
    def meaning(self) -> Meaning:
        return "magnitude"

    @property
    def gives_slopes(self) -> bool:
        return False

    def _averaged(self, values: Any, before: Before) -> Any:
        return tf.nest.map_structure(tf.square, residuals(values, before))

    def error(self, moments: Moments, copies: Any) -> tf.Tensor:
        return moments.without_first(copies).relative_error(copies - 1)
