"""Rings of spatial frequency: how much of a map is coarse and how much is fine."""

import tensorflow as tf

from tfsaliency.tensors.sums import sizes_of

# Fourier transforms of the last axes and back, by the number of these axes.
TRANSFORMS = {
    0: (tf.identity, tf.identity),
    1: (tf.signal.fft, tf.signal.ifft),
    2: (tf.signal.fft2d, tf.signal.ifft2d),
    3: (tf.signal.fft3d, tf.signal.ifft3d),
}


def ring_powers(maps: tf.Tensor) -> tf.Tensor:
    """The sum of squares of each map, split by how fast its numbers change from place to place, in any direction.

    The first ring is the mean over all places, the next one the waves of which one fits into the shortest axis, the
    third those of which two fit, up to half a wave more or less. The rings of a map add up to its sum of squares
    (Parseval). A table has no places, and one ring.

    Args:
        maps: ``(N, *places, channels)``, with up to three axes of places.

    Returns:
        ``(N, rings)``, float32.

    Raises:
        ValueError: more axes of places.
    """
    *places, _ = sizes_of(maps)
    powers = tf.reduce_sum(tf.square(tf.abs(_waves(maps))), axis=1) / tf.cast(tf.reduce_prod(places), tf.float32)
    ring, rings = _rings(places)
    of_waves = tf.transpose(tf.reshape(powers, [-1, tf.size(ring)]))
    return tf.transpose(tf.math.unsorted_segment_sum(of_waves, tf.reshape(ring, [-1]), rings))


def scaled_by_ring(maps: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Maps ``(N, *places, channels)``, each ring of them times its factor ``(N, rings)``."""
    *places, _ = sizes_of(maps)
    ring, _ = _rings(places)
    scaled = _waves(maps) * tf.cast(tf.gather(factors, ring, axis=1)[:, tf.newaxis], tf.complex64)
    _, back = TRANSFORMS[len(places)]
    return tf.experimental.numpy.moveaxis(tf.math.real(back(scaled)), 1, -1)


def _waves(maps: tf.Tensor) -> tf.Tensor:
    """The Fourier transform over the places, ``(N, channels, *places)``."""
    axes = maps.shape.rank - 2
    if axes not in TRANSFORMS:
        raise ValueError(
            f"Waves are told apart along up to three axes of places. Received: {axes}, in inputs of the shape "
            f"{tuple(maps.shape)}. SmoothGrad takes any."
        )
    forth, _ = TRANSFORMS[axes]
    return forth(tf.cast(tf.experimental.numpy.moveaxis(maps, -1, 1), tf.complex64))


def _rings(places: list[tf.Tensor | int]) -> tuple[tf.Tensor, tf.Tensor]:
    """The ring of each wave, ``(*places)``, and the number of rings."""
    shortest = tf.cast(tf.reduce_min([*places, tf.int32.max]), tf.float32)
    squares = tf.zeros([])
    for size in places:
        waves = tf.range(size)
        # The waves of the second half are those of the first one, backwards.
        share = tf.cast(tf.minimum(waves, size - waves) / size, tf.float32)
        squares = squares[..., tf.newaxis] + tf.square(share * shortest)
    ring = tf.cast(tf.round(tf.sqrt(squares)), tf.int32)
    return ring, tf.reduce_max(ring) + 1
