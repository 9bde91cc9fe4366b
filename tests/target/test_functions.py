"""Functions of the logits and of the inputs, against a tape over the model itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

X = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")


@pytest.fixture(scope="module")
def autoencoder():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), layers.Dense(3, "tanh"), layers.Dense(6)])


def error(reconstruction, inputs):
    return tf.reduce_sum(tf.square(reconstruction - inputs), axis=-1)


def test_a_function_of_two_arguments_sees_the_inputs(autoencoder):
    """Both ways from the inputs to the error have a gradient: through the model, and beside it."""
    explanation = tfs.Gradient(autoencoder).explain(X, error)
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        scores = error(autoencoder(x), x)
    np.testing.assert_allclose(explanation.values, tape.gradient(scores, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-5)
    assert explanation.provenance["target"] == "error(logits, inputs)"


def test_copies_are_compared_with_themselves(autoencoder):
    """Occlusion hides a number from the model and from the comparison alike."""
    values = tfs.Occlusion(autoencoder, window=1, stride=1).explain(X, error).values
    for place in range(6):
        hidden = X.copy()
        hidden[:, place] = 0
        lost = error(autoencoder(X), X) - error(autoencoder(hidden), hidden)
        np.testing.assert_allclose(values[:, place], lost, rtol=1e-4, atol=1e-5)


def test_a_path_adds_up_to_the_change_of_the_error(autoencoder):
    explanation = tfs.IntegratedGradients(autoencoder, steps=200).explain(X, error)
    zeros = np.zeros_like(X)
    expected = error(autoencoder(X), X) - error(autoencoder(zeros), zeros)
    np.testing.assert_allclose(explanation.values.sum(axis=1), expected, rtol=1e-3)


@pytest.mark.parametrize("method", [tfs.LRP, tfs.DeepTaylor, tfs.DeepLIFT])
def test_rules_refuse_it_and_their_advice_works(autoencoder, method):
    with pytest.raises(ValueError, match=r"error\(logits, inputs\) has another way.*keras.Model\(x, keras.ops.sum"):
        method(autoencoder).explain(X, error)
    x = keras.Input((6,))
    model = keras.Model(x, keras.ops.sum((autoencoder(x) - x) ** 2, axis=-1))
    np.testing.assert_allclose(method(model).explain(X, lambda z: z).scores, error(autoencoder(X), X), rtol=1e-5)


def test_two_pictures_of_a_siamese_network():
    """The distance of two encodings is a function of both outputs, and each picture has its share."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((6,)), layers.Dense(4, "tanh")])
    first, second = keras.Input((6,)), keras.Input((6,))
    model = keras.Model([first, second], [encoder(first), encoder(second)])
    inputs = [X, np.roll(X, 1, axis=0)]

    def distance(logits):
        return tf.reduce_sum(tf.square(logits[0] - logits[1]), axis=-1)

    values = tfs.Gradient(model).explain(inputs, distance).values
    with tf.GradientTape() as tape:
        parts = [tf.constant(part) for part in inputs]
        tape.watch(parts)
        score = distance(model(parts))
    for found, expected in zip(values, tape.gradient(score, parts), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_ids_beside_numbers_are_seen_as_they_were_passed():
    keras.utils.set_random_seed(0)
    ids, numbers = keras.Input((3,), name="ids"), keras.Input((2,), name="numbers")
    both = layers.Concatenate()([layers.Flatten()(layers.Embedding(5, 4)(ids)), numbers])
    model = keras.Model({"ids": ids, "numbers": numbers}, layers.Dense(1)(both))
    inputs = {"ids": np.array([[1, 2, 4]]), "numbers": np.array([[0.5, -2.0]], "float32")}

    def score(logits, inputs):
        return logits[:, 0] + 3 * inputs["numbers"][:, 1] + tf.reduce_sum(tf.cast(inputs["ids"], tf.float32), axis=1)

    explanation = tfs.Gradient(model).explain(inputs, score)
    alone = tfs.Gradient(model).explain(inputs, lambda logits: logits[:, 0])
    np.testing.assert_allclose(explanation.values["numbers"] - alone.values["numbers"], [[0, 3]], atol=1e-5)
    np.testing.assert_allclose(explanation.values["ids"], alone.values["ids"], rtol=1e-5)
    np.testing.assert_allclose(explanation.scores - alone.scores, [-6 + 7], rtol=1e-5)


LABELS = np.array([1, 0, 5])


@pytest.mark.parametrize(
    "function",
    [
        lambda z: tf.gather(z, LABELS, axis=1, batch_dims=1),
        lambda z: tf.reduce_sum(z * np.eye(6, dtype="float32")[LABELS], axis=1),
    ],
    ids=["gather", "product"],
)
@pytest.mark.parametrize(
    "method",
    [lambda model: tfs.SmoothGrad(model, samples=3), tfs.IntegratedGradients, lambda model: tfs.Occlusion(model, 1, 1)],
    ids=["SmoothGrad", "IntegratedGradients", "Occlusion"],
)
def test_a_function_that_holds_a_number_for_each_row_is_an_error_whose_advice_works(autoencoder, function, method):
    explainer = method(autoencoder)
    with pytest.raises(ValueError, match=r"The target failed on a batch of 3 rows.*pass classes as target=labels"):
        explainer.explain(X, function)
    alone = [explainer.explain(X[row : row + 1], int(label)).values[0] for row, label in enumerate(LABELS)]
    np.testing.assert_allclose(explainer.explain(X, LABELS).values, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda z: z.numpy()[:, 0],
        lambda z: np.exp(z)[:, 0],
        lambda z: z[:, 1] if z[0, 0] > 0 else z[:, 2],
        lambda z: [float(row[1]) for row in z],
    ],
)
def test_a_function_that_asks_a_tensor_for_its_values_is_refused(function, autoencoder):
    with pytest.raises(ValueError, match=r"Write it with TensorFlow operations, as lambda z: tf.nn.relu.*tf.where\(z"):
        tfs.Gradient(autoencoder).explain(X, function)
    tfs.Gradient(autoencoder).explain(X, lambda z: tf.nn.relu(z[:, 1]) + 0.1 * z[:, 1])
    tfs.Gradient(autoencoder).explain(X, lambda z: tf.where(z[:, 0] > 0, z[:, 1], z[:, 2]))


def test_a_score_that_is_no_number_is_an_error(autoencoder):
    """Its gradient may be finite: that of ``log p`` is ``1 / p``."""
    with pytest.raises(ValueError, match=r"The scores of the samples \[.*\] are not finite: \[nan"):
        tfs.Gradient(autoencoder).explain(X, lambda z: tf.math.log(-tf.square(z[:, 0]) - 1))


def test_a_function_that_puts_rows_together_is_warned_of():
    """Less the mean over the batch, a score has a gradient of zero for all rows together."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(6, 4))
    with pytest.warns(UserWarning, match="The target function puts the rows of a batch together at .*of type Mean"):
        tfs.GradientTimesInput(model).explain(x, lambda logits: logits[:, 1] - 0.5 * tf.reduce_mean(logits[:, 1]))
    # What is put together within a row is the row's own.
    for function in (
        lambda logits: logits[:, 1] - tf.reduce_mean(logits, axis=1),
        lambda logits: tf.reduce_logsumexp(logits, axis=-1),
        lambda logits: tf.nn.log_softmax(logits)[:, 0],
        lambda logits: tf.gather(logits, 1, axis=1),
        lambda logits: tf.reshape(tf.transpose(logits), [2, -1])[0],
    ):
        tfs.GradientTimesInput(model).explain(x, function)
