"""Mutagenesis, shuffled references and hypothetical contributions, against loops over the model itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

LETTERS, LENGTH = 4, 40
PLACES = np.random.default_rng(0).integers(LETTERS, size=(3, LENGTH))
X = np.eye(LETTERS, dtype="float32")[PLACES]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    network = [layers.Conv1D(6, 4, activation="relu"), layers.Conv1D(5, 3, activation="relu"), layers.Flatten()]
    return keras.Sequential([keras.Input((LENGTH, LETTERS)), *network, layers.Dense(2)])


def mutated(model, target):
    """The change of a logit for each place and letter, one copy at a time."""
    before = model(X).numpy()[:, target]
    values = np.zeros(X.shape)
    for place in range(LENGTH):
        for letter in range(LETTERS):
            changed = X.copy()
            changed[:, place] = np.eye(LETTERS)[letter]
            values[:, place, letter] = model(changed).numpy()[:, target] - before
    return values


@pytest.mark.parametrize("batch_size", [None, 7])
def test_mutagenesis(model, batch_size):
    explanation = tfs.Mutagenesis(model).explain(X, 1, batch_size=batch_size)
    np.testing.assert_allclose(explanation.values, mutated(model, 1), rtol=1e-4, atol=1e-5)
    assert (explanation.values[X == 1] == 0).all()


def test_some_places_alone(model):
    explanation = tfs.Mutagenesis(model, start=3, stop=5).explain(X, 0)
    expected = mutated(model, 0)
    expected[:, :3] = expected[:, 5:] = 0
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-4, atol=1e-5)


def test_a_function_of_arrays(model):
    explanation = tfs.Mutagenesis(lambda x: model.predict(x, verbose=0)).explain(X, 1)
    np.testing.assert_allclose(explanation.values, mutated(model, 1), rtol=1e-4, atol=1e-5)


def test_a_place_without_a_letter(model):
    """An unknown letter, as N in DNA, changes to each of the others."""
    x = X.copy()
    x[:, 2] = 0
    values = tfs.Mutagenesis(model, start=2, stop=3).explain(x, 1).values[:, 2]
    for letter in range(LETTERS):
        changed = x.copy()
        changed[:, 2, letter] = 1
        np.testing.assert_allclose(values[:, letter], (model(changed) - model(x)).numpy()[:, 1], rtol=1e-3, atol=1e-5)


# --- shuffled references ---


def pairs_of(x):
    letters = x.argmax(axis=-1)
    return np.stack([np.bincount(row[:-1] * LETTERS + row[1:], minlength=LETTERS**2) for row in letters])


@pytest.fixture(scope="module")
def references():
    """The shuffles that a method is given, as it is given them."""
    seen = []
    baseline = tfs.baselines.shuffled(samples=6, seed=3)
    for i in range(6):
        seen.append(baseline.at(tf.constant(X), tf.constant(0), tf.constant(i), tf.range(3), None).numpy())
    return baseline, seen


def test_references_keep_pairs(references):
    _, seen = references
    assert len({each.tobytes() for each in seen}) == 6
    for each in seen:
        np.testing.assert_array_equal(pairs_of(each), pairs_of(X))
        assert (each != X).any()


def test_a_reference_does_not_depend_on_batch_mates(references):
    baseline, seen = references
    alone = baseline.at(tf.constant(X[1:2]), tf.constant(0), tf.constant(4), tf.constant([1]), None).numpy()
    np.testing.assert_array_equal(alone, seen[4][1:2])


@pytest.mark.parametrize("make", [tfs.DeepLIFT, lambda model, baseline: tfs.Occlusion(model, 1, 1, baseline)])
def test_methods_average_over_them(model, references, make):
    baseline, seen = references
    values = make(model, baseline).explain(X, 1).values
    each = [make(model, tfs.baselines.per_sample(reference)).explain(X, 1).values for reference in seen]
    np.testing.assert_allclose(values, np.mean(each, axis=0), rtol=1e-4, atol=1e-5)


def test_contributions_are_complete(model, references):
    baseline, seen = references
    explanation = tfs.DeepLIFT(model, baseline).explain(X, 1)
    expected = model(X).numpy()[:, 1] - np.mean([model(each).numpy()[:, 1] for each in seen], axis=0)
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2)), expected, rtol=1e-4, atol=1e-5)
    assert (np.abs(explanation.diagnostics["completeness_gap"]) < 1e-4).all()


def test_ids_are_shuffled_too():
    model = keras.Sequential([keras.Input((6,)), layers.Embedding(9, 4), layers.Flatten(), layers.Dense(2)])
    values = (
        tfs.DeepLIFT(model, tfs.baselines.shuffled(k=1, samples=4)).explain(np.array([[1, 2, 3, 4, 5, 6]]), 1).values
    )
    assert values.shape == (1, 6) and (values != 0).any()


# --- hypothetical contributions ---


def test_hypothetical_contributions(model, references):
    """Against the definition, from multipliers that DeepLIFT itself has against one reference of all zeros more."""
    baseline, seen = references
    found = tfs.DeepLIFT(model, baseline).hypothetical().explain(X, 1)
    expected = np.zeros(X.shape)
    for reference in seen:
        multipliers = multipliers_of(model, reference)
        for letter in range(LETTERS):
            expected[..., letter] += ((np.eye(LETTERS)[letter] - reference) * multipliers).sum(axis=-1) / len(seen)
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-5)


def multipliers_of(model, reference):
    """DeepLIFT's rescale rule, by hand: the slope of each rectifier between the reference and the inputs."""
    first, second, _, head = model.layers
    flow = np.tile(head.get_weights()[0][:, 1], (len(X), 1)).reshape(len(X), LENGTH - 5, 5)
    between = {"x": X, "x0": reference}
    sums = {}
    for layer in (first, second):
        kernel, bias = layer.get_weights()
        for name in between:
            sums[layer.name, name] = tf.nn.conv1d(between[name], kernel, 1, "VALID").numpy() + bias
            between[name] = np.maximum(sums[layer.name, name], 0)
    for layer in (second, first):
        z, z0 = sums[layer.name, "x"], sums[layer.name, "x0"]
        apart = np.where(np.abs(z - z0) > 1e-6, z - z0, 1.0)
        slope = np.where(np.abs(z - z0) > 1e-6, (np.maximum(z, 0) - np.maximum(z0, 0)) / apart, (z > 0) * 1.0)
        kernel = layer.get_weights()[0]
        below = np.zeros((len(X), flow.shape[1] + len(kernel) - 1, kernel.shape[1]))
        for place in range(flow.shape[1]):
            below[:, place : place + len(kernel)] += np.einsum("no,kio->nki", (flow * slope)[:, place], kernel)
        flow = below
    return flow


def test_times_the_inputs_they_are_the_contributions(model, references):
    baseline, _ = references
    deeplift = tfs.DeepLIFT(model, baseline)
    actual = deeplift.explain(X, 1)
    there = deeplift.hypothetical().then(tfs.transforms.times_input).explain(X, 1)
    np.testing.assert_allclose(there.values.sum(axis=-1), actual.values.sum(axis=-1), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(there.diagnostics["completeness_gap"], actual.diagnostics["completeness_gap"])


@pytest.mark.parametrize(
    ("make", "x", "message"),
    [
        (
            tfs.Mutagenesis,
            X + 0.5,
            r"Mutagenesis is for sequences of letters.*numbers from 0.5 to 1.5, up to 3 a place",
        ),
        (tfs.Mutagenesis, np.ones((2, LENGTH, LETTERS)), r"up to 4 a place"),
        (lambda model: tfs.Mutagenesis(model, start=40), X, r"places 0 to 39. Received: start=40, stop=40"),
        (lambda model: tfs.Mutagenesis(model, stop=41), X, r"places 0 to 39. Received: start=0, stop=41"),
        (lambda model: tfs.DeepLIFT(model).hypothetical(), X / 2, r"hypothetical is for sequences of letters"),
    ],
)
def test_what_are_no_letters(model, make, x, message):
    with pytest.raises(ValueError, match=message):
        make(model).explain(x, 1)


def test_what_cannot_be_shuffled():
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"shuffled is for sequences of letters.*shape \(2, 4, 4, 1\)"):
        tfs.DeepLIFT(model, tfs.baselines.shuffled()).explain(np.ones((2, 4, 4, 1)))


# --- logos ---


def heights(axis):
    """The box of each letter: place, bottom and height."""
    boxes = [patch.get_path().get_extents() for patch in axis.patches]
    return sorted((round(box.x0 + 0.46), box.y0, box.height) for box in boxes)


def test_a_letter_is_as_high_as_its_value(model):
    explanation = tfs.DeepLIFT(model).explain(X, 1).map(tfs.transforms.onto_letters)
    figure = tfs.plot.logo(explanation, start=5, stop=9)
    assert len(figure.axes) == 3
    for axis, values in zip(figure.axes, explanation.values[:, 5:9].sum(axis=-1), strict=True):
        drawn = heights(axis)
        assert [place for place, *_ in drawn] == [5, 6, 7, 8]
        np.testing.assert_allclose([height for *_, height in drawn], np.abs(values), rtol=1e-4)
        # Below the line where a letter speaks against the target.
        np.testing.assert_allclose([bottom for _, bottom, _ in drawn], np.minimum(values, 0), rtol=1e-4, atol=1e-7)


def test_letters_of_a_place_are_stacked(model):
    explanation = tfs.Mutagenesis(model).explain(X[:1], 1)
    drawn = heights(tfs.plot.logo(explanation).axes[0])
    for place, values in enumerate(explanation.values[0]):
        boxes = [(bottom, height) for at, bottom, height in drawn if at == place]
        assert len(boxes) == 3
        assert np.isclose(
            max(bottom + height for bottom, height in boxes + [(0, 0)]), values[values > 0].sum(), rtol=1e-4
        )
        assert np.isclose(min(bottom for bottom, _ in boxes + [(0, 0)]), values[values < 0].sum(), rtol=1e-4)


def test_what_is_no_logo(model):
    explanation = tfs.Gradient(model).explain(X, 1)
    with pytest.raises(ValueError, match=r"A logo shows values \(N, L, 3\) for one target, for the letters 'ABC'"):
        tfs.plot.logo(explanation, alphabet="ABC")
    with pytest.raises(ValueError, match=r"have 40 places. Received: start=30, stop=50"):
        tfs.plot.logo(explanation, start=30, stop=50)
