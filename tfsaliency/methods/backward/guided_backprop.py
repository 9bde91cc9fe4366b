from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer
from tfsaliency.graph.gradients import in_structure
from tfsaliency.graph.step import Flows, Step
from tfsaliency.rules.rectify import deconvnet, guided, rectifies


@dataclass(frozen=True, eq=False)
class _Rectified(Explainer):
    """The gradient, with another rule at every rectifying activation."""

    model: keras.Model

    @abstractmethod
    def rectify(self, step: Step, upstream: tf.Tensor) -> tf.Tensor:
        """What a rectifying activation sends back in place of its gradient."""

    def attribute(self, x: Any, score: Score) -> Attribution:
        forward = score.forward(x)
        network = forward.model.network
        steps = network.with_activations
        rectified = []

        def rule(step: Step, upstream: Flows) -> Flows:
            if not rectifies(step):
                return step.gradient(upstream)
            rectified.append(step.name)
            return step.to_sources(self.rectify(step, upstream[0]))

        start = forward.slopes(forward.logits.floats)
        flows = network.walk_back(steps, forward.values, start, rule)
        if not rectified:
            kinds = sorted({step.type for step in steps})
            raise ValueError(
                f"{type(self).__name__} changes the gradient at ReLU, ReLU6, LeakyReLU, ELU, SELU, Softplus, GELU, "
                "SiLU and their like, and met none of them between the inputs and what is explained: the map would be "
                f"a plain gradient. Use Gradient for this model. Operations met: {', '.join(kinds)}"
            )
        return Attribution(in_structure(x, flows, forward.score))


@dataclass(frozen=True, eq=False)
class GuidedBackprop(_Rectified):
    """Guided backpropagation: the gradient, with negative gradients set to zero at every ReLU.

    Formula:
        At each rectifying activation ``f``, ``g <- relu(g) * f'(x)`` instead of ``g * f'(x)``.

    ReLU, ReLU6 (which also stops what arrives above 6), LeakyReLU, ELU, SELU and Softplus are rectified, and so are the
    smooth rectifiers GELU, SiLU, Mish and PReLU, with the slope of the whole function as ``f'``. Sigmoid, tanh and
    softmax are not rectifiers and keep their gradient.

    The map is sharp, and largely the same for every class and even for random weights (Adebayo et al. 2018): it shows
    what the network could see, hardly why it decided.

    Args:
        model: any Keras model.

    Raises:
        ValueError: on ``explain``, where no rectifying activation was met, or where the model hides operations in a
            ``tf.function``, loop or condition of its own.

    Source:
        Springenberg et al. 2015, Striving for Simplicity: The All Convolutional Net, section 3.4.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, "relu"), keras.layers.Dense(1)])
        >>> model.set_weights([np.array([[3.0, 2.0]]), np.zeros(2), np.array([[1.0], [-1.0]]), np.zeros(1)])
        >>> tfs.GuidedBackprop(model).explain(np.ones((1, 1))).values  # the gradient is 3 - 2
        array([[3.]], dtype=float32)
    """

    def rectify(self, step: Step, upstream: tf.Tensor) -> tf.Tensor:
        return guided(step, upstream)


@dataclass(frozen=True, eq=False)
class DeconvNet(_Rectified):
    """The deconvolutional network: what is positive of the signal, taken back through the weights.

    Formula:
        At each rectifying activation ``g <- relu(g)``, whatever the unit said on the way forward. Max pooling sends the
        signal to where the maximum was (the paper's switches).

    The same activations are rectified as by `GuidedBackprop`. Without max pooling the map does not depend on the input
    at all but for the smooth parts of the network.

    Args:
        model: any Keras model.

    Raises:
        ValueError: on ``explain``, where no rectifying activation was met, or where the model hides operations in a
            ``tf.function``, loop or condition of its own.

    Source:
        Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, section 2.1.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, "relu"), keras.layers.Dense(1)])
        >>> model.set_weights([np.array([[3.0, -2.0]]), np.zeros(2), np.array([[1.0], [1.0]]), np.zeros(1)])
        >>> tfs.DeconvNet(model).explain(np.ones((1, 1))).values  # the second unit is off and takes part
        array([[1.]], dtype=float32)
    """

    def rectify(self, step: Step, upstream: tf.Tensor) -> tf.Tensor:
        return deconvnet(step, upstream)
