"""Which operations become one affine map, and that the map is what they compute."""

import numpy as np
import pytest
import tensorflow as tf

from tfsaliency.graph.affine import Affine
from tfsaliency.graph.joined_affine import joined_affine
from tfsaliency.graph.network import Network
from tfsaliency.graph.trace import Trace


def weights_of(*shape):
    return tf.constant(np.random.default_rng(len(shape)).normal(size=shape), tf.float32)


W, KERNEL = weights_of(4, 4), weights_of(2, 2, 4, 4)
PER_CHANNEL, PER_PLACE = weights_of(4), weights_of(3, 3, 4)
TABLE, PICTURE = [None, 4], [None, 3, 3, 4]


def dense(x):
    return tf.matmul(x, W)


def convolved(x, padding="SAME"):
    return tf.nn.conv2d(x, KERNEL, 1, padding)


def joined(function, shape):
    trace = Trace(function, tf.TensorSpec(shape))
    outputs = tf.nest.flatten(trace.outputs)
    return trace, joined_affine(Network(trace, list(trace.inputs), outputs).with_activations, outputs)


def normalized(y):
    scale, shift, mean, variance = PER_CHANNEL, weights_of(4), weights_of(4) / 2, tf.square(weights_of(4)) + 0.5
    return tf.raw_ops.FusedBatchNormV3(
        x=y, scale=scale, offset=shift, mean=mean, variance=variance, is_training=False
    ).y


def two_readers(x):
    y = dense(x)
    return tf.concat([2 * y, tf.tanh(y)], axis=-1)


def both_returned(x):
    y = dense(x)
    return y, 2 * y


# Each function with the shape of its input, and the operations of each step that it becomes.
CASES = {
    "bias and normalization": (
        lambda x: normalized(tf.nn.bias_add(convolved(x), PER_CHANNEL)),
        PICTURE,
        [["Conv2D", "BiasAdd", "FusedBatchNormV3"]],
    ),
    "scale and shift in front": (
        lambda x: dense((x - 1) * PER_CHANNEL),
        TABLE,
        [["Sub", "Mul", "MatMul"]],
    ),
    "padding between a scale and its convolution": (
        lambda x: convolved(tf.pad(x / 2, [[0, 0], [1, 1], [1, 1], [0, 0]]), "VALID"),
        PICTURE,
        [["RealDiv", "Pad", "Conv2D"]],
    ),
    "padding alone": (
        lambda x: convolved(tf.pad(tf.nn.relu(x), [[0, 0], [1, 1], [1, 1], [0, 0]]), "VALID"),
        PICTURE,
        [["Relu"], ["Pad", "Conv2D"]],
    ),
    # The operation before it has the first claim.
    "scale between two": (
        lambda x: dense(PER_CHANNEL * dense(x)),
        TABLE,
        [["MatMul", "Mul"], ["MatMul"]],
    ),
    "scale behind an activation": (
        lambda x: dense(2 * tf.nn.relu(dense(x))),
        TABLE,
        [["MatMul"], ["Relu"], ["Mul", "MatMul"]],
    ),
    "scale of each place": (
        lambda x: PER_PLACE * convolved(x),
        PICTURE,
        [["Conv2D"], ["Mul"]],
    ),
    "shift of each place": (
        lambda x: convolved(x) + PER_PLACE,
        PICTURE,
        [["Conv2D", "AddV2"]],
    ),
    "scales alone": (
        lambda x: tf.tanh((3 - x) * PER_CHANNEL + 1),
        TABLE,
        [["Sub", "Mul", "AddV2"], ["Tanh"]],
    ),
    "another reader in between": (two_readers, TABLE, [["MatMul"], ["Mul"], ["Tanh"], ["ConcatV2"]]),
    "an output in between": (both_returned, TABLE, [["MatMul"], ["Mul"]]),
    "a product of two signals": (
        lambda x: tf.matmul(x, x, transpose_b=True),
        TABLE,
        [["MatMul"]],
    ),
    "a number of each sample": (
        lambda x: dense(x) * tf.reduce_sum(x, axis=-1, keepdims=True),
        TABLE,
        [["MatMul"], ["Sum"], ["Mul"]],
    ),
}
NOT_AFFINE = {"ConcatV2", "Relu", "Sum", "Tanh"}
PRODUCTS_OF_SIGNALS = {"a product of two signals": ["MatMul"], "a number of each sample": ["Mul"]}


@pytest.mark.parametrize("name", CASES)
def test_the_steps_that_are_joined(name):
    function, shape, expected = CASES[name]
    _, steps = joined(function, shape)
    assert [step.operations for step in steps] == expected
    for step in steps:
        other = step.operations[0] in NOT_AFFINE or step.operations == PRODUCTS_OF_SIGNALS.get(name)
        assert isinstance(step, Affine) != other


@pytest.mark.parametrize("name", CASES)
def test_each_map_is_linear_plus_bias(name):
    """The linear part has no constant of its own, it is of first degree, and with the bias it is what was traced."""
    function, shape, _ = CASES[name]
    trace, steps = joined(function, shape)
    maps = [step for step in steps if isinstance(step, Affine)]

    @tf.function
    def asked(x):
        values = trace.run([(trace.inputs[0], x)])
        bound = [each.at(values) for each in maps]
        return [
            (each.z, each.linear(each.x) + each.bias, each.linear(-2 * each.x), -2 * each.linear(each.x))
            for each in bound
        ]

    x = np.random.default_rng(0).normal(size=(5, *shape[1:])).astype("float32")
    for z, whole, of_multiple, multiple in asked(tf.constant(x)):
        assert np.abs(z).max() > 0.1
        np.testing.assert_allclose(whole, z, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(of_multiple, multiple, rtol=1e-5, atol=1e-5)


def test_effective_weights_and_bias():
    """``2 ((3 x - 1) W + b) s`` has the weights ``6 W s`` and the bias ``2 (b - 1 W) s``."""
    bias = weights_of(4) + 1
    trace, (step,) = joined(lambda x: 2 * (tf.nn.bias_add(dense(3 * x - 1), bias) * PER_CHANNEL), TABLE)

    @tf.function
    def asked(x):
        bound = step.at(trace.run([(trace.inputs[0], x)]))
        return bound.weights, bound.bias

    weights, shift = asked(tf.zeros([1, 4]))
    np.testing.assert_allclose(weights, 6 * W * PER_CHANNEL, rtol=1e-5)
    expected = 2 * (bias - tf.reduce_sum(W, axis=0)) * PER_CHANNEL
    np.testing.assert_allclose(tf.reshape(shift, [-1]), expected, rtol=1e-4, atol=1e-5)


def test_a_map_knows_whether_its_signal_can_be_negative():
    _, steps = joined(lambda x: dense(tf.tanh(dense(tf.nn.relu(dense(x))))), TABLE)
    assert [step.never_negative for step in steps if isinstance(step, Affine)] == [False, True, False]
