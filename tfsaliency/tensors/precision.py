"""Half-precision networks: gradients that would underflow, and arithmetic that needs more digits."""

import tensorflow as tf

# Gradients of pixels are often smaller than the smallest float16. They are computed this many times larger, and divided
# again in float32.
HALF_SCALE = 1024.0


def precise(tensor: tf.Tensor) -> tf.Tensor:
    """Float16 and bfloat16 as float32; any other tensor unchanged."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor
