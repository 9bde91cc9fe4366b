"""Padding is no place, nor is a part that is held: every metric says the same of a text with padding behind it, and
with a mask beside it.
"""

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs

IDS = np.random.default_rng(0).integers(1, 30, size=(4, 6))
PADDED = np.pad(IDS, [(0, 0), (0, 14)])
# Texts of other lengths, in one batch. No id is there twice: equal values would be ranked by their last digits.
_MIXED = np.random.default_rng(2).permuted(np.tile(np.arange(1, 30), (4, 1)), axis=1)[:, :20]
RAGGED = np.where(np.arange(20) < np.array([[6], [3], [20], [11]]), _MIXED, 0)
INSIDE = np.isin(np.arange(20), (2, 3))


@pytest.fixture(scope="module")
def model():
    generator = np.random.default_rng(1)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(30, 8, mask_zero=True),
            layers.Dense(8, activation="tanh"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.set_weights([generator.normal(size=weight.shape) * 0.6 for weight in model.get_weights()])
    return model


METRICS = {
    "Gini": lambda explainer, places: tfs.metrics.Gini(),
    "Entropy": lambda explainer, places: tfs.metrics.Entropy(),
    "cascading": lambda explainer, places: tfs.metrics.ModelRandomization(explainer),
    "efficient": lambda explainer, places: tfs.metrics.ModelRandomization(explainer, kind="efficient"),
    "RandomLogit": lambda explainer, places: tfs.metrics.RandomLogit(explainer),
    "BaselineSensitivity": lambda explainer, places: tfs.metrics.BaselineSensitivity(explainer, [3, 7]),
    "MuFidelity": lambda explainer, places: tfs.metrics.MuFidelity(explainer.model),
    "Infidelity": lambda explainer, places: tfs.metrics.Infidelity(explainer.model),
    "SingleDeletion": lambda explainer, places: tfs.metrics.SingleDeletion(explainer.model),
    "Deletion": lambda explainer, places: tfs.metrics.Deletion(explainer.model),
    "Comprehensiveness": lambda explainer, places: tfs.metrics.Comprehensiveness(explainer.model),
    "PointingGame": lambda explainer, places: tfs.metrics.PointingGame(np.tile(INSIDE[:places], (4, 1))),
    "RelevanceMass": lambda explainer, places: tfs.metrics.RelevanceMass(np.tile(INSIDE[:places], (4, 1))),
    "RankAccuracy": lambda explainer, places: tfs.metrics.RankAccuracy(np.tile(INSIDE[:places], (4, 1))),
}


def measured(name, explainer, ids):
    return METRICS[name](explainer, ids.shape[1]).measure(explainer.explain(ids, 1))


@pytest.mark.parametrize("name", METRICS)
def test_padding_changes_nothing(name, model):
    explainer = tfs.DeepLIFT(model)
    found, expected = (measured(name, explainer, ids) for ids in (PADDED, IDS))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-3, atol=1e-4)
    if expected.chance is not None:
        np.testing.assert_allclose(found.chance, expected.chance, atol=1e-4)


@pytest.mark.parametrize("name", ["Gini", "RandomLogit", "MuFidelity", "SingleDeletion", "efficient"])
def test_texts_of_other_lengths_in_a_batch_change_nothing(name, model):
    explainer = tfs.DeepLIFT(model)
    found = measured(name, explainer, RAGGED)
    for row, ids in enumerate(RAGGED):
        alone = measured(name, explainer, ids[None, ids > 0])
        np.testing.assert_allclose(found.values[row], alone.values[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["Deletion", "cascading", "Comprehensiveness", "MuFidelity", "Gini"])
def test_masked_steps_of_a_series_are_no_places(name):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((None, 2)),
            layers.Masking(),
            layers.Dense(6, activation="tanh"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    series = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    explainer = tfs.DeepLIFT(model, 0.5)
    found, expected = (measured(name, explainer, each) for each in (np.pad(series, [(0, 0), (0, 9), (0, 0)]), series))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:The values of the samples")
def test_a_text_without_a_word_is_undefined_and_the_others_are_not():
    reader = layers.TextVectorization(vocabulary=["a", "b", "c"], output_mode="multi_hot")
    model = keras.Sequential([keras.Input((1,), dtype="string"), reader, layers.Dense(2, kernel_initializer="ones")])
    explanation = tfs.DeepLIFT(model).explain(np.array([["a b c"], [""]]), 1)
    for metric in (tfs.metrics.MuFidelity(model), tfs.metrics.SingleDeletion(model), tfs.metrics.Infidelity(model)):
        assert np.isnan(metric.measure(explanation).values[1])
    assert tfs.metrics.Infidelity(model).measure(explanation).values[0] < 1e-6
    where = np.array([[True, False, False], [True, False, False]])
    np.testing.assert_array_equal(tfs.metrics.PointingGame(where).measure(explanation).values, [1 / 3, np.nan])


def test_columns_with_a_table_each_are_no_text():
    """A category that equals the baseline gets exactly 0, and was taken for padding."""
    columns = keras.Input((3,), dtype="int32")
    keras.utils.set_random_seed(0)
    vectors = [layers.Flatten()(layers.Embedding(7, 2)(columns[:, each, None])) for each in range(3)]
    model = keras.Model(columns, layers.Dense(2, activation="softmax")(layers.Concatenate()(vectors)))
    explanation = tfs.DeepLIFT(model, 0).explain(np.array([[3, 0, 0], [0, 2, 0]]), 1)
    curve = tfs.metrics.Deletion(model, 5, steps=3).measure(explanation).details["curve"]
    np.testing.assert_allclose(curve[:, -1], model(np.full((2, 3), 5)).numpy()[:, 1], rtol=1e-5)


def test_padding_is_never_the_most_relevant_place(model):
    """Every word speaks against the class; padding has 0, which is more."""
    explainer = tfs.DeepLIFT(model)
    explanation = explainer.explain(PADDED, 1)
    against = explanation.map(lambda values, inputs: -np.abs(values))
    best = np.argmax(np.where(PADDED > 0, against.values, -np.inf), axis=1)
    where = np.arange(20) == best[:, None]
    np.testing.assert_array_equal(tfs.metrics.PointingGame(where).measure(against).values, 1.0)


@pytest.fixture(scope="module")
def alone_and_beside_a_mask():
    """One network of ids, and the same one with a second input that says which of them count."""
    keras.utils.set_random_seed(0)
    ids, mask = keras.Input((6,), dtype="int32", name="ids"), keras.Input((6,), dtype="int32", name="mask")
    words, mean = layers.Dense(8, "tanh")(layers.Embedding(30, 8)(ids)), layers.GlobalAveragePooling1D()
    top = layers.Dense(3, "softmax")
    masked = mean(words, mask=keras.ops.cast(mask, "bool"))
    return keras.Model(ids, top(mean(words))), keras.Model({"ids": ids, "mask": mask}, top(masked))


OF_PARTS = [name for name in METRICS if name not in ("PointingGame", "RelevanceMass", "RankAccuracy")]


@pytest.mark.parametrize("name", OF_PARTS)
def test_a_mask_that_is_held_changes_nothing(name, alone_and_beside_a_mask):
    alone, beside = map(tfs.DeepLIFT, alone_and_beside_a_mask)
    given = {"ids": IDS, "mask": np.ones_like(IDS)}
    assert list(beside.explain(given, 1).provenance["held"]) == ["mask"]
    expected = METRICS[name](alone, 6).measure(alone.explain(IDS, 1))
    found = METRICS[name](beside, 6).measure(beside.explain(given, 1))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-3, atol=1e-4)


def test_values_at_other_places_than_the_inputs_are_not_hidden(model):
    explanation = tfs.DeepLIFT(model).explain(IDS, 1)
    # As many words as ids, in the longest text.
    offsets = [[(2 * place, 2 * place + 1) for place in range(6)], *[[(place, place + 1) for place in range(6)]] * 3]
    words = explanation.by_word(["a b c d e f", *["abcdef"] * 3], offsets)
    assert words.values.shape == IDS.shape
    x = np.random.default_rng(0).normal(size=(2, 5))
    table = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    summed = tfs.GradientTimesInput(table).explain(x, 1).map(tfs.transforms.sum_channels)
    pictures = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(3, 3, strides=2, activation="relu")])
    pictures.add(layers.GlobalAveragePooling2D())
    coarse = tfs.GradCAM(pictures, upsample=False).explain(np.random.default_rng(0).normal(size=(2, 8, 8, 1)), 1)
    for of_model, measured in ((model, words), (table, summed), (pictures, coarse)):
        for metric in (tfs.metrics.Deletion(of_model), tfs.metrics.SingleDeletion(of_model)):
            with pytest.raises(
                ValueError, match="Measure it before by_word or such a transform, or with upsample=True"
            ):
                metric.measure(measured)
        assert tfs.metrics.Gini().measure(measured).values.shape == (len(measured),)


def test_each_id_is_a_place_also_where_several_are_in_a_row():
    """Words of letters, ``(N, T, K)``."""
    keras.utils.set_random_seed(0)
    table, last = layers.Embedding(9, 4), layers.Dense(2)
    ids = np.random.default_rng(0).integers(1, 9, size=(3, 4, 2))
    letters, flat = keras.Input((4, 2), dtype="int32"), keras.Input((8,), dtype="int32")
    of_letters = keras.Model(letters, last(layers.Flatten()(table(letters))))
    of_flat = keras.Model(flat, last(layers.Flatten()(table(flat))))
    for metric in (tfs.metrics.SingleDeletion, tfs.metrics.Deletion, lambda model: tfs.metrics.Gini()):
        found = metric(of_letters).measure(tfs.DeepLIFT(of_letters).explain(ids, 1))
        expected = metric(of_flat).measure(tfs.DeepLIFT(of_flat).explain(ids.reshape(3, 8), 1))
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)
    table = tfs.metrics.compare([tfs.DeepLIFT(of_letters)], ids, 1, metrics=[tfs.metrics.Deletion])
    assert np.isfinite(table.values[:, 0]).all()
