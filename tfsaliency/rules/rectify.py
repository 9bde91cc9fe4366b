"""Rules for rectifying activations: what Guided Backprop and DeconvNet send back in place of the gradient."""

import tensorflow as tf

from tfsaliency.graph.step import Step


def guided(step: Step, upstream: tf.Tensor) -> tf.Tensor:
    """``relu(g) * f'(x)``: the gradient of the activation, for the positive part of the upstream gradient ``g``.

    For a ReLU this is ``g * [g > 0] * [x > 0]``. A ReLU6 also stops above 6. Leaky, exponential and smooth rectifiers
    weight ``g`` by their slope, as their gradient does.

    Source:
        Springenberg et al. 2015, Striving for Simplicity, section 3.4.
    """
    (slope,) = [each for each in step.gradient([tf.nn.relu(upstream)]) if each is not None]
    return slope


def deconvnet(step: Step, upstream: tf.Tensor) -> tf.Tensor:
    """``relu(g)``: the positive part of the upstream gradient, whatever the activation was on the way forward.

    Source:
        Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, section 2.1.
    """
    return tf.nn.relu(upstream)
