"""Parametrizations of a picture: the numbers that the optimizer of a class visualization changes."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

# Square root of the covariance of ImageNet's colours, from Olah, Mordvintsev & Schubert 2017, scaled so that no channel
# is amplified: a change of one number moves the channels together, as in photographs.
COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], "float32")
COLOURS /= np.linalg.norm(COLOURS, axis=0).max()


@dataclass(frozen=True)
class Pixels:
    """The numbers are the picture, in the model's own units and without bounds, and start at zero.

    Source:
        Simonyan, Vedaldi & Zisserman 2014, section 2.
    """

    def start(self, shape: tuple[int, ...], seed: int) -> tf.Tensor:
        """The initial numbers, of shape ``shape``."""
        return tf.zeros(shape)

    def picture(self, numbers: tf.Tensor, shape: tuple[int, ...], low: float, high: float) -> tf.Tensor:
        """``(n, *shape)`` numbers as pictures."""
        return numbers


@dataclass(frozen=True)
class Fourier:
    """The numbers are the picture's spectrum in decorrelated colours, mapped into the range of the input.

    The picture starts grey. An optimizer of pixels changes all frequencies equally and finds noise. An optimizer of a
    spectrum with the ``1/f`` of photographs finds shapes.

    Args:
        decay: power of the frequency by which amplitudes fall.
        contrast: how strongly the numbers change the picture.

    Source:
        Olah, Mordvintsev & Schubert 2017, Feature Visualization, "Preconditioning and Parameterization".
    """

    decay: float = 1.0
    contrast: float = 0.25

    def start(self, shape: tuple[int, ...], seed: int) -> tf.Tensor:
        """Real and imaginary part of a weak random spectrum, ``(2, channels, height, width // 2 + 1)``."""
        if len(shape) != 3:
            raise ValueError(
                f"The Fourier parametrization makes pictures (height, width, channels). Received: shape {shape}. "
                "ClassVisualization.simonyan takes inputs of any shape."
            )
        height, width, channels = shape
        return 0.01 * tf.random.stateless_normal((2, channels, height, width // 2 + 1), (seed, 0))

    def picture(self, numbers: tf.Tensor, shape: tuple[int, ...], low: float, high: float) -> tf.Tensor:
        """``(n, 2, channels, height, width // 2 + 1)`` numbers as pictures ``(n, height, width, channels)``."""
        height, width, _ = shape
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        amplitude = np.sqrt(height * width) / np.maximum(frequency, 1 / max(height, width)) ** self.decay
        spectrum = tf.complex(numbers[:, 0], numbers[:, 1]) * amplitude.astype("complex64")
        waves = tf.transpose(tf.signal.irfft2d(spectrum, [height, width]), [0, 2, 3, 1]) * self.contrast
        if waves.shape[-1] == 3:
            waves = tf.einsum("nhwk,ck->nhwc", waves, COLOURS)
        return low + (high - low) * tf.sigmoid(waves)
