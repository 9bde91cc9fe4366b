"""The top class is the model's own answer, and its logit is explained however the softmax or sigmoid is written."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

softmax, sigmoid, ops = tf.nn.softmax, tf.sigmoid, keras.ops
in_function = tf.function(lambda z: softmax(z))
traced_softmax = in_function.get_concrete_function(tf.TensorSpec([None, 4]))
switch = tf.Variable(True)
X = np.random.default_rng(1).normal(size=(12, 4)).astype("float32")


class Head(keras.Model):
    """A head on a small network."""

    def __init__(self, head, units):
        super().__init__()
        keras.utils.set_random_seed(3)
        self.hidden, self.dense, self.head = layers.Dense(8, "tanh"), layers.Dense(units), head
        self.dense(self.hidden(X))
        # Far apart enough that the rows differ in their classes.
        self.dense.kernel.assign(2.5 * self.dense.kernel)
        self.dense.bias.assign(tf.linspace(-0.3, 0.3, units))
        self(X)

    def features(self, x):
        return self.dense(self.hidden(x))

    def call(self, x):
        return self.head(self.features(x))


def groups(z):
    return tf.reshape(z, [-1, 2, 3])


def flat(y):
    return tf.reshape(y, [tf.shape(y)[0], -1])


def permuted(y):
    return tf.gather(y, [2, 0, 3, 1], axis=1)


@tf.custom_gradient
def softmax_with_gradient(z):
    p = softmax(z)
    return p, lambda upstream: p * (upstream - tf.reduce_sum(upstream * p, -1, keepdims=True))


def share(e, axis=-1):
    return e / tf.reduce_sum(e, axis, keepdims=True)


MASK = tf.constant([0.0, 0.0, -1e9, 0.0])

# Heads with logits: the number of units, the head, the logits in the order of the output.
FOUND = {
    "softmax": (4, softmax, lambda z: z),
    "log softmax": (4, tf.nn.log_softmax, lambda z: z),
    "temperature": (4, lambda z: softmax(z / 3), lambda z: z / 3),
    "masked": (4, lambda z: softmax(z + MASK), lambda z: z + MASK),
    "grouped": (6, lambda z: tf.reshape(softmax(groups(z)), [-1, 6]), lambda z: z),
    "grouped by layers": (
        6,
        keras.Sequential([layers.Reshape((2, 3)), layers.Softmax(), layers.Flatten()]),
        lambda z: z,
    ),
    "other axis": (6, lambda z: flat(softmax(groups(z), axis=1)), lambda z: z),
    "both axes": (6, lambda z: flat(layers.Softmax(axis=(1, 2))(groups(z))), lambda z: z),
    "transposed": (
        6,
        lambda z: flat(tf.transpose(softmax(groups(z)), [0, 2, 1])),
        lambda z: flat(tf.transpose(groups(z), [0, 2, 1])),
    ),
    "segmentation, flattened": (12, lambda z: flat(softmax(tf.reshape(z, [-1, 2, 2, 3]))), lambda z: z),
    "permuted": (
        4,
        lambda z: tf.gather(softmax(z), [2, 0, 3, 1], axis=1),
        lambda z: tf.gather(z, [2, 0, 3, 1], axis=1),
    ),
    "reversed": (4, lambda z: tf.reverse(softmax(z), [1]), lambda z: tf.reverse(z, [1])),
    "rolled": (4, lambda z: tf.roll(softmax(z), 1, 1), lambda z: tf.roll(z, 1, 1)),
    "without background": (4, lambda z: softmax(z)[:, 1:], lambda z: z[:, 1:]),
    "unstacked": (4, lambda z: tf.stack(tf.unstack(softmax(z), axis=1)[::-1], 1), lambda z: z[:, ::-1]),
    "two softmaxes side by side": (6, lambda z: tf.concat([softmax(z[:, :2]), softmax(z[:, 2:])], 1), lambda z: z),
    "both sides of a sigmoid": (
        1,
        lambda z: tf.concat([1 - sigmoid(z), sigmoid(z)], 1),
        lambda z: tf.concat([-z, z], 1),
    ),
    "clipped": (4, lambda z: ops.clip(ops.softmax(z), 1e-7, 1 - 1e-7), lambda z: z),
    "clipped and grouped": (6, lambda z: tf.clip_by_value(flat(softmax(groups(z))), 1e-7, 1 - 1e-7), lambda z: z),
    "smoothed": (4, lambda z: softmax(z) * 0.9 + 0.1 / 4, lambda z: z),
    "percent": (4, lambda z: 100 * softmax(z), lambda z: z),
    "normalized again": (4, lambda z: share(softmax(z) + 1e-6), lambda z: z),
    "squared": (4, lambda z: softmax(z) ** 2, lambda z: z),
    "complement": (4, lambda z: 1 - softmax(z), lambda z: -z),
    "exponentials": (4, lambda z: tf.exp(z) / tf.reduce_sum(tf.exp(z), -1, keepdims=True), lambda z: z),
    "exponentials below the largest": (
        4,
        lambda z: share(tf.exp(z - tf.stop_gradient(tf.reduce_max(z, -1, keepdims=True)))),
        lambda z: z,
    ),
    "exponential of a difference": (4, lambda z: tf.exp(z - tf.reduce_logsumexp(z, -1, keepdims=True)), lambda z: z),
    "exponential of a log softmax": (4, lambda z: tf.exp(tf.nn.log_softmax(z)), lambda z: z),
    "softmax of softmax": (4, lambda z: softmax(softmax(z)), softmax),
    "custom gradient": (4, softmax_with_gradient, lambda z: z),
    "computed again": (4, lambda z: tf.recompute_grad(softmax)(z), lambda z: z),
    "function": (4, in_function, lambda z: z),
    "grouped in a function": (6, tf.function(lambda z: flat(softmax(groups(z)))), lambda z: z),
    "by hand in a function": (4, tf.function(lambda z: share(tf.exp(z))), lambda z: z),
    "function, then a move": (4, lambda z: tf.reshape(in_function(z), [-1, 4]), lambda z: z),
    "traced by the user": (4, traced_softmax, lambda z: z),
    "multi-label": (4, sigmoid, lambda z: z),
    "multi-label complement": (4, lambda z: 1 - sigmoid(z), lambda z: -z),
    "multi-label by hand": (4, lambda z: 1 / (1 + tf.exp(-z)), lambda z: z),
}
# One unit that is a probability: class 1 where it is above a half.
BINARY = {
    "sigmoid": (1, sigmoid, lambda z: z),
    "sigmoid of rank 1": (1, lambda z: sigmoid(z)[:, 0], lambda z: z),
    "clipped": (1, lambda z: ops.clip(ops.sigmoid(z), 1e-7, 1 - 1e-7), lambda z: z),
    "clipped far": (1, lambda z: tf.clip_by_value(sigmoid(z), 0.2, 0.8), lambda z: z),
    "capped": (1, lambda z: tf.minimum(sigmoid(z), 0.999), lambda z: z),
    "above zero": (1, lambda z: sigmoid(z) + 1e-6, lambda z: z),
    "smoothed": (1, lambda z: sigmoid(z) * 0.9 + 0.05, lambda z: z),
    "complement": (1, lambda z: 1 - sigmoid(z), lambda z: -z),
    "by hand": (1, lambda z: 1 / (1 + tf.exp(-z)), lambda z: z),
    "by two exponentials": (1, lambda z: tf.exp(z) / (1 + tf.exp(z)), lambda z: z),
    "by tanh": (1, lambda z: 0.5 * (1 + tf.tanh(z / 2)), lambda z: z),
    "by softplus": (1, lambda z: tf.exp(-tf.nn.softplus(-z)), lambda z: z),
    "one of two": (2, lambda z: softmax(z)[:, 1:], lambda z: z[:, 1:] - z[:, :1]),
}


def gradient_of(model, logits, classes, is_binary):
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = logits(model.features(x))
        score = z[:, 0] * (2.0 * classes - 1) if is_binary else tf.gather(z, classes, axis=1, batch_dims=1)
    return tape.gradient(score, x), score


@pytest.mark.parametrize(
    ("is_binary", "name"), [*((False, name) for name in FOUND), *((True, name) for name in BINARY)]
)
def test_logits_of_the_models_own_answer(is_binary, name):
    units, head, logits = (BINARY if is_binary else FOUND)[name]
    model = Head(head, units)
    said = model(X).numpy()
    answer = (said.reshape(-1) > 0.5).astype(int) if is_binary else said.argmax(-1)
    explanation = tfs.Gradient(model).explain(X)
    assert len(set(answer)) > 1
    np.testing.assert_array_equal(explanation.target, answer)
    values, scores = gradient_of(model, logits, answer, is_binary)
    np.testing.assert_allclose(explanation.values, values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-4, atol=1e-5)
    assert explanation.explained.startswith("the logits under")


# Probabilities whose logits are not to be had: the output itself is explained, and a warning says so.
PROBABILITIES = {
    "mean over places": (6, lambda z: tf.reduce_mean(softmax(groups(z)), 1)),
    "super classes": (6, lambda z: tf.reduce_sum(tf.reshape(softmax(z), [-1, 3, 2]), -1)),
    "mixture": (6, lambda z: 0.3 * softmax(z[:, :3]) + 0.7 * softmax(z[:, 3:])),
    "learned mixture": (8, lambda z: tf.reduce_sum(softmax(z[:, 6:])[:, :, None] * softmax(groups(z[:, :6])), 1)),
    "average layer": (6, lambda z: layers.Average()([softmax(z[:, :3]), softmax(z[:, 3:])])),
    "geometric mean": (6, lambda z: tf.sqrt(softmax(z[:, :3]) * softmax(z[:, 3:]))),
    "prior": (4, lambda z: softmax(z) * tf.constant([0.1, 0.9, 0.3, 0.5])),
    "gate": (5, lambda z: softmax(z[:, :4]) * sigmoid(z[:, 4:])),
    "dead class": (4, lambda z: tf.pad(softmax(z), [[0, 0], [0, 1]])),
    "permutation matrix": (4, lambda z: softmax(z) @ tf.one_hot([2, 0, 3, 1], 4)),
    "beside logits": (6, lambda z: tf.concat([softmax(z[:, :3]), z[:, 3:]], 1)),
    "cumulated": (4, lambda z: tf.math.cumprod(sigmoid(z), axis=1)),
    "normalized softplus": (4, lambda z: share(tf.nn.softplus(z))),
    "condition": (4, lambda z: tf.cond(switch, lambda: softmax(z), lambda: z)),
    "loop": (4, lambda z: tf.map_fn(softmax, z)),
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_a_probability_without_logits_is_warned_of(name):
    units, head = PROBABILITIES[name]
    model = Head(head, units)
    with pytest.warns(UserWarning, match="softmax or sigmoid whose logits cannot be told"):
        explanation = tfs.Gradient(model).explain(X)
    np.testing.assert_array_equal(explanation.target, model(X).numpy().argmax(-1))
    assert explanation.explained == "the output itself: a probability"
    assert any("softmax" in each for each in explanation.provenance["cautions"])


def test_a_mean_of_sigmoids_has_two_sides():
    model = Head(lambda z: tf.reduce_mean(sigmoid(z), -1, keepdims=True), 2)
    with pytest.warns(UserWarning, match="logits cannot be told"):
        explanation = tfs.Gradient(model).explain(X)
    np.testing.assert_array_equal(explanation.target, model(X).numpy()[:, 0] > 0.5)
    sides = np.where(explanation.target == 1, 1, -1)
    np.testing.assert_allclose(explanation.scores, sides * model(X).numpy()[:, 0], rtol=1e-5)


def test_the_advice_for_a_probability_works():
    units, head = PROBABILITIES["mixture"]
    model = Head(head, units)
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.math.log(model(x)[:, 0])
    # Pytest makes a warning an error.
    values = tfs.Gradient(model).explain(X, lambda p: tf.math.log(p[:, 0])).values
    np.testing.assert_allclose(values, tape.gradient(score, x), rtol=1e-4, atol=1e-6)


def test_the_warning_is_for_the_output_that_is_explained():
    mixture = PROBABILITIES["mixture"][1]
    model = Head(lambda z: {"kind": mixture(z[:, :6]), "size": z[:, 6:]}, 8)
    tfs.Gradient(model).explain(X, tfs.target.output("size", 0))
    with pytest.warns(UserWarning, match="logits cannot be told"):
        tfs.Gradient(model).explain(X, tfs.target.output("kind", 0))


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
@pytest.mark.parametrize("head", [softmax, lambda z: tf.squeeze(softmax(z[..., None]), -1)])
def test_a_softmax_over_one_unit_is_warned_of(head):
    with pytest.warns(UserWarning) as warned:
        explanation = tfs.Gradient(Head(head, 1)).explain(X)
    assert any("softmax over one unit, which is 1 for every input" in str(each.message) for each in warned)
    assert explanation.explained == "the output itself: a softmax over one unit"
    assert not explanation.values.any()


# Heads that only look like one.
PLAIN = {
    "linear": (4, lambda z: z),
    "tanh": (4, tf.tanh),
    "softplus": (4, tf.nn.softplus),
    "softplus by a sigmoid": (4, lambda z: -tf.math.log(sigmoid(-z))),
    "SiLU": (4, tf.nn.silu),
    "gate": (4, lambda z: z * softmax(z)),
    "layer above": (4, keras.Sequential([layers.Softmax(), layers.Dense(3)])),
    "rating": (1, lambda z: 1 + 4 * sigmoid(z)),
    "mean rating": (2, lambda z: 1 + 4 * tf.reduce_mean(sigmoid(z), -1, keepdims=True)),
    "position": (1, lambda z: 2 * sigmoid(z) - 1),
    "gated log softmax": (1, lambda z: tf.nn.log_softmax(tf.concat([z, -z], 1))[:, :1] * sigmoid(z)),
    "constant share": (4, lambda z: z / 3 + 0.5),
}


@pytest.mark.parametrize("name", PLAIN)
def test_other_heads_are_explained_themselves_and_nothing_is_warned_of(name):
    units, head = PLAIN[name]
    model = Head(head, units)
    explanation = tfs.Gradient(model).explain(X)
    assert explanation.explained == "the output itself: no softmax or sigmoid at its end"
    said = model(X).numpy()
    np.testing.assert_array_equal(explanation.target, said.argmax(-1))
    np.testing.assert_allclose(explanation.scores, said.max(-1), rtol=1e-5)
