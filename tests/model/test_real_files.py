"""Models that others have made, as they lie in their packages."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras  # noqa: F401 - the file was written by it, and TensorFlow does not read such files without it

import tfsaliency as tfs
from tests.harness import close

SECONDS = np.arange(43844) / 22050
# Concert pitch, and the bin that it has among the 88 keys of a piano.
TONE, KEY = (0.3 * np.sin(2 * np.pi * 440 * SECONDS)).astype("float32")[None, :, None], 48


@pytest.fixture(scope="module")
def pitch():
    """The network of basic-pitch (Bittner et al. 2022): 44,000 samples of sound in, notes out. A SavedModel."""
    (package,) = find_spec("basic_pitch").submodule_search_locations
    return tf.saved_model.load(str(Path(package) / "saved_models/icassp_2022/nmp"))


def sound_of_the_key(notes):
    return tf.reduce_mean(notes["note"][:, :, KEY], axis=1)


def test_the_gradient_of_a_saved_model_is_that_of_its_logits(pitch):
    signature = pitch.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    x = tf.constant(TONE)
    with tf.GradientTape() as tape:
        tape.watch(x)
        note = signature(**{name: x})["note"]
        score = tf.reduce_mean((tf.math.log(note) - tf.math.log1p(-note))[:, :, KEY], axis=1)
    assert note.numpy()[0].mean(axis=0).argmax() == KEY
    explanation = tfs.Gradient(pitch).explain(TONE, sound_of_the_key)
    # The logarithms by hand round, the logits do not.
    close(explanation.values, tape.gradient(score, x).numpy(), 1e-3)
    np.testing.assert_allclose(explanation.scores, score, rtol=1e-4)
    assert explanation.explained == "the logits under Sigmoid"
    assert explanation.provenance["model"] == "serving_default"


def test_rules_go_through_a_saved_model(pitch):
    baseline = np.random.default_rng(0).normal(scale=0.1, size=TONE.shape[1:]).astype("float32")
    explanation = tfs.DeepLIFT(pitch, baseline).explain(TONE, sound_of_the_key)
    before = tfs.Gradient(pitch).scores(baseline[None], sound_of_the_key)
    np.testing.assert_allclose(explanation.values.sum(), (explanation.scores - before)[0], rtol=1e-3)
    relevance = tfs.LRP(pitch, "epsilon").explain(TONE, sound_of_the_key)
    np.testing.assert_allclose(relevance.diagnostics["unexplained_gap"], 0, atol=1e-6 * abs(relevance.scores[0]))


def test_silence_as_a_baseline_is_warned_of(pitch):
    """The network takes a logarithm of its spectrum and divides by the largest: at silence by almost nothing."""
    with pytest.warns(
        UserWarning, match="cancel: their sizes add up to.*A baseline at which the model divides by almost"
    ):
        tfs.DeepLIFT(pitch).explain(TONE, sound_of_the_key)
