from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfsaliency.base.options import check_amount
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer
from tfsaliency.methods.paths.integral import PathIntegral
from tfsaliency.methods.paths.path import Paths
from tfsaliency.tensors.blur import blur

# The widest blur by default, in pixels, and the share of an axis that it is at most: one in so many.
WIDEST, AXES = 50.0, 4


@dataclass(frozen=True, eq=False)
class BlurIntegratedGradients(PathIntegral):
    """Blur Integrated Gradients: the sum of gradients along a path from the blurred input to the input itself.

    Formula:
        ``v = integral over s from sigma to 0 of dS(x_s) / dx dx_s/ds ds``, with ``x_s`` the input under a Gaussian blur
        of standard deviation ``s``. The values sum to ``S(x) - S(x_sigma)``.

    No input on the path has more detail than the input itself. Regions as smooth as the blur get zero. A table among
    the inputs has no space to blur and gets zero too.

    By default the sum is refined, with the ``diagnostics`` of `IntegratedGradients`.

    Args:
        inner: a Keras model, or an explainer whose values replace the gradient.
        sigma: the largest standard deviation, in pixels or time steps. By default 50, as in the paper, and in inputs of
            less than 200 pixels a quarter of their longest axis: a wider blur leaves them as they are for most of the
            way, and gradients see little of the short part in which they change.

    Raises:
        ValueError: an option is out of range, or the inputs have no axis of space or time (on ``explain``).

    Source:
        Xu, Venugopalan & Sundararajan 2020, Attribution in Scale and Space.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
        >>> bool(tfs.BlurIntegratedGradients(model, sigma=4).explain(x).diagnostics["converged"][0])
        True
    """

    inner: Explainer
    sigma: float | None = None
    steps: int | None = None
    tolerance: float = 0.1
    quadrature: str = "midpoint"
    budget: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma is not None:
            check_amount("sigma", self.sigma)

    def paths(self, x: Any, score: Score) -> Paths:
        score.check_channels_last()
        # A category is one place.
        if all(part.shape.rank < 3 or set(part.shape[1:-1]) == {1} for part in tf.nest.flatten(x)):
            shapes = [tuple(part.shape) for part in tf.nest.flatten(x)]
            raise ValueError(f"A table has no space to blur. Use IntegratedGradients. Received: inputs {shapes}")

        parts = list(zip(tf.nest.flatten(x), score.is_read(x), strict=True))

        def at(samples: tf.Tensor, position: tf.Tensor) -> Any:
            rows = [[each if each is None else tf.gather(each, samples) for each in pair] for pair in parts]
            seen = [blur(part, self._largest(part) * (1 - position), is_read) for part, is_read in rows]
            return tf.nest.pack_sequence_as(x, seen)

        def move(samples: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> Any:
            return tf.nest.map_structure(tf.subtract, at(samples, end), at(samples, start))

        return Paths(1, at, move)

    def _largest(self, part: tf.Tensor) -> tf.Tensor:
        """The standard deviation at the start of the path of one part of the inputs."""
        if self.sigma is not None or part.shape.rank < 3:
            return tf.constant(self.sigma or 0.0, tf.float32)
        longest = tf.cast(tf.reduce_max(tf.shape(part)[1:-1]), tf.float32)
        return tf.minimum(WIDEST, longest / AXES)
