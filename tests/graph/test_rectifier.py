"""What a unit is, is decided by what it does: rectifiers in many spellings, and functions that only look like one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import activations, layers, ops

import tfsaliency as tfs

relu, sigmoid, tanh, exp, where = tf.nn.relu, tf.sigmoid, tf.tanh, tf.exp, tf.where
# No kink of any function is at one of these places.
PLACES = np.linspace(-3.21, 7.3, 24).astype("float32")
ARRIVING = np.where(np.arange(24) % 3 == 0, -1.5, 2.0).astype("float32")


def prelu():
    layer = layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25))
    layer.build((None, len(PLACES)))
    return layer


WHOLE = {
    "Relu": relu,
    "Relu6": tf.nn.relu6,
    "maximum": lambda x: tf.maximum(0.0, x),
    "maximum with zeros": lambda x: tf.maximum(x, tf.zeros_like(x)),
    "where": lambda x: where(x > 0, x, 0.0),
    "where, the other way": lambda x: where(x <= 0, tf.zeros_like(x), x),
    "times a condition": lambda x: x * tf.cast(x > 0, x.dtype),
    "times a sign": lambda x: x * (tf.sign(x) + 1) / 2,
    "half of a sum": lambda x: (x + tf.abs(x)) / 2,
    "threshold": lambda x: where(x > 0.5, x, 0.0),
    "threshold of a layer": layers.ReLU(threshold=0.5),
    "threshold and cap": layers.ReLU(threshold=0.5, max_value=2),
    "threshold far away": lambda x: where(x * 10 > 42, x * 10, 0.0) / 10,
    "cap": layers.ReLU(max_value=2),
    "clip": lambda x: tf.clip_by_value(x, 0.0, 2.0),
    "clip of Keras": lambda x: ops.clip(x, 0, 2),
    "minimum": lambda x: tf.minimum(relu(x), 2.0),
    "floor": lambda x: tf.maximum(x, 0.5),
    "leaky": layers.ReLU(negative_slope=0.1, threshold=0.5),
    "leaky by where": lambda x: where(x > 0, x, 0.1 * x),
    "leaky by maximum": lambda x: tf.maximum(x, 0.1 * x),
    "leaky by two": lambda x: relu(x) - 0.1 * relu(-x),
    "PReLU": prelu(),
    "ELU": lambda x: where(x > 0, x, exp(x) - 1),
    "CELU": activations.celu,
    "SELU": activations.selu,
    "softplus": lambda x: tf.math.log(1 + exp(x)),
    "softplus by log1p": lambda x: tf.math.log1p(exp(x)),
    "softplus by a sigmoid": lambda x: -tf.math.log(sigmoid(-x)),
    "softplus, stable": lambda x: tf.maximum(x, 0.0) + tf.math.log1p(exp(-tf.abs(x))),
    "squareplus": ops.squareplus,
    "SiLU": tf.nn.silu,
    "SiLU by hand": lambda x: x / (1 + exp(-x)),
    "hard SiLU": lambda x: x * tf.nn.relu6(x + 3) / 6,
    "GELU": activations.gelu,
    "GELU by tanh": lambda x: 0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x**3))),
    "Mish": lambda x: x * tanh(tf.nn.softplus(x)),
    "computed again": lambda x: tf.recompute_grad(relu)(x),
    "SiLU computed again": lambda x: tf.recompute_grad(lambda y: y * sigmoid(y))(x),
    "remat": lambda x: keras.remat(relu)(x),
}
# Functions with a rectifier inside, written with the rectifier as an argument.
PARTS = {
    "beside the input": lambda r, x: x + r(x),
    "shifted, beside the input": lambda r, x: x + 0.3 * r(x + 1),
    "below the input": lambda r, x: x - r(x),
    "beside tanh": lambda r, x: tanh(x) + r(x),
    "both signs": lambda r, x: r(x) + 0.5 * r(-x),
    "negative": lambda r, x: -r(-x),
    "square": lambda r, x: tf.square(r(x)),
    "gate of another": lambda r, x: r(x) * tf.reverse(x, [1]),
    "maximum of two": lambda r, x: tf.maximum(r(x), tf.reverse(x, [1])),
    "scaled": lambda r, x: 3 * r(x),
    "of a scaled one": lambda r, x: r(3 * x),
    "read twice, once shifted": lambda r, x: twice(r(x), lambda h: h + 1),
    "read twice, once shifted by a parameter": lambda r, x: twice(r(x), lambda h: h + SHIFT),
    "read twice, once times one": lambda r, x: twice(r(x), lambda h: 1.0 * h),
    "read twice, once capped": lambda r, x: twice(r(x), lambda h: tf.minimum(h, 0.5)),
    "a part of one and of itself": lambda r, x: (lambda h: h / (1 + h))(r(x)),
    "before a small step": lambda r, x: (lambda h: h + 0.1 * tanh(h))(r(x)),
    "before a small square": lambda r, x: (lambda h: h + 0.1 * h * h)(r(x)),
    "before an exponential": lambda r, x: (lambda h: h + exp(-h))(r(x)),
    "of unit length": lambda r, x: tf.math.l2_normalize(r(x), 1),
    "floor of a square": lambda r, x: tf.math.log(tf.maximum(tf.square(r(x) + 0.1), 1e-7)),
}
SHIFT = tf.Variable(np.linspace(-1, 1, 24).astype("float32"))


def twice(h, step):
    return step(h) + 0.5 * tf.reverse(h, [1])


PLAIN = {
    "tanh by exponentials": lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x)),
    "sigmoid by exponentials": lambda x: exp(x) / (1 + exp(x)),
    "softsign": lambda x: x / (1 + tf.abs(x)),
    "x / sqrt(1 + x^2)": lambda x: x / tf.sqrt(1 + x * x),
    "x exp(-x^2)": lambda x: x * exp(-x * x),
    "absolute": lambda x: tf.maximum(x, -x),
    "absolute by where": lambda x: where(x > 0, x, -x),
    "x erf(x)": lambda x: x * tf.math.erf(x),
    "x tanh(x)": lambda x: x * tanh(x),
    "a polynomial": lambda x: x + 0.1 * x * x,
    "x + tanh(x)": lambda x: x + 0.1 * tanh(x),
    "tanhshrink": lambda x: x - tanh(x),
    "softshrink": activations.soft_shrink,
    "derivative of a sigmoid": lambda x: sigmoid(x) * (1 - sigmoid(x)),
    "gated tanh": lambda x: tanh(x) * sigmoid(x),
    "hard tanh": lambda x: tf.clip_by_value(x, -1.0, 1.0),
    "hard tanh, the other way": lambda x: tf.minimum(tf.maximum(x, -1.0), 1.0),
    "identity": lambda x: x + 0.0 * tanh(x),
    "exponential": exp,
    "square": tf.square,
    "band": lambda x: x * tf.cast(tf.abs(x) < 1, x.dtype),
    "GLU": lambda x: x * sigmoid(tf.reverse(x, [1])),
    "gate of another": lambda x: where(tf.reverse(x, [1]) > 0, x, 0.0),
    "tanh computed again": lambda x: tf.recompute_grad(tanh)(x),
    "of unit length": lambda x: tf.math.l2_normalize(x, 1),
    "floor of a square": lambda x: tf.sqrt(tf.maximum(x * x, 1e-7)),
}


def explained(method, function):
    """The map of ``sum(ARRIVING * function(x))``: what goes back through the function where ARRIVING arrives."""

    class Model(keras.Model):
        def call(self, x):
            return ARRIVING * function(x)

    model = Model()
    model.built = True
    return method(model).explain(PLACES[None], lambda z: tf.reduce_sum(z, axis=1)).values[0]


def sent_back(method, function, arriving):
    """The textbook: what a rectifier sends back."""
    x = tf.constant(PLACES[None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    slope = tape.gradient(y, x)
    return tf.nn.relu(arriving) * (slope if method is tfs.GuidedBackprop else 1)


def marked(method):
    """A ReLU whose gradient is what the method sends back."""

    @tf.custom_gradient
    def rectifier(x):
        gate = tf.cast(x > 0, x.dtype) if method is tfs.GuidedBackprop else 1.0
        return relu(x), lambda upstream: relu(upstream) * gate

    return rectifier


BOTH = pytest.mark.parametrize("method", [tfs.GuidedBackprop, tfs.DeconvNet])


@BOTH
@pytest.mark.parametrize("name", WHOLE)
def test_a_rectifier_however_it_is_written(method, name):
    expected = sent_back(method, WHOLE[name], ARRIVING[None])[0]
    np.testing.assert_allclose(explained(method, WHOLE[name]), expected, rtol=1e-4, atol=1e-5)


@BOTH
@pytest.mark.parametrize("name", PARTS)
def test_a_rectifier_with_something_around_it(method, name):
    x = tf.constant(PLACES[None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(ARRIVING * PARTS[name](marked(method), x))
    values = explained(method, lambda x: PARTS[name](relu, x))
    np.testing.assert_allclose(values, tape.gradient(total, x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spelling", ["maximum", "where", "half of a sum"])
@pytest.mark.parametrize("name", PARTS)
def test_a_rectifier_with_something_around_it_however_it_is_written(name, spelling):
    """A cap that belongs to a rectifier has no slope beyond it, so Guided Backprop sends back the same."""
    found, expected = (explained(tfs.GuidedBackprop, lambda x, r=r: PARTS[name](r, x)) for r in (WHOLE[spelling], relu))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


HARD_SIGMOIDS = {
    "of Relu6": lambda x: tf.nn.relu6(x + 3) / 6,
    "of Keras": activations.hard_sigmoid,
    "clip": lambda x: tf.clip_by_value(x / 6 + 0.5, 0, 1),
    "minimum of maximum": lambda x: tf.minimum(tf.maximum(x / 6 + 0.5, 0), 1),
    "maximum of minimum": lambda x: tf.maximum(tf.minimum(x + 3, 6), 0) / 6,
    "minimum of ReLU": lambda x: tf.minimum(relu(x + 3), 6) / 6,
    "where": lambda x: tf.minimum((lambda u: where(u > 0, u, 0.0))(x + 3), 6) / 6,
}


@BOTH
@pytest.mark.parametrize("name", HARD_SIGMOIDS)
def test_a_hard_sigmoid_is_a_rectifier_with_a_bias_and_a_cap(method, name):
    expected = sent_back(method, lambda x: tf.nn.relu6(x + 3), ARRIVING[None] / 6)[0]
    np.testing.assert_allclose(explained(method, HARD_SIGMOIDS[name]), expected, rtol=1e-4, atol=1e-5)


@BOTH
@pytest.mark.parametrize("name", PLAIN)
def test_what_only_looks_like_a_rectifier(method, name):
    with pytest.raises(ValueError, match="met none of them"):
        explained(method, PLAIN[name])
    # Beside a rectifier it keeps its gradient.
    x = tf.constant(PLACES[None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(ARRIVING * tf.reverse(marked(method)(tf.reverse(PLAIN[name](x), [1])), [1]))
    values = explained(method, lambda x: tf.reverse(relu(tf.reverse(PLAIN[name](x), [1])), [1]))
    np.testing.assert_allclose(values, tape.gradient(total, x)[0], rtol=1e-4, atol=1e-5)


@BOTH
def test_rectifiers_of_a_block_that_is_computed_again(method):
    def build(remat):
        keras.utils.set_random_seed(0)
        hidden, head = layers.Dense(16, "relu"), layers.Dense(3)
        hidden.build((None, 4))

        class Model(keras.Model):
            def __init__(self):
                super().__init__()
                self.hidden, self.head = hidden, head

            def call(self, x):
                return self.head(keras.remat(self.hidden)(x) if remat else self.hidden(x))

        model = Model()
        model(np.zeros((1, 4)))
        return model

    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    expected = method(build(remat=False)).explain(x, 1).values
    np.testing.assert_allclose(method(build(remat=True)).explain(x, 1).values, expected, rtol=1e-5, atol=1e-7)


def test_a_trained_slope_is_no_other_unit():
    """What a PReLU is, does not depend on how far it was trained."""
    layer = prelu()
    model = keras.Sequential([keras.Input((len(PLACES),)), layer])
    explainer = tfs.GuidedBackprop(model)
    explainer.explain(PLACES[None], lambda z: tf.reduce_sum(ARRIVING * z, axis=1))
    layer.alpha.assign(tf.fill(layer.alpha.shape, 0.9))
    values = explainer.explain(PLACES[None], lambda z: tf.reduce_sum(ARRIVING * z, axis=1)).values[0]
    np.testing.assert_allclose(values, np.maximum(ARRIVING, 0) * np.where(PLACES > 0, 1, 0.9), rtol=1e-5)
