"""Backward rules that rectify: what Guided Backprop and DeconvNet do at an activation instead of its gradient."""

from collections.abc import Callable

import tensorflow as tf

from tfsaliency.rules.activation import ACTIVATION
from tfsaliency.rules.step import Step

# Units that let through what is positive and hold back what is negative: exactly (ReLU and its clipped and leaky
# forms) or smoothly (GELU, SiLU, Mish and their like are joined to one "Activation").
RECTIFIERS = ("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", ACTIVATION)

Rectify = Callable[[Step, tf.Tensor], tf.Tensor]


def guided(step: Step, upstream: tf.Tensor) -> tf.Tensor:
    """``relu(g) * f'(x)``: the gradient of the unit, for what is positive of what arrives.

    For a ReLU this is ``g * [g > 0] * [x > 0]``; for a ReLU6 it also stops above 6; the leaky, exponential and smooth
    rectifiers weight it by their slope, as their gradient does.

    Source:
        Springenberg et al. 2015, Striving for Simplicity, section 3.4.
    """
    slope = step.gradient([tf.nn.relu(upstream)])[step.depends.index(True)]
    assert slope is not None
    return slope


def deconvnet(step: Step, upstream: tf.Tensor) -> tf.Tensor:
    """``relu(g)``: what is positive of what arrives, whatever the unit said on the way forward.

    Source:
        Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, section 2.1.
    """
    return tf.nn.relu(upstream)


def rectifies(step: Step) -> bool:
    """Whether a step is a unit that these rules are about."""
    return step.type in RECTIFIERS or _is_written_out(step)


def _is_written_out(step: Step) -> bool:
    """``maximum(x, 0)``, as some write a ReLU."""
    if step.type != "Maximum" or sum(step.depends) != 1:
        return False
    return tf.get_static_value(step.sources[step.depends.index(False)]) == 0
