"""What a trace says is never negative is so, for inputs of either sign."""

import numpy as np
import pytest
import tensorflow as tf

from tfsaliency.graph.network import Network
from tfsaliency.graph.sign import never_negative
from tfsaliency.graph.trace import Trace

X = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype("float32")
KERNEL = tf.constant(np.random.default_rng(1).normal(size=(2, 2, 2, 2)), tf.float32)


def convolved(x):
    return tf.nn.conv2d(x, KERNEL, 1, "SAME")


# Functions, and whether what they return is never negative.
CASES = {
    "relu": (tf.nn.relu, True),
    "relu6": (tf.nn.relu6, True),
    "sigmoid": (tf.sigmoid, True),
    "softmax": (tf.nn.softmax, True),
    "softplus": (tf.nn.softplus, True),
    "exponential": (tf.exp, True),
    "square": (tf.square, True),
    "size": (tf.abs, True),
    "root": (lambda x: tf.sqrt(tf.square(x)), True),
    "tanh": (tf.tanh, False),
    "elu": (tf.nn.elu, False),
    "leaky relu": (tf.nn.leaky_relu, False),
    "convolution of what is not negative": (lambda x: convolved(tf.nn.relu(x)), False),
    "largest of what is not negative": (lambda x: tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID"), True),
    "largest over the channels": (lambda x: tf.reduce_max(tf.nn.relu(x), axis=-1), True),
    "largest of either sign": (lambda x: tf.nn.max_pool2d(x - 3, 2, 2, "VALID"), False),
    "average of what is not negative": (lambda x: tf.nn.avg_pool2d(tf.nn.relu(x), 2, 2, "VALID"), True),
    "mean of what is not negative": (lambda x: tf.reduce_mean(tf.nn.relu(x), axis=(1, 2)), True),
    "mean of either sign": (lambda x: tf.reduce_mean(x, axis=(1, 2)), False),
    "moved": (lambda x: tf.reshape(tf.transpose(tf.pad(tf.nn.relu(x), [[0, 0]] * 4), [0, 3, 1, 2]), [-1, 32]), True),
    "sum of two that are not negative": (lambda x: tf.nn.relu(x) + tf.square(convolved(x)), True),
    "sum with one of either sign": (lambda x: tf.nn.relu(x) + convolved(x), False),
    "side by side": (lambda x: tf.concat([tf.nn.relu(x), tf.abs(x)], axis=-1), True),
    "side by side with one of either sign": (lambda x: tf.concat([tf.nn.relu(x), x], axis=-1), False),
    "difference": (lambda x: tf.nn.relu(x) - tf.nn.relu(convolved(x)), False),
    "shifted down": (lambda x: tf.nn.relu(x) + tf.constant([-1.0, 0.0]), False),
    "padded with what is negative": (
        lambda x: tf.pad(tf.nn.relu(x), [[0, 0]] * 3 + [[1, 1]], constant_values=-1),
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_last_result_of_a_trace(name):
    function, expected = CASES[name]
    trace = Trace(function, tf.TensorSpec([None, 4, 4, 2]))
    found = never_negative(Network(trace, list(trace.inputs), [trace.outputs]).with_activations)
    assert (trace.outputs.ref() in found) == expected
    assert (function(tf.constant(X)).numpy().min() >= 0) == expected


def test_every_tensor_that_it_names_is_not_negative():
    def function(x):
        y = tf.nn.relu(convolved(x))
        y = tf.nn.max_pool2d(tf.concat([y, tf.nn.silu(convolved(y))], axis=-1) + 1, 2, 2, "VALID")
        return tf.reduce_mean(tf.nn.relu6(y) * tf.tanh(y), axis=(1, 2))

    trace = Trace(function, tf.TensorSpec([None, 4, 4, 2]))
    network = Network(trace, list(trace.inputs), [trace.outputs])
    results = [result for step in network.with_activations for result in step.results]
    found = never_negative(network.with_activations)

    @tf.function
    def values(x):
        known = trace.run([(trace.inputs[0], x)])
        return [known[result] for result in results]

    least = [value.numpy().min() for value in values(tf.constant(X))]
    named = [result.ref() in found for result in results]
    assert sum(named) >= 3
    assert all(value >= 0 for value, is_named in zip(least, named, strict=True) if is_named)
    assert any(value < 0 for value in least)
