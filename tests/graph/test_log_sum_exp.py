"""The logarithm of a sum of exponentials, however it is written, and the softmax that it is subtracted in."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfsaliency as tfs

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")


def by_hand(z, axis, keepdims=False):
    top = tf.reduce_max(z, axis=axis, keepdims=True)
    summed = tf.math.log(tf.reduce_sum(tf.exp(z - top), axis=axis, keepdims=keepdims))
    return summed + (top if keepdims else tf.squeeze(top, axis=axis))


WRITTEN = {
    "tf": lambda z: tf.reduce_logsumexp(z, axis=1),
    "ops": lambda z: ops.logsumexp(z, axis=1),
    "by hand": lambda z: by_hand(z, 1),
    "kept": lambda z: by_hand(z, 1, keepdims=True)[:, 0],
    "stable": lambda z: tf.reduce_logsumexp(z, axis=1, keepdims=True)[:, 0],
}


def model_of(function):
    keras.utils.set_random_seed(0)
    x = keras.Input((5, 4))
    hidden = layers.Dense(8, "relu")(x)
    return keras.Model(x, layers.Lambda(function)(layers.Dense(2)(hidden)))


@pytest.mark.parametrize("name", WRITTEN)
def test_deeplift_is_complete_and_lrp_hands_on_by_share(name):
    """LRP of the sum is that of the terms, each with its share of the score: the softmax over the terms."""
    model = model_of(WRITTEN[name])
    lifted = tfs.DeepLIFT(model).explain(X, 1)
    expected = lifted.scores - tfs.DeepLIFT(model).scores(np.zeros_like(X), 1)
    np.testing.assert_allclose(lifted.values.sum(axis=(1, 2)), expected, rtol=1e-4, atol=1e-5)

    terms = keras.Model(model.inputs, model.layers[-2].output)
    z = terms.predict(X, verbose=0)[..., 1]
    shares = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    of_terms = tfs.LRP(terms, "epsilon").explain(X, tfs.target.each([tfs.target.token(t, 1) for t in range(5)]))
    scores = tfs.Gradient(model).scores(X, 1)
    weights = shares * scores[:, None] / z
    np.testing.assert_allclose(
        tfs.LRP(model, "epsilon").explain(X, 1).values,
        np.einsum("nt,ntij->nij", weights, of_terms.values),
        rtol=1e-3,
        atol=1e-4,
    )


def test_a_softmax_over_two_axes_is_the_one_over_their_places():
    """Keras writes the first as an exponential of what is left without the log-sum-exp."""

    def attended(over_two):
        keras.utils.set_random_seed(0)
        x = keras.Input((4, 4, 3))
        hidden = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        scored = layers.Conv2D(1, 1)(hidden)
        if over_two:
            weights = layers.Softmax(axis=[1, 2])(scored)
        else:
            weights = layers.Reshape((4, 4, 1))(layers.Softmax()(layers.Flatten()(scored)))
        return keras.Model(x, layers.Dense(3)(ops.sum(hidden * weights, axis=(1, 2))))

    x = np.random.default_rng(1).normal(size=(2, 4, 4, 3)).astype("float32")
    for method in (tfs.LRP, tfs.DeepLIFT, tfs.DeepTaylor):
        two, one = (method(attended(over_two)).explain(x, 1).values for over_two in (True, False))
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda z: tf.reduce_sum(tf.exp(z - tf.reduce_max(z, 1, keepdims=True)), 1) + tf.reduce_max(z, 1),
        lambda z: tf.math.log(tf.reduce_sum(tf.exp(z - 1.0), 1)) + 2.0,
        lambda z: tf.math.log(tf.reduce_sum(tf.exp(z - tf.reduce_max(z, 1, keepdims=True)), 1)) + tf.reduce_mean(z, 1),
    ],
)
def test_what_only_looks_like_one_keeps_its_own_rules(function):
    lifted = tfs.DeepLIFT(model_of(function)).explain(X, 1)
    expected = lifted.scores - tfs.DeepLIFT(model_of(function)).scores(np.zeros_like(X), 1)
    np.testing.assert_allclose(lifted.values.sum(axis=(1, 2)), expected, rtol=1e-4, atol=1e-5)
