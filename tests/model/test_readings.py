"""A text that a model reads in several ways, against the same layers with a text of their own for each."""

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tests.harness import close

TEXTS = np.array([["a good film"], ["bad bad film indeed"], ["film"]])


def vectorizer(**options):
    made = layers.TextVectorization(**options)
    made.adapt(TEXTS)
    return made


def vectors(**options):
    return keras.Sequential([vectorizer(**options), layers.Embedding(30, 4), layers.Flatten()])


WORDS = {
    "ids": lambda: vectors(output_sequence_length=5),
    "fewer ids": lambda: vectors(output_sequence_length=3),
    "masked": lambda: keras.Sequential(
        [vectorizer(output_sequence_length=4), layers.Embedding(9, 4, mask_zero=True), layers.GlobalAveragePooling1D()]
    ),
    "bag": lambda: keras.Sequential([vectorizer(output_mode="count"), layers.Dense(3), layers.Flatten()]),
}
OTHERS = {
    "letters": lambda: vectors(split="character", output_sequence_length=8),
    "pairs": lambda: vectors(ngrams=(2,), output_sequence_length=4),
    "the whole": lambda: keras.Sequential(
        [layers.StringLookup(vocabulary=["film", "a good film"]), layers.Embedding(3, 4), layers.Flatten()]
    ),
}
METHODS = [
    lambda model: tfs.Gradient(model),
    lambda model: tfs.GradientTimesInput(model),
    lambda model: tfs.IntegratedGradients(model, steps=20),
    lambda model: tfs.DeepLIFT(model),
    lambda model: tfs.LRP(model, "epsilon"),
]


def models(*readers):
    """A model of one text, and its twin with a text for each way to read it."""
    keras.utils.set_random_seed(1)
    readers = [make() for make in readers]
    top = keras.Sequential([layers.Dense(6, "tanh"), layers.Dense(2)])
    one, *several = (keras.Input((1,), dtype="string") for _ in range(1 + len(readers)))
    ways = [[read(one) for read in readers], [read(text) for read, text in zip(readers, several, strict=True)]]
    made = [top(layers.Concatenate()(way)) for way in ways]
    return keras.Model(one, made[0]), keras.Model(several, made[1])


def explained(model, make, texts):
    explanation = make(model).explain(texts, 1)
    return explanation.values, explanation.tokens


@pytest.mark.filterwarnings("ignore:The values of the samples")
@pytest.mark.parametrize("make", METHODS, ids=lambda make: type(make(models(WORDS["bag"])[0])).__name__)
@pytest.mark.parametrize("other", OTHERS)
def test_other_parts_of_a_text_stand_beside_its_words(other, make):
    model, twin = models(WORDS["ids"], OTHERS[other])
    values, tokens = explained(model, make, TEXTS)
    of_twin = make(twin).explain([TEXTS, TEXTS], 1)
    expected = [each.reshape(len(TEXTS), -1) for each in of_twin.values]
    close(values, np.concatenate(expected, axis=1), 1e-5)
    assert tokens[0, :3].tolist() == ["a", "good", "film"]
    beside = {"letters": "a", "pairs": "a good", "the whole": "a good film"}
    assert tokens[0, expected[0].shape[1]] == beside[other]


@pytest.mark.filterwarnings("ignore:The values of the samples")
@pytest.mark.parametrize("make", METHODS[1:], ids=lambda make: type(make(models(WORDS["bag"])[0])).__name__)
@pytest.mark.parametrize(("first", "second"), [("ids", "fewer ids"), ("fewer ids", "masked"), ("bag", "ids")])
def test_what_is_told_of_a_word_adds_up(first, second, make):
    model, twin = models(WORDS[first], WORDS[second])
    values, tokens = explained(model, make, TEXTS)
    expected = np.zeros(values.shape, "float32")
    for each in make(twin).explain([TEXTS, TEXTS], 1).values:
        expected[:, : each.shape[1]] += each
    close(values, expected, 1e-5)
    assert [word for word in tokens[1] if word] == ["bad", "bad", "film", "indeed"]


def test_slopes_at_all_vectors_of_a_word_have_one_length():
    model, twin = models(WORDS["ids"], WORDS["ids"])
    values, _ = explained(model, tfs.Gradient, TEXTS)
    first, second = tfs.Gradient(twin).explain([TEXTS, TEXTS], 1).values
    close(values, np.hypot(first, second), 1e-5)


def test_places_of_all_ways_can_be_hidden():
    """Hidden one after the other, what the model says is that of the twin with the same words at the baseline."""
    model, twin = models(WORDS["ids"], OTHERS["letters"])
    explanation = tfs.IntegratedGradients(model, steps=20).explain(TEXTS, 1)
    of_twin = tfs.IntegratedGradients(twin, steps=20).explain([TEXTS, TEXTS], 1)
    (measured,), (expected,) = (
        (tfs.metrics.Deletion(each, steps=13).measure(found).values,)
        for each, found in ((model, explanation), (twin, of_twin))
    )
    np.testing.assert_allclose(measured, expected, rtol=1e-4)


def test_the_title_of_a_film():
    """Of a retrieval model: the title as a category, and its words; the text has no axis of its own."""
    keras.utils.set_random_seed(1)
    title, of_whole, of_words = (
        keras.Input((), dtype="string"),
        layers.Embedding(3, 2),
        layers.Embedding(9, 2, mask_zero=True),
    )
    whole = of_whole(layers.StringLookup(vocabulary=["film", "a good film"])(title))
    words = layers.GlobalAveragePooling1D()(of_words(vectorizer(output_sequence_length=3)(title)))
    top = layers.Dense(1, use_bias=False)
    model = keras.Model(title, top(layers.Concatenate()([whole, words])))
    explanation = tfs.GradientTimesInput(model).explain(TEXTS[:, 0])
    np.testing.assert_allclose(explanation.values.sum(axis=1), explanation.scores, rtol=1e-5)
    expected = of_whole(np.array([2, 0, 1])) @ top.kernel[:2]
    np.testing.assert_allclose(explanation.values[:, -1:], expected, rtol=1e-5)
    assert explanation.tokens[:, -1].tolist() == TEXTS[:, 0].tolist()


@pytest.mark.filterwarnings("ignore:The values of the samples")
@pytest.mark.parametrize("mode", ["multi_hot", "count"])
def test_a_batch_of_texts_without_a_word(mode):
    reader = layers.TextVectorization(vocabulary=["good", "bad"], output_mode=mode)
    model = keras.Sequential([keras.Input((1,), dtype="string"), reader, layers.Dense(2)])
    empty, beside = np.array([[""]]), np.array([[""], ["good bad"]])
    for make in (tfs.DeepLIFT, tfs.Occlusion):
        explanation = make(model).explain(empty, 1)
        np.testing.assert_array_equal(explanation.tokens, [[""]])
        np.testing.assert_array_equal(explanation.values, [[0.0]])
        np.testing.assert_allclose(explanation.scores, make(model).explain(beside, 1).scores[:1], atol=1e-6)
        assert np.isnan(tfs.metrics.Deletion(model).measure(explanation).values).all()
        explanation.plot()
