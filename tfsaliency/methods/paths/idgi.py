from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.methods.paths.integral import PathIntegral
from tfsaliency.methods.paths.integrated_gradients import IntegratedGradients
from tfsaliency.tensors.sums import along, samples_of, total


@dataclass(frozen=True, eq=False)
class IDGI(Wrapper):
    """Important Direction Gradient Integration: only the part of each path step along the gradient counts.

    Formula:
        ``v = sum over steps of g * g / (sum g * g) (S(end) - S(start))``, with ``g`` the gradient in the middle of the
        step (or at the node of the inner method's rule). All contributions of one step have the same sign. The values
        sum to ``S(x) - S(x0)`` for any number of steps.

    The values are complete by construction, so completeness does not show whether the steps are enough. IDGI is known
    to need more steps than its inner method.

    Args:
        inner: `IntegratedGradients` or `BlurIntegratedGradients`; or a Keras model, which gets `IntegratedGradients`.

    Raises:
        TypeError: the inner explainer follows no path.

    Source:
        Yang, Wang & Bilgic 2023, IDGI: A Framework to Eliminate Explanation Noise from Integrated Gradients.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        >>> explanation = tfs.IDGI(tfs.IntegratedGradients(model, steps=4)).explain(np.ones((1, 3)))
        >>> bool(np.isclose(explanation.values.sum(), explanation.scores[0]))
        True
    """

    inner: Explainer

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Explainer):
            object.__setattr__(self, "inner", IntegratedGradients(self.inner))
        if not isinstance(self.inner, PathIntegral):
            raise TypeError(
                "IDGI takes a model, IntegratedGradients or BlurIntegratedGradients: a method that follows a path. "
                f"Received: {self.inner}"
            )
        super().__post_init__()

    def attribute(self, x: Any, score: Score) -> Attribution:
        assert isinstance(self.inner, PathIntegral)
        paths = self.inner.paths(x, score)

        def change(numbers: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> Any:
            """How much the score moves, for each number of the inputs the same."""
            among = score.among(numbers % samples_of(x))
            before, after = (among.at(paths.at(numbers, end_of_step)) for end_of_step in (start, end))
            return tf.nest.map_structure(lambda part: along(after - before, part), x)

        return self.inner.integrate(x, score, paths._replace(move=change), self._direction)

    def _direction(self, x: Any, score: Score) -> Any:
        """What of a step's change each number gets."""
        assert isinstance(self.inner, PathIntegral)
        squares = tf.nest.map_structure(tf.square, self.inner.slopes(x, score))
        whole = total(squares)
        return tf.nest.map_structure(lambda part: tf.math.divide_no_nan(part, along(whole, part)), squares)
