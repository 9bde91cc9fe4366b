"""The real model sees what is on real photographs, and its weight file is read safely."""

import os
import pickle

import keras
import numpy as np
import pytest

import tfsaliency as tfs
from tfsaliency import zoo
from tfsaliency.zoo.torch_pickle import load_state_dict

# Names and probabilities of the original weights on these photographs, centre-cropped and resized by area.
EXPECTED = {"chelsea": (285, 0.37), "coffee": (967, 0.83), "motorcycle": (665, 0.53), "rocket": (657, 0.18)}


@pytest.fixture(scope="module")
def model():
    return zoo.efficientnet_lite0()


def test_predictions(model):
    for name, photo in zoo.photographs().items():
        probabilities = model.predict(zoo.preprocess(photo), verbose=0)[0]
        index, probability = EXPECTED[name]
        assert probabilities.argmax() == index
        assert probabilities[index] == pytest.approx(probability, abs=0.01)


def test_explanation_of_a_photograph(model):
    """The rocket stands in a known place, a sixth of the picture, and holds most of the map."""
    x = zoo.preprocess(zoo.photographs()["rocket"])
    explanation = tfs.SmoothGradSquared(model, samples=20).explain(x)
    assert zoo.labels()[explanation.target[0]] == "missile"
    strength = explanation.values[0].sum(axis=-1)
    rocket = strength[55:224, 85:140]
    assert rocket.size < 0.2 * strength.size
    assert rocket.sum() > 0.5 * strength.sum()


def test_preprocess_refuses_what_it_would_misread():
    for image in (np.zeros((4, 4, 3)), np.zeros((4, 4), "uint8"), np.zeros((4, 4, 4), "uint8")):
        with pytest.raises(ValueError, match="one RGB image of dtype uint8.*Received: dtype"):
            zoo.preprocess(image)


def test_a_pickle_that_calls_is_refused(tmp_path):
    class Call:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/called",)

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Call(), protocol=2))
    with pytest.raises(pickle.UnpicklingError, match="asks for posix.system, which is neither a tensor"):
        load_state_dict(path)
    assert not (tmp_path / "called").exists()


def test_a_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"".join(pickle.dumps(part) for part in (1, 1001, {"little_endian": True})))
    with pytest.raises(ValueError, match="Expected a legacy little-endian PyTorch file"):
        load_state_dict(path)


def test_the_model_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    x = zoo.preprocess(zoo.photographs()["coffee"])
    np.testing.assert_array_equal(tfs.Gradient(model).explain(x).values, tfs.Gradient(again).explain(x).values)
