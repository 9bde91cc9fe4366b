"""Targets in an output that is a sequence, against the model's own answers and a tape at the embedding."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

IDS = np.array([[3, 8, 1, 4, 2], [1, 1, 2, 0, 5]])
WORDS = 9


def built(*, lengths=None, softmax=False, causal=True):
    keras.utils.set_random_seed(0)
    reader = layers.LSTM(8, return_sequences=True)
    model = keras.Sequential([keras.Input((lengths,)), layers.Embedding(WORDS, 4, mask_zero=not causal, name="words")])
    model.add(reader if causal else layers.Bidirectional(reader))
    model.add(layers.Dense(WORDS, "softmax" if softmax else None))
    model.set_weights([5 * weights for weights in model.get_weights()])
    return model


@pytest.fixture(scope="module", params=[False, True], ids=["logits", "softmax"])
def model(request):
    return built(softmax=request.param)


def at_vectors(model, ids, score):
    """The norm of the gradient of a score at the embedding, by a tape."""
    embedding, *rest = model.layers
    with tf.GradientTape() as tape:
        vectors = embedding(ids)
        tape.watch(vectors)
        x = vectors
        for layer in rest:
            x = layer(x)
        scores = score(tf.math.log(x) if rest[-1].activation.__name__ == "softmax" else x)
    return np.linalg.norm(tape.gradient(scores, vectors), axis=-1), scores.numpy()


# --- one token ---


@pytest.mark.parametrize(("position", "index"), [(2, 1), (-1, 4), ([0, 3], [8, 0]), (None, 3)])
def test_token(position, index):
    model = built()
    explanation = tfs.Gradient(model).explain(IDS, tfs.target.token(position, index))
    places = np.broadcast_to(-1 if position is None else position, 2) % 5
    classes = np.broadcast_to(index, 2)
    expected, scores = at_vectors(model, IDS, lambda z: tf.stack([z[n, places[n], classes[n]] for n in range(2)]))
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-5)
    np.testing.assert_array_equal(explanation.target, classes)


@pytest.mark.parametrize(
    "method",
    [
        tfs.Gradient,
        tfs.GradientTimesInput,
        tfs.SmoothGrad,
        tfs.IntegratedGradients,
        tfs.LRP,
        tfs.DeepLIFT,
        tfs.Occlusion,
    ],
)
@pytest.mark.parametrize("position", range(5))
def test_what_was_not_read_yet_has_no_say(model, method, position):
    """Strictly causal: exactly zero for each later word, and something for those that were read."""
    explainer = method(model, samples=4) if method is tfs.SmoothGrad else method(model)
    values = explainer.explain(IDS, tfs.target.token(position)).values
    # Occlusion compares two scores, which some processors round by where a row stands in its batch.
    rounding = 5e-7 if method is tfs.Occlusion else 0
    assert (np.abs(values[:, position + 1 :]) <= rounding).all()
    assert (np.abs(values[:, : position + 1]) > 1e-4).any(axis=1).all()


def test_the_top_class_is_that_of_the_position(model):
    explanation = tfs.Gradient(model).explain(IDS, tfs.target.token([1, 4]))
    np.testing.assert_array_equal(explanation.target, model(IDS).numpy()[[0, 1], [1, 4]].argmax(axis=-1))
    np.testing.assert_array_equal(explanation.diagnostics["position"], [1, 4])


def test_noise_does_not_change_the_top_token(model):
    """The class is chosen on the inputs as given: a copy of much noise is scored for it."""
    many = tfs.SmoothGrad(model, samples=20, noise=2.0).explain(IDS, tfs.target.token(2))
    named = tfs.SmoothGrad(model, samples=20, noise=2.0).explain(IDS, tfs.target.token(2, many.target))
    np.testing.assert_array_equal(many.values, named.values)


# --- several tokens ---


def test_sequence(model):
    """Under teacher forcing the sum of log-probabilities, for answers of different lengths."""
    explanation = tfs.Gradient(model).explain(IDS, tfs.target.sequence([[1, 4], [2]], first=[1, 2]))

    def score(z):
        said = tf.nn.log_softmax(z)
        return tf.stack([said[0, 1, 1] + said[0, 2, 4], said[1, 2, 2]])

    expected, scores = at_vectors(model, IDS, score)
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-4)
    assert (explanation.scores < 0).all()
    assert explanation.target is None


@pytest.mark.parametrize("head", ["softmax", "sigmoid", "linear"])
def test_a_sequence_is_of_probabilities_whatever_the_model_ends_in(head):
    """A gradient by hand of the logarithm of what the model says, or of the softmax of its logits."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3, 4)), layers.Dense(5, head)])
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    explanation = tfs.Gradient(model).explain(x, tfs.target.sequence([1, 4], first=1))
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        said = model(inputs)
        said = tf.math.log(tf.nn.softmax(said) if head == "linear" else said)
        scores = said[:, 1, 1] + said[:, 2, 4]
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-5)
    np.testing.assert_allclose(explanation.values, tape.gradient(scores, inputs), rtol=1e-4, atol=1e-6)


def test_a_sequence_is_the_sum_of_its_tokens(model):
    """Integrated Gradients add up over the tokens of an answer."""
    explainer = tfs.IntegratedGradients(model, steps=64)
    whole = explainer.explain(IDS, tfs.target.sequence([4, 2], first=2)).values
    parts = [
        explainer.explain(IDS, tfs.target.sequence([word], first=place)).values for word, place in ((4, 2), (2, 3))
    ]
    np.testing.assert_allclose(whole, sum(parts), atol=1e-5)


# --- contrasts ---


def test_the_default_of_a_language_model_is_its_next_word_against_the_runner_up(model):
    explanation = tfs.Gradient(model).explain(IDS)
    ranked = np.argsort(-model(IDS).numpy()[:, -1], axis=-1)
    np.testing.assert_array_equal(explanation.target, ranked[:, 0])
    np.testing.assert_array_equal(explanation.diagnostics["foil"], ranked[:, 1])

    def margin(z):
        return tf.stack([z[n, -1, ranked[n, 0]] - z[n, -1, ranked[n, 1]] for n in (0, 1)])

    expected, scores = at_vectors(model, IDS, margin)
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-4)
    assert explanation.provenance["target"] == "contrast()"


def test_padding_at_the_end_is_no_last_word():
    """And the advised target has the map of each text alone."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int32")
    y = layers.Embedding(WORDS, 4, mask_zero=True)(ids)
    model = keras.Model(ids, layers.Dense(WORDS)(layers.MultiHeadAttention(2, 4)(y, y, use_causal_mask=True)))
    padded = np.array([[3, 8, 1, 4, 2], [1, 5, 2, 0, 0]])
    explainer = tfs.GradientTimesInput(model)
    with pytest.warns(
        UserWarning, match=r"in the samples \[1\] that is padding, by \(ids != 0\).*position=lengths - 1"
    ):
        explainer.explain(padded)
    lengths = (padded != 0).sum(axis=1)
    explanation = explainer.explain(padded, tfs.target.contrast(position=lengths - 1))
    for row, length, values in zip(padded, lengths, explanation.values, strict=True):
        alone = explainer.explain(row[None, :length]).values[0]
        np.testing.assert_allclose(values[:length], alone, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(values[length:], 0)


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_causal_model_of_words_has_that_default(causal):
    """A tagger that reads both ways, or has other classes than ids, says which position it is about."""
    if causal:
        model = built()
        model = keras.Sequential([keras.Input((None,)), *model.layers, layers.Dense(3)])
    else:
        model = built(causal=False)
    # Ids that are all padding but for the first two: what a reader of both ways passes over tells nothing.
    for ids in (IDS, IDS * [1, 1, 0, 0, 0]):
        with pytest.raises(ValueError, match=r"A class target needs .*target.token\(position, class\)"):
            tfs.Gradient(model).explain(ids)


def test_contrast_of_classes(model):
    expected, _ = at_vectors(model, IDS, lambda z: z[:, 1, 4] - z[:, 1, 7])
    found = tfs.Gradient(model).explain(IDS, tfs.target.contrast(4, 7, position=1))
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-7)
    # What is left out is the best of the rest.
    ranked = np.argsort(-model(IDS).numpy()[:, 1], axis=-1)
    against = tfs.Gradient(model).explain(IDS, tfs.target.contrast(ranked[:, 0], position=1))
    np.testing.assert_array_equal(against.diagnostics["foil"], ranked[:, 1])
    top = tfs.Gradient(model).explain(IDS, tfs.target.contrast(loser=ranked[:, 0], position=1))
    np.testing.assert_array_equal(top.target, ranked[:, 1])


def test_a_contrast_needs_no_sequence():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "softmax")])
    weights = model.get_weights()[0]
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    explanation = tfs.Gradient(model).explain(x, tfs.target.contrast())
    ranked = np.argsort(-model(x).numpy(), axis=-1)
    np.testing.assert_allclose(explanation.values, (weights[:, ranked[:, 0]] - weights[:, ranked[:, 1]]).T, rtol=1e-5)


# --- what is refused ---


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (tfs.target.token(0, 9), "classes 0 to 8. Received: target 9"),
        (tfs.target.contrast(0, 9), "classes 0 to 8. Received: target 9"),
        (tfs.target.token([1, 2, 3], 0), "holds 3 numbers of 'position' for 2 samples"),
        (tfs.target.sequence([[1], [2], [3]]), "holds 3 sequences for 2 samples"),
        (tfs.target.sequence([1], first=-1), "Received: ids for the positions -1 to -1"),
        (tfs.target.region(None, 9), "classes 0 to 8. Received: target 9"),
    ],
)
def test_what_the_output_does_not_have(model, target, message):
    with pytest.raises(ValueError, match=message):
        tfs.Gradient(model).explain(IDS, target)


@pytest.mark.parametrize("length", [None, 5])
@pytest.mark.parametrize("target", [tfs.target.token(5, 0), tfs.target.token(-6, 0), tfs.target.sequence([1, 2, 3], 3)])
def test_a_position_that_the_output_does_not_have(length, target):
    """Known when the model is traced, or only when it runs."""
    with pytest.raises(ValueError, match=r"position.*as long as: 5|positions 0 to 4|has 5 positions"):
        tfs.Gradient(built(lengths=length)).explain(IDS, target)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tfs.target.token("last"), "position is a whole number, or one per sample. Received: 'last'"),
        (lambda: tfs.target.token(1.5), "position is a whole number"),
        (lambda: tfs.target.sequence([]), "ids is a whole number, or one per sample"),
        (lambda: tfs.target.sequence([3, -1]), "Token ids are whole numbers from 0 on. Received: -1"),
    ],
)
def test_what_is_no_target(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_tag_of_an_output_without_places():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
    with pytest.raises(ValueError, match=r"shape \(None, 4\): for \(N, classes\) pass the class alone"):
        tfs.Gradient(model).explain(np.ones((1, 3)), tfs.target.token(0, 1))
    with pytest.raises(ValueError, match=r"A position is one of a sequence"):
        tfs.Gradient(model).explain(np.ones((1, 3)), tfs.target.contrast(0, 1, position=2))
