"""A network with attention that others have trained: words in Devanagari, spelt in Latin letters one by one."""

import json
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs
from tests.harness import close

LENGTH, UNITS = 47, 1024
WORD, SPELT = "नमस्ते", "namaste"
# The letter of the word that each consonant is spelt for, and its place in the spelling.
CONSONANTS = {"n": 0, "m": 1, "s": 2}


def classes():
    """The package's networks, without what the package itself imports."""
    (folder,) = find_spec("indicate").submodule_search_locations
    package = ModuleType("indicate")
    package.__path__ = [folder]
    sys.modules["indicate"] = package
    return folder, import_module("indicate.encoder").Encoder, import_module("indicate.decoder").Decoder


class Transliterator(keras.Model):
    """What letter comes next, for each letter of a spelling so far."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def call(self, inputs):
        nothing = tf.zeros([tf.shape(inputs["word"])[0], UNITS])
        letters, *state = self.encoder(inputs["word"], [nothing, nothing])
        logits, _, _ = self.decoder(inputs["so_far"], state, letters)
        return logits


def index_of(file):
    with open(file, encoding="utf-8") as opened:
        return json.loads(json.loads(json.load(opened))["config"]["word_index"])


@pytest.fixture(scope="module")
def case():
    """The network, the word and its spelling as ids, and the ids of the letters of the spelling."""
    folder, encoder, decoder = classes()
    data = f"{folder}/data/hindi_to_english"
    hindi, latin = index_of(f"{data}/hindi_tokens.json"), index_of(f"{data}/english_tokens.json")
    model = Transliterator(
        encoder(len(hindi) + 1, 256, UNITS, 1), decoder(len(latin) + 1, 256, UNITS, 1, LENGTH, 173, "luong")
    )
    word = [hindi[letter] for letter in WORD]
    spelling = [latin[letter] for letter in f"^{SPELT}$"]
    inputs = {"word": np.array([word + [0] * (LENGTH - len(word))]), "so_far": np.array([spelling[:-1]])}
    model(inputs)
    model.encoder.load_weights(f"{data}/saved_weights/encoder.weights.h5")
    model.decoder.load_weights(f"{data}/saved_weights/decoder.weights.h5")
    return model, inputs, spelling[1:]


def test_it_spells_the_word(case):
    model, inputs, spelling = case
    assert model(inputs).numpy()[0].argmax(axis=-1).tolist() == spelling


def test_each_consonant_is_spelt_for_its_own_letter(case):
    """By every method; and by leaving the letter out. Nothing is told of what is spelt later."""
    model, inputs, spelling = case
    for consonant, place in CONSONANTS.items():
        position = SPELT.index(consonant)
        target = tfs.target.token(position, spelling[position])
        for explainer in (
            tfs.GradientTimesInput(model),
            tfs.IntegratedGradients(model, steps=40),
            tfs.LRP(model, "epsilon"),
            tfs.Occlusion(model, window=1, stride=1),
        ):
            values = explainer.explain(inputs, target).values
            assert values["word"][0].argmax() == place, (consonant, explainer)
            # Scores that Occlusion compares are rounded.
            np.testing.assert_allclose(values["so_far"][0, position + 1 :], 0, atol=1e-5)


def test_gradients_are_those_at_the_embeddings(case):
    model, inputs, spelling = case
    target = tfs.target.token(2, spelling[2])
    embeddings = {"word": model.encoder.embedding, "so_far": model.decoder.embedding}
    tables = {name: layer.embeddings.value for name, layer in embeddings.items()}
    with tf.GradientTape() as tape:
        vectors = {name: tf.gather(table, inputs[name]) for name, table in tables.items()}
        tape.watch(vectors)
        letters, *state = model.encoder.lstm_layer(vectors["word"], initial_state=[tf.zeros([1, UNITS])] * 2)
        decoder = model.decoder
        read = decoder.attention_mechanism([decoder.query_layer(vectors["so_far"]), letters])
        outputs, *_ = decoder.decoder_rnn(tf.concat([read, vectors["so_far"]], axis=-1), initial_state=state)
        score = decoder.fc(outputs)[:, 2, spelling[2]]
    slopes = tape.gradient(score, vectors)
    explanation = tfs.Gradient(model).explain(inputs, target)
    np.testing.assert_allclose(explanation.scores, score, rtol=1e-5)
    close(explanation.values, {name: np.linalg.norm(slope, axis=-1) for name, slope in slopes.items()}, 1e-4)


def test_deeplift_is_complete(case):
    """Its attention has logits far apart: a softmax as a quotient of exponentials left a gap of -4,096."""
    model, inputs, spelling = case
    explanation = tfs.DeepLIFT(model).explain(inputs, tfs.target.token(2, spelling[2]))
    assert np.abs(explanation.diagnostics["completeness_gap"]) < 1e-3
    assert explanation.values["word"][0].argmax() == CONSONANTS["m"]
