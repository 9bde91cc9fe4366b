"""Functions run in place while something is traced: nothing is a call afterwards, and all else is left alone."""

import os
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tfsaliency.graph.inlined import functions_inlined
from tfsaliency.graph.operations import NESTED
from tfsaliency.graph.trace import Trace

SPEC = tf.TensorSpec([None, 6])
X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


@tf.function
def plain(x):
    return tf.sin(x) + 1


@tf.function(jit_compile=True)
def compiled(x):
    return tf.nn.silu(x)


@tf.function
def with_a_condition(x):
    # Only AutoGraph makes an operation of this.
    if tf.reduce_sum(x) > 0:
        return tf.sin(x)
    return x * x


@tf.function
def with_python_values(x, scale=2, shift=None):
    return scale * x if shift is None else scale * x + shift


@tf.function(input_signature=[tf.TensorSpec([None, 6]), tf.TensorSpec([], tf.int32)])
def with_a_signature(x, power):
    return x ** tf.cast(power, x.dtype) + tf.cast(power.shape.rank, x.dtype)


@tf.custom_gradient
def reversed_gradient(x):
    return tf.identity(x), lambda upstream: -upstream


@tf.function
def with_a_gradient_of_its_own(x):
    return reversed_gradient(tf.sin(x))


traced = tf.function(lambda x: plain(tf.nn.silu(x))).get_concrete_function(SPEC)
traced_reversal = with_a_gradient_of_its_own.get_concrete_function(SPEC)

CASES = {
    "plain": plain,
    "compiled": compiled,
    "a condition of AutoGraph": with_a_condition,
    "values of Python": lambda x: with_python_values(x, 3, shift=1.0),
    "an array": lambda x: with_python_values(x, np.full(6, 2.0, "float32"), shift=tf.ones(6)),
    "a signature": lambda x: with_a_signature(x, 3),
    "several results": lambda x: tf.add_n([*tf.function(lambda x: (x, {"a": 2 * x}))(x)[:1], x]),
    "within a function": tf.function(lambda x: plain(compiled(x))),
    "a gradient of its own": with_a_gradient_of_its_own,
    "traced before": traced,
    "traced before, a gradient of its own": traced_reversal,
    "traced in a loop": lambda x: tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, traced(y)), (0, x))[1],
    "vectorized": lambda x: tf.vectorized_map(plain, x),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_in_place_has_the_results_and_the_gradient_of_the_call(name):
    function = CASES[name]
    trace = Trace(function, SPEC)
    assert not [op.name for op in trace.operations if "PartitionedCall" in op.type]

    @tf.function(autograph=False)
    def run(x):
        y = trace.run([(trace.inputs[0], x)])[trace.outputs]
        return y, tf.convert_to_tensor(tf.gradients(y, x)[0])

    found, gradient = run(tf.constant(X))
    x = tf.constant(X)
    # TensorFlow's own gradient of SiLU in a function compiled by XLA is another one, from an eager tape.
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nn.silu(x) if name == "compiled" else plain(tf.nn.silu(x)) if "within" in name else function(x)
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, tape.gradient(y, x), rtol=1e-4, atol=1e-6)


def test_layers_are_found_in_a_function_that_tensorflow_has_traced_before():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.head = layers.Conv2D(3, 3, activation="relu"), layers.Dense(2)

        @tf.function
        def call(self, x):
            return self.head(tf.reduce_mean(self.conv(x), axis=(1, 2)))

    keras.utils.set_random_seed(0)
    model, x = Model(), np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    expected = model(x)
    tf.function(model).get_concrete_function(tf.TensorSpec([None, 8, 8, 3]))
    assert tfs.GradCAM(model, model.conv).explain(x, 1).values.shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(model(x), expected)


def test_other_threads_and_eager_calls_are_left_alone():
    kinds, ready, done = [], threading.Event(), threading.Event()

    def other():
        ready.wait()
        graph = tf.function(lambda x: plain(x), autograph=False).get_concrete_function(SPEC).graph
        kinds.extend(op.type for op in graph.get_operations())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    before = type(plain).__call__
    with functions_inlined():
        ready.set()
        assert done.wait(30)
        np.testing.assert_allclose(plain(tf.zeros([1, 6])), 1)
    thread.join()
    assert "StatefulPartitionedCall" in kinds or "PartitionedCall" in kinds
    assert type(plain).__call__ is before


def test_an_error_inside_leaves_functions_as_they_were():
    before = type(plain).__call__

    def fails(x):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        Trace(tf.function(fails), SPEC)
    assert type(plain).__call__ is before


@pytest.mark.parametrize(("groups", "strides", "padding"), [(2, 1, "same"), (4, 2, "valid"), (4, (1, 1), "same")])
def test_a_grouped_convolution_has_the_gradient_of_its_groups(groups, strides, padding):
    """Written so that it runs where a grouped convolution has no gradient of its own."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(2, 7, 7, 4)).astype("float32")
    layer = layers.Conv2D(8, 3, strides=strides, groups=groups, padding=padding)
    model = keras.Sequential([keras.Input((7, 7, 4)), layer, layers.Flatten(), layers.Dense(2)])
    trace = Trace(lambda x: model(x, training=False), tf.TensorSpec([None, 7, 7, 4]))
    assert trace.is_flat

    def by_hand(x):
        parts = zip(tf.split(x, groups, -1), tf.split(tf.convert_to_tensor(layer.kernel), groups, -1), strict=True)
        y = tf.concat([tf.nn.conv2d(a, w, strides, padding.upper()) for a, w in parts], -1)
        return model.layers[-1](tf.reshape(y + layer.bias, [2, -1]))[:, 1]

    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = by_hand(inputs)
    explanation = tfs.Gradient(model).explain(x, 1)
    np.testing.assert_allclose(explanation.values, tape.gradient(y, inputs), rtol=1e-4, atol=1e-6)
    assert "Conv2D" in [op.type for op in trace.operations]
    assert not [op for op in trace.operations if op.type in NESTED]


WITHOUT_ONEDNN = """
import keras, numpy as np, tensorflow as tf, tfsaliency as tfs
keras.utils.set_random_seed(0)
x = keras.Input((7, 7, 4))
y = keras.layers.ReLU()(keras.layers.Conv2D(8, 3, groups=2)(x))
y = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, groups=4, use_bias=False)(y))
model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten()(y)))
# The answers of Keras are those of XLA.
inputs = np.random.default_rng(0).normal(size=(2, 7, 7, 4)).astype("float32")
for explainer in (tfs.GradientTimesInput(model), tfs.LRP(model, "epsilon"), tfs.Occlusion(model, window=3)):
    explanation = explainer.explain(inputs, 1)
    np.testing.assert_allclose(explanation.scores, model(inputs)[:, 1], rtol=1e-4, atol=1e-5)
    # No layer has a bias that is not zero: with ReLU, the values sum to the score.
    if not isinstance(explainer, tfs.Occlusion):
        np.testing.assert_allclose(explanation.values.sum(axis=(1, 2, 3)), explanation.scores, rtol=1e-3, atol=1e-5)
"""


def test_grouped_convolutions_on_a_processor_without_the_kernels_of_onednn():
    """TensorFlow fuses them there with the bias, the normalization or the ReLU behind them, and fails."""
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    subprocess.run([sys.executable, "-c", WITHOUT_ONEDNN], check=True, env=environment)
