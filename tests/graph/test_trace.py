"""A trace runs again on other values, with custom gradients and from the middle, and equals the model itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfsaliency.graph.trace import Trace

SPEC = tf.TensorSpec([None, 6], tf.float32)
X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


@tf.custom_gradient
def tripled(x):
    """The identity, with three times its gradient; it reads a tensor that is no argument."""
    three = 3.0 * tf.ones_like(x)

    def backward(upstream):
        return upstream * three

    return tf.identity(x), backward


def build(function):
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    y = layers.Dense(5)(layers.Lambda(function)(layers.Dense(8)(x)))
    return keras.Model(x, y)


@pytest.mark.parametrize("function", [tf.nn.relu, tf.nn.silu, tripled, tf.recompute_grad(tf.nn.gelu)])
def test_values_and_gradients_of_a_copy_are_those_of_the_model(function):
    model = build(function)
    trace = Trace(lambda x: model(x, training=False), SPEC)

    @tf.function(autograph=False)
    def again(x):
        # Twice, and once within a loop: copies are independent of each other.
        first = trace.run([(trace.inputs[0], x)])[trace.outputs]

        def body(i, total):
            return i + 1, total + tf.gradients(trace.run([(trace.inputs[0], x)])[trace.outputs], x)[0]

        _, looped = tf.while_loop(lambda i, total: i < 2, body, (0, tf.zeros_like(x)))
        return first, tf.gradients(first, x)[0], looped

    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=False)
    expected = tape.gradient(y, x)
    values, gradient, looped = again(x)
    np.testing.assert_allclose(values, y, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(looped, 2 * expected, rtol=1e-5, atol=1e-6)


def test_a_part_has_what_its_custom_gradients_read():
    """Nothing that is wanted is computed from the threes: the gradient of ``tripled`` alone reads them."""
    model = build(tripled)
    trace = Trace(lambda x: model(x, training=False), SPEC)

    @tf.function(autograph=False)
    def slope(x):
        (output,) = wanted = [trace.outputs]
        return tf.gradients(trace.run([(trace.inputs[0], x)], wanted)[output], x)[0]

    expected = 3 * tf.linalg.matmul(*(layer.kernel for layer in model.layers if layer.weights))
    np.testing.assert_allclose(slope(tf.constant(X)), [tf.reduce_sum(expected, axis=1)] * 4, rtol=1e-5, atol=1e-6)


def test_weights_are_read_at_every_run():
    model = build(tf.nn.relu)
    trace = Trace(lambda x: model(x, training=False), SPEC)
    again = tf.function(lambda x: trace.run([(trace.inputs[0], x)])[trace.outputs], autograph=False)
    again(X)
    model.set_weights([weight + 1 for weight in model.get_weights()])
    np.testing.assert_allclose(again(X), model(X), rtol=1e-6, atol=1e-6)


def test_from_the_middle_on_only_what_depends_on_it_runs():
    trace = Trace(lambda x: (tf.exp(x) + tf.sin(x), tf.cos(x)), SPEC)
    (exponential,) = (op.outputs[0] for op in trace.operations if op.type == "Exp")

    @tf.function(autograph=False)
    def replaced(x):
        known = trace.run([(trace.inputs[0], x)])
        doubled = tf.concat([known[exponential] * 2, known[exponential] * 3], axis=0)
        copies = tf.concat([x, x], axis=0)
        before = tf.compat.v1.get_default_graph().version
        values = trace.run_from([(trace.inputs[0], copies), (exponential, doubled)], known, [trace.outputs[0]])
        made = tf.compat.v1.get_default_graph().get_operations()[before:]
        assert {op.type for op in made} == {"Sin", "AddV2"}
        return values[trace.outputs[0]]

    expected = np.concatenate([2 * np.exp(X) + np.sin(X), 3 * np.exp(X) + np.sin(X)])
    np.testing.assert_allclose(replaced(X), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "flat"),
    [
        (tf.nn.relu, True),
        (tf.function(tf.nn.relu), True),
        (lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x, lambda: 2 * x), False),
        (lambda x: tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, y * 2), (0, x))[1], False),
    ],
)
def test_a_graph_with_a_body_of_its_own_is_not_flat(function, flat):
    assert Trace(function, SPEC).is_flat == flat


def test_what_a_trace_knows_of_itself():
    counter = tf.Variable(0.0, trainable=False)

    def counts(x):
        counter.assign_add(1.0)
        return tf.cast(tf.cast(x, tf.float16), tf.float32)

    assert Trace(counts, SPEC).written and Trace(counts, SPEC).is_half
    assert not Trace(tf.nn.relu, SPEC).written and not Trace(tf.nn.relu, SPEC).is_half
