"""A softmax written by hand has the map of a softmax."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

X = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")


def quotient(z, axis=-1, divide=tf.divide):
    powers = tf.exp(z)
    return divide(powers, tf.reduce_sum(powers, axis=axis, keepdims=True))


def largest(z, axis=-1):
    return tf.reduce_max(z, axis=axis, keepdims=True)


BY_HAND = {
    "plain": quotient,
    "shifted": lambda z: quotient(z - largest(z)),
    "shifted without a gradient": lambda z: quotient(z - tf.stop_gradient(largest(z))),
    "shifted by a constant": lambda z: quotient(z - 2.0),
    "exp of log_softmax": lambda z: tf.exp(tf.nn.log_softmax(z)),
    "divide_no_nan": lambda z: quotient(z - largest(z), divide=tf.math.divide_no_nan),
    "summed without its axis": lambda z: tf.exp(z) / tf.reduce_sum(tf.exp(z), axis=-1)[..., None],
    "two exponentials": lambda z: tf.exp(z - largest(z)) / tf.reduce_sum(tf.exp(z - largest(z)), -1, keepdims=True),
}
BY_HAND_OF_AXIS_1 = {
    "plain": lambda z: quotient(z, 1),
    "shifted": lambda z: quotient(z - largest(z, 1), 1),
    "negative axis": lambda z: quotient(z - largest(z, -2), -2),
}


def attention(softmax, shape):
    """A softmax that weights another branch, between layers without biases: nothing may be absorbed."""
    keras.utils.set_random_seed(1)
    x = keras.Input((8,))
    query, value = (layers.Reshape(shape)(layers.Dense(12, use_bias=False)(x)) for _ in range(2))
    y = layers.Lambda(lambda parts: softmax(parts[0]) * parts[1])([query, value])
    return keras.Model(x, layers.Dense(3, use_bias=False)(layers.Flatten()(y)))


@pytest.mark.parametrize("explainer", [lambda model: tfs.LRP(model, "attention"), tfs.DeepLIFT, tfs.Gradient])
@pytest.mark.parametrize(
    "by_hand, axis",
    [*((each, -1) for each in BY_HAND.values()), *((each, 1) for each in BY_HAND_OF_AXIS_1.values())],
    ids=[*BY_HAND, *(f"axis 1, {name}" for name in BY_HAND_OF_AXIS_1)],
)
def test_one_map(by_hand, axis, explainer):
    shape = (12,) if axis == -1 else (4, 3)
    of_tensorflow, written = (
        explainer(attention(each, shape)).explain(X, 1) for each in (lambda z: tf.nn.softmax(z, axis=axis), by_hand)
    )
    np.testing.assert_allclose(written.scores, of_tensorflow.scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(written.values, of_tensorflow.values, rtol=1e-3, atol=1e-5)


def test_what_is_no_softmax_is_left():
    """Powers over a part of their sum, over a sum of other powers, or over a sum of other axes."""
    others = {
        "more in the sum": lambda z: tf.exp(z) / (1.0 + tf.reduce_sum(tf.exp(z), axis=-1, keepdims=True)),
        "other powers": lambda z: tf.exp(z) / tf.reduce_sum(tf.exp(2 * z), axis=-1, keepdims=True),
        "not powers": lambda z: tf.square(z) / tf.reduce_sum(tf.square(z), axis=-1, keepdims=True),
        "shifts of their own": lambda z: tf.exp(z - z[..., ::-1]) / tf.reduce_sum(tf.exp(z), axis=-1, keepdims=True),
    }
    for name, other in others.items():
        model = attention(other, (12,))
        explanation = tfs.DeepLIFT(model, baseline=0.1).explain(X, 1)
        whole = explanation.scores - model(np.full((1, 8), 0.1, "float32"))[:, 1]
        np.testing.assert_allclose(explanation.values.sum(1), whole, rtol=1e-3, atol=1e-4, err_msg=name)
