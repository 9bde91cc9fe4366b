import zlib
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from tfsaliency.checks import check_amount, check_count
from tfsaliency.explainer import Attribution, Explainer, Wrapper
from tfsaliency.methods.copies import Block, over_copies
from tfsaliency.methods.gradient import as_explainer
from tfsaliency.methods.total import total
from tfsaliency.score import Score
from tfsaliency.transforms import square


class Moments(NamedTuple):
    """Of the inner values over the noisy copies, float32, in the structure of the values.

    Attributes:
        mean: ``(N, ...)``.
        spread: ``(N, ...)``, the sum of squared deviations from the mean.
    """

    mean: Any
    spread: Any


@dataclass(frozen=True, eq=False)
class NoisyCopies(Wrapper):
    """Asks another explainer about noisy copies of the inputs.

    Copy ``j`` of every sample gets the same draw, scaled by the sample's own range. So a map depends neither on the
    rest of the batch nor on how many copies go through the model at once, and methods are compared on the same noise.

    Args:
        inner: a Keras model, for its `Gradient`, or any explainer.
        samples: how many noisy copies, at least 1.
        noise: standard deviation of the noise as a share of each input's ``max - min``; an input that has none gets
            none.
        seed: the same seed gives the same map.
    """

    inner: Explainer
    samples: int = 50
    noise: float = 0.15
    seed: int = 0
    fewest: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", as_explainer(self.inner))
        super().__post_init__()
        check_count("samples", self.samples, self.fewest)
        check_amount("noise", self.noise)
        check_count("seed", self.seed, 0)

    @property
    def asked(self) -> Explainer:
        """Whose values are averaged."""
        return self.inner

    @property
    def _depth(self) -> int:
        """How many wrappers inside this one draw noise too."""
        depth, inner = 0, self.inner
        while isinstance(inner, Wrapper):
            depth += isinstance(inner, NoisyCopies)
            inner = inner.inner
        return depth

    def moments(self, x: Any, score: Score) -> Moments:
        """Asks about all copies, a device batch at a time, in one loop of the graph."""
        score.resolve()
        batch = tf.shape(tf.nest.flatten(x)[0])[0]

        def of_block(first: tf.Tensor, count: tf.Tensor) -> Moments:
            values, _ = self.asked.attribute(self._noisy(x, first, count), score)
            stacked = tf.nest.map_structure(lambda part: tf.reshape(part, [count, batch, *part.shape[1:]]), values)
            mean = tf.nest.map_structure(lambda part: tf.reduce_mean(part, axis=0), stacked)
            spread = tf.nest.map_structure(
                lambda part, centre: tf.reduce_sum(tf.math.squared_difference(part, centre), axis=0),
                stacked,
                mean,
            )
            return Moments(mean, spread)

        # Traced on its own because the loop needs the shape of its values before it starts.
        with score.silent():
            traced = tf.function(of_block, autograph=False).get_concrete_function(*[tf.TensorSpec([], tf.int32)] * 2)
        start = tf.nest.map_structure(
            lambda spec: tf.zeros([batch, *spec.shape[1:]], spec.dtype), traced.structured_outputs
        )

        def step(so_far: Moments, block: Block) -> Moments:
            first, count = block
            return _merge(so_far, first, Moments(*traced(first, count)), count)

        return over_copies(self.samples, x, score, step, start)

    def _noisy(self, x: Any, first: tf.Tensor, count: tf.Tensor) -> Any:
        """Copies ``first`` to ``first + count`` of the inputs, stacked in blocks: ``(count * N, ...)``."""
        parts = []
        for place, part in enumerate(tf.nest.flatten(x)):
            axes = list(range(1, part.shape.rank))
            extent = tf.reduce_max(part, axes, keepdims=True) - tf.reduce_min(part, axes, keepdims=True)
            draws = self._draws(place, part.shape[1:], first, count)
            copies = part + self.noise * extent * draws[:, None]
            parts.append(tf.reshape(copies, [-1, *part.shape[1:]]))
        return tf.nest.pack_sequence_as(x, parts)

    def _draws(self, place: int, shape: tf.TensorShape, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Standard normal draws, ``(count, *shape)``, of which each depends on its own number alone."""
        # Nested wrappers and the parts of an input draw from streams of their own: shared draws would be correlated.
        stream = zlib.crc32(f"{self.seed}/{self._depth}/{place}".encode()) >> 1
        return tf.map_fn(
            lambda draw: tf.random.stateless_normal(shape, tf.stack([stream, draw])),
            tf.range(first, first + count),
            fn_output_signature=tf.TensorSpec(shape, tf.float32),
        )


def _merge(a: Moments, in_a: tf.Tensor, b: Moments, in_b: tf.Tensor) -> Moments:
    """Moments of two groups together (Chan, Golub & LeVeque 1983), without the cancellation of a sum of squares."""
    share = tf.cast(in_b, tf.float32) / tf.cast(in_a + in_b, tf.float32)

    def spread(spread_a: tf.Tensor, spread_b: tf.Tensor, mean_a: tf.Tensor, mean_b: tf.Tensor) -> tf.Tensor:
        between = tf.math.squared_difference(mean_a, mean_b) * tf.cast(in_a, tf.float32) * share
        return spread_a + spread_b + between

    return Moments(
        tf.nest.map_structure(lambda mean_a, mean_b: mean_a + (mean_b - mean_a) * share, a.mean, b.mean),
        tf.nest.map_structure(spread, a.spread, b.spread, a.mean, b.mean),
    )


@dataclass(frozen=True, eq=False)
class SmoothGrad(NoisyCopies):
    """The mean of another explainer's values over noisy copies of the input.

    Formula:
        ``v = 1/n sum_j f(x + e_j)``, ``e_j ~ N(0, (noise * (max x - min x))^2)``, ``f`` the inner explainer.

    ``diagnostics["relative_error"]``, ``(N,)``, estimates ``||v - E v|| / ||E v||`` from the samples' own variance: how
    far this map is from the one that infinitely many samples would give. It falls with the square root of ``samples``;
    it is infinite where the map cannot be told from noise, and NaN for one sample.

    Args:
        inner: a Keras model, for its `Gradient`, or any explainer.
        samples: how many noisy copies, at least 1.
        noise: standard deviation of the noise as a share of each input's ``max - min``; the paper advises 0.1 to 0.2.
        seed: the same seed gives the same map.

    Raises:
        ValueError: samples below 1 or noise below 0.

    Source:
        Smilkov, Thorat, Kim, Viegas & Wattenberg 2017, SmoothGrad: removing noise by adding noise.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> explanation = tfs.SmoothGrad(model, samples=8).explain(np.ones((1, 3)) * [1, 2, 3])
        >>> explanation.values.shape, explanation.method
        ((1, 3), 'SmoothGrad(Gradient, samples=8, noise=0.15, seed=0)')
    """

    def attribute(self, x: Any, score: Score) -> Attribution:
        mean, spread = self.moments(x, score)
        return Attribution(mean, {"relative_error": self._relative_error(mean, spread)})

    def _relative_error(self, mean: Any, spread: Any) -> tf.Tensor:
        # The draws of a noisy inner explainer are the same for all copies: their error does not show between copies.
        if self.samples == 1 or self._depth:
            return tf.fill([tf.shape(tf.nest.flatten(mean)[0])[0]], float("nan"))
        variance = total(spread) / (self.samples * (self.samples - 1))
        # The mean's own square holds its variance once too much: E |m|^2 = |E m|^2 + Var m.
        signal = total(tf.nest.map_structure(tf.square, mean)) - variance
        error = tf.sqrt(tf.math.divide_no_nan(variance, tf.nn.relu(signal)))
        return tf.where((signal <= 0) & (variance > 0), float("inf"), error)


@dataclass(frozen=True, eq=False)
class SmoothGradSquared(SmoothGrad):
    """The mean of the squares of another explainer's values over noisy copies of the input.

    Formula:
        ``v = 1/n sum_j f(x + e_j)^2``, with the noise of `SmoothGrad`; never negative.

    Args:
        inner: a Keras model, for its `Gradient`, or any explainer.
        samples: how many noisy copies, at least 1.
        noise: standard deviation of the noise as a share of each input's ``max - min``.
        seed: the same seed gives the same map.

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


@dataclass(frozen=True, eq=False)
class VarGrad(NoisyCopies):
    """The variance of another explainer's values over noisy copies of the input.

    Formula:
        ``v = 1/n sum_j (f(x + e_j) - m)^2``, with ``m`` the mean, which is `SmoothGrad`, and its noise.

    Args:
        inner: a Keras model, for its `Gradient`, or any explainer.
        samples: how many noisy copies, at least 2.
        noise: standard deviation of the noise as a share of each input's ``max - min``.
        seed: the same seed gives the same map.

    Raises:
        ValueError: samples below 2 or noise below 0.

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

    def attribute(self, x: Any, score: Score) -> Attribution:
        _, spread = self.moments(x, score)
        return Attribution(tf.nest.map_structure(lambda part: part / self.samples, spread))
