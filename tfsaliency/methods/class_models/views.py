import math
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Views:
    """Random views of a picture: a class that shows in all of them does not depend on single pixels.

    Each step of an optimizer draws one view, the same for all pictures of a batch.

    Args:
        shift: largest shift in each direction, as a share of the picture's size.
        scale: smallest and largest magnification; pixels from outside the picture are mid-grey.
        rotation: largest rotation in either direction, in degrees.
        contrast: largest change of contrast, as a share; brightness changes by up to a quarter of it.
        noise: largest standard deviation of Gaussian noise, as a share of the range, at the first and at the last step:
            strong noise at first lets the optimizer find only large shapes, and details appear as it fades.
        blur: largest standard deviation of a Gaussian blur, in pixels.

    Source:
        Olah, Mordvintsev & Schubert 2017, Feature Visualization, "Transformation Robustness".
    """

    shift: float = 0.1
    scale: tuple[float, float] = (0.5, 1.1)
    rotation: float = 15.0
    contrast: float = 0.2
    noise: tuple[float, float] = (0.35, 0.02)
    blur: float = 0.0

    def __post_init__(self) -> None:
        smallest, largest = self.scale
        if not 0 < smallest <= largest:
            raise ValueError(f"scale is a pair (smallest, largest) above 0. Received: {self.scale}")
        for name in ("shift", "rotation", "contrast", "blur"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is at least 0. Received: {getattr(self, name)}")
        if min(self.noise) < 0:
            raise ValueError(f"noise is a pair of shares, at least 0. Received: {self.noise}")

    def __call__(self, pictures: tf.Tensor, progress: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """One view of the pictures.

        Args:
            pictures: ``(n, height, width, channels)``, -1 to 1.
            progress: share of the steps that are done, a scalar.
            seed: two int32.
        """
        draws = tf.random.stateless_uniform((8,), seed, -1, 1)
        seen = self._move(pictures, draws[:4])
        if self.blur:
            seen = self._soften(seen, tf.abs(draws[4]))
        seen = seen * (1 + self.contrast * draws[5]) + 0.5 * self.contrast * draws[6]
        first, last = self.noise
        deviation = 2 * (first + (last - first) * progress) * tf.abs(draws[7])
        return seen + deviation * tf.random.stateless_normal(pictures.shape[1:], seed)

    def _move(self, pictures: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        height, width = pictures.shape[1:3]
        smallest, largest = map(math.log, self.scale)
        scale = tf.exp(smallest + (largest - smallest) * (draws[0] + 1) / 2)
        angle = draws[1] * math.radians(self.rotation)
        cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
        x, y = (width - 1) / 2, (height - 1) / 2
        right = x - cos * x + sin * y + draws[2] * self.shift * width
        down = y - sin * x - cos * y + draws[3] * self.shift * height
        zero = tf.zeros([])
        transform = tf.stack([cos, -sin, right, sin, cos, down, zero, zero])
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=pictures,
            transforms=transform[None],
            output_shape=[height, width],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )

    def _soften(self, pictures: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        radius = math.ceil(3 * self.blur)
        places = tf.range(-radius, radius + 1, dtype=tf.float32)
        weights = tf.nn.softmax(-0.5 * tf.square(places / (self.blur * share + 1e-3)))
        channels = pictures.shape[-1]
        padded = tf.pad(pictures, [[0, 0], [radius, radius], [radius, radius], [0, 0]], "SYMMETRIC")
        for kernel in (weights[:, None], weights[None]):
            filters = tf.tile(kernel[..., None, None], [1, 1, channels, 1])
            padded = tf.nn.depthwise_conv2d(padded, filters, [1, 1, 1, 1], "VALID")
        return padded
