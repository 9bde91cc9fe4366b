"""Logits under every form of softmax and sigmoid, and what is said where there is none."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.saving import register_keras_serializable

import tfsaliency as tfs

W = np.array([[1.0, -2.0, 0.5], [0.5, 3.0, -1.0]], "float32")
X = np.array([[1.0, 2.0], [-1.0, 0.5]], "float32")


def dense(units=3, **options):
    layer = layers.Dense(units, use_bias=False, **options)
    layer.build((None, 2))
    layer.set_weights([W[:, :units]])
    return layer


def head(end):
    x = keras.Input((2,))
    return keras.Model(x, end(dense()(x)))


class Call(keras.Model):
    """A model whose call is the given function of the logits."""

    def __init__(self, end):
        super().__init__()
        self.dense, self.end = dense(), end
        self.built = True

    def call(self, x):
        return self.end(self.dense(x))


class Decorated(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = dense(activation="softmax")
        self.built = True

    @tf.function
    def call(self, x):
        return self.dense(x)


def functional_with_activation():
    x = keras.Input((2,))
    return keras.Model(x, dense(activation="softmax")(x))


def nested_head():
    inner = keras.Sequential([keras.Input((2,)), dense(), layers.Softmax()], name="inner")
    x = keras.Input((2,))
    return keras.Model(x, keras.Sequential([keras.Input((2,)), inner])(x))


SOFTMAX = {
    "Dense(activation)": functional_with_activation,
    "Softmax layer": lambda: head(layers.Softmax()),
    "Activation layer": lambda: head(layers.Activation("softmax")),
    "keras.ops in a functional model": lambda: head(keras.ops.softmax),
    "keras.ops in call": lambda: Call(keras.ops.softmax),
    "tf.nn in call": lambda: Call(tf.nn.softmax),
    "tf.nn.log_softmax": lambda: Call(tf.nn.log_softmax),
    "identity above": lambda: Call(lambda z: tf.identity(tf.nn.softmax(z))),
    "dropout above": lambda: head(lambda z: layers.Dropout(0.5)(layers.Softmax()(z))),
    "float16 above": lambda: Call(lambda z: tf.cast(tf.nn.softmax(z), tf.float16)),
    "reshape above": lambda: head(
        lambda z: layers.Reshape((3,))(layers.Softmax()(layers.Reshape((3, 1, 1))(z)[:, :, 0, 0]))
    ),
    "other axis": lambda: Call(lambda z: tf.nn.softmax(z[:, :, None], axis=1)[..., 0]),
    "squeeze above": lambda: Call(lambda z: tf.squeeze(tf.nn.softmax(z[:, None]), 1)),
    "nested head": nested_head,
}


@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_is_looked_under(name):
    model = SOFTMAX[name]()
    explanation = tfs.Gradient(model).explain(X, target=[0, 1])
    np.testing.assert_array_equal(explanation.values, [W[:, 0], W[:, 1]])
    np.testing.assert_allclose(explanation.scores, [X[0] @ W[:, 0], X[1] @ W[:, 1]], rtol=1e-6)
    assert "under" in explanation.explained and "oftmax" in explanation.explained


def test_multi_label_sigmoid():
    explanation = tfs.Gradient(head(keras.ops.sigmoid)).explain(X, target=2)
    np.testing.assert_array_equal(explanation.values, [W[:, 2]] * 2)
    assert explanation.explained == "the logits under Sigmoid"


def test_both_sides_of_one_unit_under_a_sigmoid():
    model = keras.Sequential([keras.Input((2,)), dense(1, activation="sigmoid")])
    logits = X @ W[:, 0]
    for side, sign in ((1, 1), (0, -1)):
        explanation = tfs.Gradient(model).explain(X, target=side)
        np.testing.assert_array_equal(explanation.values, [sign * W[:, 0]] * 2)
        np.testing.assert_allclose(explanation.scores, sign * logits)
    top = tfs.Gradient(model).explain(X)
    np.testing.assert_array_equal(top.target, logits > 0)
    assert set(top.target.tolist()) == {0, 1}
    np.testing.assert_allclose(top.scores, np.abs(logits))


def test_both_sides_of_one_unit_without_a_sigmoid():
    model = keras.Sequential([keras.Input((2,)), dense(1)])
    for side, sign in ((1, 1), (0, -1)):
        explanation = tfs.Gradient(model).explain(X, tfs.target.binary(side))
        np.testing.assert_array_equal(explanation.values, [sign * W[:, 0]] * 2)
        assert explanation.target is None


def test_output_itself():
    explanation = tfs.Gradient(head(lambda z: z * 2)).explain(X, target=1)
    np.testing.assert_array_equal(explanation.values, [2 * W[:, 1]] * 2)
    assert explanation.explained == "the output itself: no softmax or sigmoid at its end"


def test_each_output_is_described():
    x = keras.Input((2,))
    model = keras.Model(x, {"kind": dense(activation="softmax")(x), "size": dense()(x)})
    explanation = tfs.Gradient(model).explain(X, tfs.target.output("size", 1))
    assert "'kind': 'the logits under Softmax'" in explanation.explained
    assert "'size': 'the output itself" in explanation.explained


def test_scalar_output():
    model = head(lambda z: keras.ops.sum(z, axis=-1))
    np.testing.assert_allclose(tfs.Gradient(model).explain(X).values, [W.sum(axis=1)] * 2)


def test_softmax_inside_a_nested_function():
    explanation = tfs.Gradient(Decorated()).explain(X, target=0)
    np.testing.assert_allclose(explanation.values, [W[:, 0]] * 2)
    assert explanation.explained == "the logits under Softmax"


def test_margin_region_and_functions():
    model = head(layers.Softmax())
    expected = [W[:, 1] - W[:, 2]] * 2
    np.testing.assert_array_equal(tfs.Gradient(model).explain(X, tfs.target.margin(1, 2)).values, expected)
    by_hand = tfs.Gradient(model).explain(X, lambda z: z[:, 1] - z[:, 2])
    np.testing.assert_array_equal(by_hand.values, expected)
    assert by_hand.target is None


def test_region_is_the_weighted_mean_of_a_class():
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 1, use_bias=False)])
    model.layers[0].set_weights([np.array([[[[2.0, 3.0]]]])])
    mask = np.zeros((4, 4))
    mask[1, 2], mask[3, 3] = 1, 3
    values = tfs.Gradient(model).explain(np.ones((1, 4, 4, 1)), tfs.target.region(mask, 1)).values
    np.testing.assert_allclose(values[0, ..., 0], 3 * mask / 4)


def test_noise_cannot_flip_the_explained_class():
    model = head(layers.Softmax())
    x = np.array([[0.01, 0.0]], "float32")
    assert tfs.Gradient(model).explain(x).target == [0]
    explanation = tfs.SmoothGrad(model, samples=30, noise=50.0).explain(x)
    assert explanation.target == [0]
    np.testing.assert_allclose(explanation.values, [W[:, 0]], rtol=1e-5)


def test_inference_mode():
    """Dropout would zero some of the gradient, batch statistics would couple the rows."""
    model = keras.Sequential([keras.Input((2,)), layers.Dropout(0.9), layers.BatchNormalization(), dense()])
    expected = [W[:, 0] / np.sqrt(1 + 1e-3)] * 2
    np.testing.assert_allclose(tfs.Gradient(model).explain(X, 0).values, expected, rtol=1e-5)
    model.trainable = True
    model.compile("sgd", "mse")
    np.testing.assert_allclose(tfs.Gradient(model).explain(X, 0).values, expected, rtol=1e-5)


def test_uint8_images_equal_their_floats():
    x = keras.Input((4, 4, 3), dtype="uint8")
    y = layers.Flatten()(layers.Conv2D(4, 3, activation="tanh")(layers.Rescaling(1 / 255)(x)))
    model = keras.Model(x, layers.Dense(2, activation="softmax")(y))
    image = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("uint8")
    scaled = tf.constant(image, tf.float32) / 255
    with tf.GradientTape() as tape:
        tape.watch(scaled)
        hidden = model.layers[2](scaled)
        z = tf.reshape(hidden, (2, -1)) @ model.layers[-1].kernel + model.layers[-1].bias
        score = z[:, 1]
    expected = tape.gradient(score, scaled) / 255
    explanation = tfs.Gradient(model).explain(image, 1)
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-4, atol=1e-8)
    assert explanation.inputs.dtype == np.uint8


def test_small_gradients_survive_float16():
    """A gradient of a pixel, behind Rescaling and a mean over many places, is below what float16 holds."""
    keras.utils.set_random_seed(0)

    def build(policy):
        options = {"dtype": policy}
        return keras.Sequential(
            [
                keras.Input((64, 64, 3)),
                layers.Rescaling(1 / 255, **options),
                layers.Conv2D(8, 3, **options),
                layers.GlobalAveragePooling2D(**options),
                layers.Dense(3, activation="softmax", **options),
            ]
        )

    half, full = build("mixed_float16"), build("float32")
    full.set_weights(half.get_weights())
    x = np.random.default_rng(0).uniform(0, 255, size=(2, 64, 64, 3))
    values, expected = (tfs.Gradient(model).explain(x, 1).values for model in (half, full))
    assert np.linalg.norm(values - expected) < 3e-3 * np.linalg.norm(expected)


def test_an_integer_output_beside_the_explained_one():
    x = keras.Input((2,))
    z = dense()(x)
    model = keras.Model(x, {"logits": z, "best": keras.ops.argmax(z, axis=-1)})
    explanation = tfs.Gradient(model).explain(X, tfs.target.output("logits", 1))
    np.testing.assert_array_equal(explanation.values, [W[:, 1]] * 2)


def test_rounding_above_the_softmax_is_not_looked_through():
    model = Call(lambda z: tf.cast(tf.cast(tf.nn.softmax(z) * 100, tf.int32), tf.float32))
    with pytest.raises(ValueError, match="No gradient reaches the input"):
        tfs.Gradient(model).explain(X, 0)


@register_keras_serializable("tests")
class Branch(layers.Layer):
    """Control flow that only the graph sees."""

    def call(self, x):
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), (0, x))[1]


def test_gradient_goes_through_loops():
    model = head(lambda z: layers.Softmax()(Branch()(z)))
    np.testing.assert_allclose(tfs.Gradient(model).explain(X, 1).values, [8 * W[:, 1]] * 2)
