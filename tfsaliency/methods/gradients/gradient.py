from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer
from tfsaliency.transforms import times_input


@dataclass(frozen=True, eq=False)
class Gradient(Explainer):
    """Vanilla saliency: the gradient of the class score with respect to the input, signed.

    Formula:
        ``v = d S_c(x) / d x``, with ``S_c`` the logit of class ``c``, before the softmax.

    The paper's map is ``Gradient(model).then(tfsaliency.transforms.max_channels)``.

    Args:
        model: any Keras model.

    Source:
        Simonyan, Vedaldi & Zisserman 2014, Deep Inside Convolutional Networks, section 3.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        >>> model.set_weights([np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])])
        >>> tfs.Gradient(model).explain(np.ones((1, 3)), target=1).values
        array([[2., 4., 6.]], dtype=float32)
    """

    model: keras.Model

    @property
    def gives_slopes(self) -> bool:
        return True

    def attribute(self, x: Any, score: Score) -> Attribution:
        return Attribution(score.gradient(x)[1])


@dataclass(frozen=True, eq=False)
class GradientTimesInput(Gradient):
    """The gradient times the input: the contribution of each number to the score, exact where the model is linear.

    Formula:
        ``v = x * d S_c(x) / d x``. For a ReLU network without biases the values sum to the score.

    Source:
        Shrikumar et al. 2016, Not Just a Black Box, section 2.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 3)))
        >>> bool(np.isclose(explanation.values.sum(), explanation.scores))
        True
    """

    @property
    def gives_slopes(self) -> bool:
        return False

    def attribute(self, x: Any, score: Score) -> Attribution:
        values, diagnostics = super().attribute(x, score)
        return Attribution(tf.nest.map_structure(times_input, values, x), diagnostics)


def as_explainer(explained: keras.Model | Explainer) -> Explainer:
    """Returns an explainer unchanged, and the `Gradient` of a model."""
    return explained if isinstance(explained, Explainer) else Gradient(explained)
