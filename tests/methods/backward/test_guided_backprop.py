"""Guided Backprop and DeconvNet: twins, every gate, and the refusal where nothing was rectified."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests import reference


@pytest.mark.parametrize("method", [tfs.GuidedBackprop, tfs.DeconvNet])
def test_dense_network_equals_its_twin(method):
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        dense = [layers.Dense(12, "relu"), layers.Dense(9, "relu"), layers.Dense(4, "softmax")]
        model = keras.Sequential([keras.Input((6,)), *dense])
        generator = np.random.default_rng(seed)
        model.set_weights([generator.normal(size=weight.shape) for weight in model.get_weights()])
        x = generator.normal(size=(5, 6))
        values = method(model).explain(x, 2).values
        weights = [tuple(layer.get_weights()) for layer in dense]
        expected = [reference.guided_dense(row, weights, 2, method is tfs.DeconvNet) for row in x]
        assert np.linalg.norm(values - expected) < 1e-5 * np.linalg.norm(expected)


def maximum(x):
    return tf.maximum(x, 0.0)


# The slope of each at these points, which Guided Backprop weights by.
POINTS = np.array([-2.5, -0.4, 0.3, 2.0, 5.5, 7.0], "float32")
GATES = {
    "relu": (keras.ops.relu, lambda x: x > 0),
    "maximum with zero": (maximum, lambda x: x > 0),
    "relu6": (keras.ops.relu6, lambda x: (x > 0) & (x < 6)),
    "leaky_relu": (lambda x: keras.ops.leaky_relu(x, 0.1), lambda x: np.where(x > 0, 1, 0.1)),
    "elu": (keras.ops.elu, lambda x: np.where(x > 0, 1, np.exp(x))),
    "selu": (keras.ops.selu, lambda x: 1.0507010 * np.where(x > 0, 1, 1.6732632 * np.exp(x))),
    "softplus": (keras.ops.softplus, lambda x: 1 / (1 + np.exp(-x))),
    "silu": (keras.ops.silu, lambda x: derivative(lambda u: u / (1 + np.exp(-u)), x)),
    "hard_silu": (keras.ops.hard_silu, lambda x: derivative(lambda u: u * np.clip(u + 3, 0, 6) / 6, x)),
    "gelu tanh": (
        lambda x: keras.ops.gelu(x, approximate=True),
        lambda x: derivative(lambda u: u / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3))), x),
    ),
    "mish": (keras.activations.mish, lambda x: derivative(lambda u: u * np.tanh(np.log1p(np.exp(u))), x)),
}


def derivative(function, x, step=1e-5):
    x = x.astype("float64")
    return (function(x + step) - function(x - step)) / (2 * step)


@pytest.mark.parametrize("name", GATES)
def test_gates(name):
    """What arrives at the activation is 2 at the first six numbers, -3 at the others."""
    activation, slope = GATES[name]
    arriving = np.repeat(np.array([2.0, -3.0], "float32"), 6)
    x = keras.Input((12,))
    model = keras.Model(x, layers.Activation(activation)(x) * arriving)
    inputs = np.tile(POINTS, 2)[None]

    def total(z):
        return tf.reduce_sum(z, axis=1)

    guided = tfs.GuidedBackprop(model).explain(inputs, total).values[0]
    np.testing.assert_allclose(guided, np.maximum(arriving, 0) * slope(inputs[0]), rtol=1e-3, atol=1e-4)
    deconvolved = tfs.DeconvNet(model).explain(inputs, total).values[0]
    np.testing.assert_allclose(deconvolved, np.maximum(arriving, 0), rtol=1e-6)


@pytest.mark.parametrize("activation", ["linear", "tanh", "sigmoid", "softmax", "softsign"])
@pytest.mark.parametrize("method", [tfs.GuidedBackprop, tfs.DeconvNet])
def test_a_network_without_rectifier_is_refused(method, activation):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation), layers.Dense(2)])
    with pytest.raises(ValueError, match="would be a plain gradient"):
        method(model).explain(np.ones((1, 4)))


def test_only_what_lies_on_the_way_counts():
    """A ReLU of another output rectifies nothing of this one."""
    x = keras.Input((4,))
    y = layers.Dense(5, "tanh")(x)
    model = keras.Model(x, [layers.Dense(2)(y), layers.Dense(2, "relu")(y)])
    with pytest.raises(ValueError, match="met none"):
        tfs.GuidedBackprop(model).explain(np.ones((3, 4)), tfs.target.output(0, 1))


def test_rectifiers_of_the_target_are_not_the_models():
    """A target that is itself built with a ReLU is differentiated, not rectified."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="met none"):
        tfs.GuidedBackprop(model).explain(np.ones((1, 3)), lambda z: tf.nn.relu(z[:, 0] - z[:, 1]))


@pytest.mark.parametrize("behind", [False, True], ids=["before a rectifier", "behind a rectifier"])
@pytest.mark.parametrize("method", [tfs.GuidedBackprop, tfs.DeconvNet])
def test_a_custom_gradient_of_the_model_is_kept(method, behind):
    @tf.custom_gradient
    def doubled(x):
        return tf.abs(x) if behind else tf.identity(x), lambda upstream: 2 * upstream

    def build(function):
        keras.utils.set_random_seed(0)
        x = keras.Input((5,))
        y = layers.Dense(64)(x)
        for each in [layers.ReLU(), layers.Lambda(function)][:: 1 if behind else -1]:
            y = each(y)
        return keras.Model(x, layers.Dense(2)(y))

    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    kept = method(build(doubled)).explain(x, 0).values
    plain = method(build(tf.identity)).explain(x, 0).values
    np.testing.assert_allclose(kept, 2 * plain, rtol=1e-5)


@pytest.mark.parametrize("method", [tfs.GuidedBackprop, tfs.DeconvNet])
def test_a_rectifier_that_begins_with_a_constant_before_its_custom_gradient(method):
    """Of constants the sum in front of the SiLU is a part of one function of single numbers; of variables it is not."""
    bias = np.random.default_rng(1).normal(size=16).astype("float32")

    def build(function, has_bias):
        keras.utils.set_random_seed(0)
        inner = [layers.Dense(16, use_bias=has_bias), layers.Lambda(function), layers.Dense(2)]
        return keras.Sequential([keras.Input((5,)), *inner])

    of_constants, of_variables = build(lambda x: tf.nn.silu(x + bias), False), build(tf.nn.silu, True)
    of_variables.layers[0].bias.assign(bias)
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    found, expected = (method(model).explain(x, 0).values for model in (of_constants, of_variables))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert np.abs(found - tfs.Gradient(of_constants).explain(x, 0).values).max() > 1e-3


@pytest.mark.parametrize("method", [tfs.GuidedBackprop, tfs.DeconvNet])
def test_a_quantized_network_equals_its_twin(method):
    """The layers' own gradients lead around their integers, and the ReLU between them is changed as everywhere.

    The twin runs the layers with a ReLU of another gradient.
    """
    keras.utils.set_random_seed(0)
    dense = [layers.Dense(16, "relu"), layers.Dense(16, "relu"), layers.Dense(3)]
    model = keras.Sequential([keras.Input((8,)), *dense])
    for layer in dense:
        layer.quantize("int8")

    @tf.custom_gradient
    def relu(z):
        is_open = tf.ones_like(z) if method is tfs.DeconvNet else tf.cast(z > 0, z.dtype)
        return tf.nn.relu(z), lambda upstream: tf.nn.relu(upstream) * is_open

    x = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    values = method(model).explain(x, 0).values
    for layer in dense[:2]:
        layer.activation = relu
    with tf.GradientTape() as tape:
        watched = tf.constant(x)
        tape.watch(watched)
        score = model(watched)[:, 0]
    np.testing.assert_allclose(values, tape.gradient(score, watched), rtol=1e-4, atol=1e-6)
