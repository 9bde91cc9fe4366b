"""A Gaussian blur along all axes of space or time, with a width of its own for every sample."""

import tensorflow as tf

# Below this width a Gaussian is one pixel wide, and its square could underflow.
LEAST = 1e-3


def blur(x: tf.Tensor, sigma: tf.Tensor, is_read: tf.Tensor | None = None) -> tf.Tensor:
    """Blurs ``x`` along every axis between the first and the last.

    Near a border the weights inside are scaled to sum to one, so a constant stays unchanged.

    Args:
        x: ``(N, ..., channels)``. A table ``(N, F)`` has no space and is returned unchanged.
        sigma: ``(N,)`` standard deviations, in steps of the axes. A sample with 0 is returned unchanged.
        is_read: which numbers are no padding, of the shape of ``x``. Padding stays as it is, and has no weight in the
            means of what is around it.
    """
    if is_read is not None:
        weights = blur(tf.cast(is_read, x.dtype), sigma)
        return tf.where(is_read, tf.math.divide_no_nan(blur(tf.where(is_read, x, 0.0), sigma), weights), x)
    shape = x.shape
    for axis in range(1, shape.rank - 1):
        places = tf.range(tf.shape(x)[axis])
        distance = tf.cast(places[:, None] - places[None], x.dtype)
        weights = tf.exp(-0.5 * tf.square(distance / tf.maximum(sigma, LEAST)[:, None, None]))
        weights /= tf.reduce_sum(weights, axis=2, keepdims=True)
        moved = tf.experimental.numpy.moveaxis(x, axis, 1)
        rows = tf.reshape(moved, [tf.shape(x)[0], tf.shape(x)[axis], -1])
        x = tf.experimental.numpy.moveaxis(tf.reshape(tf.matmul(weights, rows), tf.shape(moved)), 1, axis)
    return tf.ensure_shape(x, shape)
