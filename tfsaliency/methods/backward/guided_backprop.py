from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.base.options import check_count
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import LOOPS, Score
from tfsaliency.explainer import Explainer
from tfsaliency.graph.gradients import in_structure
from tfsaliency.graph.rectifier import RECTIFIER
from tfsaliency.graph.step import Flows, Step
from tfsaliency.rules.rectify import deconvnet, guided


@dataclass(frozen=True, eq=False)
class _Rectified(Explainer):
    """The gradient, with a different rule at every rectifying activation."""

    model: keras.Model
    loops: int = field(default=LOOPS, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("loops", self.loops, 0)

    @abstractmethod
    def rectify(self, step: Step, upstream: tf.Tensor) -> tf.Tensor:
        """Replaces the gradient at a rectifying activation."""

    @property
    def gives_slopes(self) -> bool:
        return True

    def attribute(self, x: Any, score: Score) -> Attribution:
        forward = score.unrolled(x, self.loops)
        network = forward.model.network
        steps = network.with_rectifiers
        rectified = []

        def rule(step: Step, upstream: Flows) -> Flows:
            if step.type != RECTIFIER:
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

    Rectifying activations are ReLU, ReLU6 (with zero gradient above 6), LeakyReLU, ELU, SELU, Softplus, PReLU, and
    the smooth rectifiers GELU, SiLU and Mish, with the slope of the whole function as ``f'``, however they are written:
    what passes positive numbers and suppresses negative ones is a rectifier. Sigmoid, tanh and softmax keep their
    gradient.

    The map is sharp, but largely the same for every class and even for random weights (Adebayo et al. 2018): it shows
    which details the network can see, and little about the reasons for its decision.

    Args:
        model: any Keras model.
        loops: the most turns that a loop may take; see `DeepLIFT`.

    Raises:
        ValueError: on ``explain``, if there is no rectifying activation, or the model has a loop that the data stops or
            that takes more turns.

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
    """The deconvolutional network: the positive part of the signal, propagated back through the weights.

    Formula:
        At each rectifying activation ``g <- relu(g)``, for active and inactive units. Max pooling sends the signal to
        the place of the maximum (the paper's switches).

    The rectifying activations are those of `GuidedBackprop`. Without max pooling the map depends on the input only
    through the smooth parts of the network.

    Args:
        model: any Keras model.
        loops: the most turns that a loop may take; see `DeepLIFT`.

    Raises:
        ValueError: on ``explain``, if there is no rectifying activation, or the model has a loop that the data stops or
            that takes more turns.

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
