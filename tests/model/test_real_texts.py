"""Networks for texts that others have trained, as they lie in their packages; and one of ours on their table."""

import csv
import pickle
from collections import OrderedDict, defaultdict
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs


def folder(package):
    (found,) = find_spec(package).submodule_search_locations
    return Path(found)


# --- the sentiment of a sentence: an LSTM whose ids are declared as floats ---


class Tokenizer:
    """Stands in for the class in the package's pickle: its state is read, and nothing of it is run."""


class OnlyPlain(pickle.Unpickler):
    ALLOWED = {"Tokenizer": Tokenizer, "OrderedDict": OrderedDict, "defaultdict": defaultdict, "int": int}

    def find_class(self, module, name):
        return self.ALLOWED[name]


def sentiment_network():
    """The network of SentiToolKit, and what turns sentences into its ids: 100 of them, filled up with 0 in front."""
    inside = folder("SentiAnalyzer")
    model = keras.models.load_model(inside / "SentiToolKit.keras", compile=False, safe_mode=True)
    with open(inside / "tokenizer.pkl", "rb") as file:
        index = OnlyPlain(file).load().word_index

    def ids_of(*sentences):
        ids = np.zeros((len(sentences), 100), "int64")
        for row, sentence in zip(ids, sentences, strict=True):
            words = [index[word] for word in sentence.split() if index.get(word, 5000) < 5000]
            row[100 - len(words) :] = words
        return ids

    return model, ids_of


@pytest.fixture(scope="module")
def sentiment():
    return sentiment_network()


SENTENCES = "not bad at all really good", "the worst film i have ever seen", "i love this wonderful day"
POSITIVE, NEGATIVE = 2, 0


def test_the_words_of_a_sentence(sentiment):
    """Against the same sentence of nothing but padding, padding gets exactly nothing, and words the whole change."""
    model, ids_of = sentiment
    ids = ids_of(*SENTENCES)
    assert keras.ops.argmax(model(ids), axis=1).numpy().tolist()[1:] == [NEGATIVE, POSITIVE]
    classes = [POSITIVE, NEGATIVE, POSITIVE]
    explainer = tfs.IntegratedGradients(model, baseline=0, tolerance=1e-3, budget=400)
    explanation = explainer.explain(ids, classes)
    assert (explanation.values[ids == 0] == 0).all()
    empty = explainer.scores(np.zeros_like(ids), classes)
    np.testing.assert_allclose(explanation.values.sum(axis=1), explanation.scores - empty, rtol=2e-3, atol=1e-3)
    # Vectors of zeros are no padding to this network: much of the change is then told of what is no word.
    zeros = tfs.IntegratedGradients(model, tfs.baselines.zeros()).explain(ids, classes).values
    shares = (np.abs(zeros) * (ids == 0)).sum(axis=1) / np.abs(zeros).sum(axis=1)
    assert shares.max() > 0.05


def test_leaving_words_out_agrees(sentiment):
    """Leave-one-out is the model with padding for a word; the word that speaks most for a class is the same by both."""
    model, ids_of = sentiment
    ids = ids_of(SENTENCES[1])
    places = np.flatnonzero(ids[0])
    left_out = tfs.Occlusion(model, window=1, stride=1, baseline=0)
    values = left_out.explain(ids, NEGATIVE).values[0]
    for place in places:
        other = ids.copy()
        other[0, place] = 0
        change = left_out.scores(ids, NEGATIVE) - left_out.scores(other, NEGATIVE)
        np.testing.assert_allclose(values[place], change[0], atol=1e-5)
    along = tfs.IntegratedGradients(model, baseline=0).explain(ids, NEGATIVE).values[0]
    assert values[places].argmax() == along[places].argmax()


def test_floats_for_ids_are_the_same(sentiment):
    model, ids_of = sentiment
    ids = ids_of(*SENTENCES)
    whole, floats = (tfs.Gradient(model).explain(each, POSITIVE) for each in (ids, ids.astype("float32")))
    np.testing.assert_allclose(whole.values, floats.values, rtol=1e-5)


# --- where Thai words begin: two embedded inputs for the characters around a place ---


@pytest.fixture(scope="module")
def words():
    """The network of deepcut (Kittinaradorn et al. 2019), built again without an option that Keras has dropped."""

    def unit(x, filters, width):
        y = layers.Conv1D(filters, width, activation="relu")(x)
        return layers.ZeroPadding1D((0, width - 1))(layers.TimeDistributed(layers.Dense(5))(y))

    characters, types = (keras.Input((21,)) for _ in range(2))
    a = layers.BatchNormalization()(layers.Embedding(178, 32)(characters))
    filters = [200] * 8 + [150] * 3 + [100]
    largest = layers.Maximum()([unit(a, each, width) for width, each in enumerate(filters, start=1)])
    b = layers.Embedding(12, 12)(types)
    x = layers.BatchNormalization()(layers.Concatenate()([a, largest, b]))
    x = layers.Dense(100, activation="relu")(layers.Flatten()(x))
    model = keras.Model([characters, types], layers.Dense(1, activation="sigmoid")(x))
    model.load_weights(folder("deepcut") / "weight" / "cnn_without_ne_ab.h5")
    return model


def test_two_embedded_inputs(words):
    generator = np.random.default_rng(0)
    given = [generator.integers(1, 178, (3, 21)), generator.integers(1, 12, (3, 21))]
    explanation = tfs.DeepLIFT(words, baseline=0).explain(given, 1)
    assert [part.shape for part in explanation.values] == [(3, 21)] * 2
    nothing = tfs.DeepLIFT(words).scores([np.zeros_like(part) for part in given], 1)
    whole = sum(part.sum(axis=1) for part in explanation.values)
    np.testing.assert_allclose(whole, explanation.scores - nothing, rtol=1e-3, atol=1e-3)
    # What is said of the characters is what changes with them alone, where the types stay: the rest is a sum.
    one = tfs.DeepLIFT(words, baseline=[np.zeros(21), given[1][0]]).explain([part[:1] for part in given], 1)
    assert (one.values[1] == 0).all()


# --- penguins: a table with texts, trained here ---


def test_a_table_of_penguins():
    """The length of the bill tells a Chinstrap apart, and the island, where no Gentoo lives; its sex does not."""
    keras.utils.set_random_seed(0)
    with open(folder("palmerpenguins") / "data" / "penguins.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if "NA" not in row.values() and "" not in row.values()]
    texts, numbers = ("island", "sex"), ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
    given = {name: np.array([[row[name]] for row in rows]) for name in texts}
    given |= {name: np.array([[row[name]] for row in rows], "float32") for name in numbers}
    species = sorted({row["species"] for row in rows})
    lookups = {name: layers.StringLookup(vocabulary=sorted(set(given[name][:, 0]))) for name in texts}
    # As Keras advises: the network is trained on ids, and deployed behind its lookups.
    inside = {name: keras.Input((1,), dtype="int64" if name in texts else "float32", name=name) for name in given}
    vectors = [layers.Flatten()(layers.Embedding(4, 3)(inside[name])) for name in texts]
    scaled = [
        layers.Normalization(mean=given[name].mean(), variance=given[name].var())(inside[name]) for name in numbers
    ]
    y = layers.Dense(16, "relu")(layers.Concatenate()([*vectors, *scaled]))
    trained = keras.Model(inside, layers.Dense(3, "softmax")(y))
    trained.compile("adam", "sparse_categorical_crossentropy")
    labels = np.array([species.index(row["species"]) for row in rows])
    looked_up = {name: lookups[name](part).numpy() if name in texts else part for name, part in given.items()}
    trained.fit(looked_up, labels, epochs=30, batch_size=16, verbose=0)
    assert (trained.predict(looked_up, verbose=0).argmax(axis=1) == labels).mean() > 0.97
    inputs = {name: keras.Input((1,), dtype="string" if name in texts else "float32", name=name) for name in given}
    model = keras.Model(
        inputs,
        trained({name: lookups[name](inputs[name]) for name in texts} | {name: inputs[name] for name in numbers}),
    )

    typical = {name: np.array(["Biscoe" if name == "island" else "female"]) for name in texts}
    typical |= {name: np.array([given[name].mean()]) for name in numbers}
    explainer = tfs.IntegratedGradients(model, typical, steps=200)
    explanation = explainer.explain(given, labels, batch_size=64)
    change = explanation.scores - explainer.scores(
        {name: np.broadcast_to(part, given[name].shape) for name, part in typical.items()}, labels
    )
    np.testing.assert_allclose(sum(part[:, 0] for part in explanation.values.values()), change, rtol=5e-3, atol=1e-2)
    # A penguin from the island of the baseline gets nothing for it.
    assert (explanation.values["island"][given["island"] == "Biscoe"] == 0).all()
    of_chinstraps = labels == species.index("Chinstrap")
    strengths = {name: np.abs(part[of_chinstraps]).mean() for name, part in explanation.values.items()}
    assert max(numbers, key=strengths.get) == "bill_length_mm"
    assert strengths["island"] > strengths["sex"]
