from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from tfsaliency.engine.moments import Before, Moments
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.methods.gradients.smoothgrad import NoisyCopies
from tfsaliency.tensors.rings import ring_powers, scaled_by_ring
from tfsaliency.tensors.sums import of_copies, sizes_of, total


@dataclass(frozen=True, eq=False)
class DenoisedSmoothGrad(NoisyCopies):
    """`SmoothGrad`, with the waves that its few samples leave noisy scaled down: nearer to many samples, but biased.

    Formula:
        The map of `SmoothGrad` is split into rings of spatial frequency, and ring ``k`` is multiplied by
        ``g_k = max(0, 1 - N_k / P_k)``: the filter of Wiener. ``P_k`` is the power of the ring in the map, ``N_k`` the
        part of it that is noise: the variance between the samples over their number.

    Nearer means a smaller L2 distance to the map of infinitely many samples, and so a higher cosine with it. The price
    is a bias that more samples at the same noise do not average out: fine waves, which are the noisy ones, are too
    small in it. Both are told. ``diagnostics["relative_error"]``, ``(N,)``, estimates the distance of this map, bias
    included, as that of `SmoothGrad` does; ``diagnostics["relative_bias"]``, ``(N,)``, how much of the map of
    infinitely many samples the filter takes away. Both are shares of that map's norm.

    A series has rings of one axis. A table, which has no places, has one ring: all of it is scaled alike.

    Raises:
        ValueError: samples below 2, and as `SmoothGrad`.

    Source:
        Wiener 1949, Extrapolation, Interpolation and Smoothing of Stationary Time Series; the noise of `SmoothGrad`.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.Flatten()]
        ... )
        >>> explanation = tfs.DenoisedSmoothGrad(model, samples=8).explain(np.eye(8)[None, :, :, None])
        >>> sorted(explanation.diagnostics), explanation.values.shape
        (['relative_bias', 'relative_error'], (1, 8, 8, 1))
    """

    # The noise is known from the difference between samples.
    fewest: ClassVar[int] = 2

    def error(self, moments: Moments, copies: Any) -> tf.Tensor:
        # E|m - E v|^2 = sum_k g_k N_k for the filtered map m.
        return _share(moments, copies, lambda rings: rings.gains * rings.noise)

    def told(self, terms: Moments, used: Any) -> dict[str, tf.Tensor]:
        bias = _share(terms.of("map"), used, lambda rings: tf.square(1 - rings.gains) * rings.signal)
        return {**super().told(terms, used), "relative_bias": bias}

    def attribute(self, x: Any, score: Score) -> Attribution:
        score.check_channels_last()
        values, told = super().attribute(x, score)
        # The filter spreads what is beside padding that the model masks.
        parts = [
            part if is_read is None else tf.where(_over(is_read, part), part, 0.0)
            for part, is_read in zip(tf.nest.flatten(values), score.is_read(x), strict=True)
        ]
        return Attribution(tf.nest.pack_sequence_as(values, parts), told)

    def _terms(self, score: Score, values: Any, before: Before) -> dict[str, Any]:
        # Blocks of the map before it is filtered would tell of another one.
        return {"map": {"values": values, "powers": tf.nest.map_structure(_powers, values)}, "blocks": []}

    def _map(self, moments: Moments, copies: Any) -> Any:
        gains = [rings.gains for rings in _rings(moments, copies)]
        values = moments.mean["values"]
        scaled = list(map(scaled_by_ring, tf.nest.flatten(values), gains))
        # Waves go below zero where a map cannot. There zero is nearer to the map of infinitely many samples.
        kept = scaled if self.meaning == "signed" else list(map(tf.nn.relu, scaled))
        return tf.nest.pack_sequence_as(values, kept)


class _Rings(NamedTuple):
    """The rings of one part of the inputs, each ``(N, rings)``.

    Attributes:
        signal: the estimated power of the map of infinitely many samples.
        noise: the estimated power of what the mean of the samples has besides.
        gains: what each ring is multiplied by.
    """

    signal: tf.Tensor
    noise: tf.Tensor
    gains: tf.Tensor


def _rings(moments: Moments, copies: Any) -> list[_Rings]:
    """The rings of each part, from the mean of the values and the mean of the powers of so many copies."""
    others = tf.reshape(tf.cast(copies, tf.float32) - 1, [-1, 1])
    found = []
    for mean, powers in zip(*map(tf.nest.flatten, (moments.mean["values"], moments.mean["powers"])), strict=True):
        power = ring_powers(mean)
        noise = tf.nn.relu(powers - power) / others
        signal = tf.nn.relu(power - noise)
        found.append(_Rings(signal, noise, tf.math.divide_no_nan(signal, power)))
    return found


def _share(moments: Moments, copies: Any, power: Callable[[_Rings], tf.Tensor]) -> tf.Tensor:
    """``(N,)``: the root of a power, as a share of the norm of the map of infinitely many samples."""
    rings = _rings(moments, copies)
    signal = total([each.signal for each in rings])
    return tf.where(signal > 0, tf.sqrt(tf.math.divide_no_nan(total(list(map(power, rings))), signal)), float("inf"))


def _over(is_read: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Which values are of no padding: of all channels where there is one value for them."""
    return tf.reduce_any(is_read, axis=-1, keepdims=True) if part.shape[-1] == 1 else is_read


def _powers(part: tf.Tensor) -> tf.Tensor:
    """``(count, N, rings)``: the powers of copies ``(count, N, ...)``."""
    return of_copies(ring_powers(tf.reshape(part, [-1, *sizes_of(part)[1:]])), tf.shape(part)[0])
