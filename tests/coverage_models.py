"""Runs the methods with rules on many models and writes docs/model-coverage.md.

    python -m tests.coverage_models [applications | arrivals]

Weights are random and normalization statistics those of one batch of noise, so that signals are of ordinary size at
any depth. Inputs have the smallest size that the model takes.
"""

import gc
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from keras import layers

import tfsaliency as tfs

PAGE = Path(__file__).parent.parent / "docs" / "model-coverage.md"
METHODS: dict[str, Callable[[Any], tfs.Explainer]] = {
    "GuidedBackprop": tfs.GuidedBackprop,
    "DeconvNet": tfs.DeconvNet,
    "LRP": tfs.LRP,
    "DeepTaylor": tfs.DeepTaylor,
    "DeepLIFT": tfs.DeepLIFT,
}
# Of the models that have a smallest input of their own; the others take 32 pixels.
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}


def models() -> dict[str, Callable[..., keras.Model]]:
    """Every model that keras.applications builds."""
    found = {name: getattr(keras.applications, name) for name in dir(keras.applications)}
    return {name: build for name, build in found.items() if callable(build)}


def built(name: str) -> keras.Model:
    """The model with random weights and the normalization statistics of a batch of noise."""
    keras.utils.set_random_seed(0)
    size = SIZES.get(name, 32)
    model = models()[name](weights=None, input_shape=(size, size, 3), classes=10)
    normalizations = [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]
    for layer in normalizations:
        layer.momentum = 0.0
    model(noise(model, 8), training=True)
    if name.startswith("VGG"):
        # Without normalization every ReLU halves the power of the signal.
        model.set_weights([np.sqrt(2) * weight for weight in model.get_weights()])
    return model


def noise(model: keras.Model, samples: int) -> np.ndarray:
    """Inputs in the range that most of the models are given."""
    shape = (samples, *model.input_shape[1:])
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def answer(method: Callable[[Any], tfs.Explainer], model: Any, inputs: np.ndarray) -> str:
    """What a method says about a model, in a cell of the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            method(model).explain(inputs, first_unit)
        except (ValueError, UserWarning) as error:
            return "nothing to rectify" if "plain gradient" in str(error) else f"refused: {str(error)[:60]}"
    return "yes"


def first_unit(outputs: Any) -> Any:
    """The sum of what a model says first."""
    first = tf.nest.flatten(outputs)[0]
    return tf.reduce_sum(tf.reshape(first, [tf.shape(first)[0], -1])[:, :1], axis=1)


def of_applications() -> Iterator[str]:
    """A row per model of keras.applications."""
    for name in models():
        model = built(name)
        cells = [answer(method, model, noise(model, 1)) for method in METHODS.values()]
        yield f"| {name} | {model.count_params() / 1e6:.1f} M | {' | '.join(cells)} |"
        tfs.forget(model)
        keras.backend.clear_session()
        del model
        gc.collect()


# --- recurrent layers, and models that are no Keras 3 models ---


def arrivals(folder: str) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Models with the shape of one input."""
    series, picture = (12, 4), (16, 16, 3)

    def recurrent(*stack: Any) -> Any:
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input(series), *stack, layers.Dense(3, activation="softmax")])

    def picture_model(of: Any) -> list[Any]:
        return [of.Conv2D(8, 3, activation="relu"), of.GlobalAveragePooling2D(), of.Dense(3, activation="softmax")]

    yield "LSTM", recurrent(layers.LSTM(8)), series
    yield "LSTM with ReLU", recurrent(layers.LSTM(8, activation="relu")), series
    yield (
        "GRU, stacked and bidirectional",
        recurrent(layers.Bidirectional(layers.GRU(6, return_sequences=True)), layers.GRU(5)),
        series,
    )
    yield "SimpleRNN with ReLU", recurrent(layers.SimpleRNN(8, "relu")), series
    yield "RNN of an LSTM and a GRU cell", recurrent(layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)])), series
    yield "LSTM behind a mask", recurrent(layers.Masking(), layers.LSTM(8)), series
    yield "ConvLSTM1D", recurrent(layers.Reshape((12, 4, 1)), layers.ConvLSTM1D(4, 2), layers.Flatten()), series
    plain = keras.Sequential([keras.Input(picture), *picture_model(layers)])
    in_function = tf.function(lambda x: plain(x), input_signature=[tf.TensorSpec([None, *picture])], jit_compile=True)
    yield "a CNN under tf.function, compiled by XLA", in_function, picture
    plain.export(f"{folder}/cnn", verbose=False)
    yield "a CNN as SavedModel", tf.saved_model.load(f"{folder}/cnn"), picture
    x = keras.Input(picture)
    yield "a CNN in TFSMLayer", keras.Model(x, layers.TFSMLayer(f"{folder}/cnn", call_endpoint="serve")(x)), picture
    memory = recurrent(layers.LSTM(8, activation="silu"))
    memory.export(f"{folder}/lstm", verbose=False)
    yield "an LSTM with SiLU as SavedModel", tf.saved_model.load(f"{folder}/lstm"), series
    of = tf_keras.layers
    yield "a CNN of tf_keras", tf_keras.Sequential([of.InputLayer(picture), *picture_model(of)]), picture
    yield (
        "an LSTM of tf_keras",
        tf_keras.Sequential([of.InputLayer(series), of.LSTM(8), of.Dense(3, "softmax")]),
        series,
    )
    (package,) = find_spec("basic_pitch").submodule_search_locations
    pitch = tf.saved_model.load(f"{package}/saved_models/icassp_2022/nmp")
    yield "basic-pitch, a SavedModel: sound to notes", pitch, (43844, 1)


def of_arrivals() -> Iterator[str]:
    """A row per recurrent or restored model. Its baseline is noise: silence has no logarithm."""
    methods = {**METHODS, "DeepLIFT": lambda model: tfs.DeepLIFT(model, 0.3)}
    with tempfile.TemporaryDirectory() as folder:
        for name, model, shape in arrivals(folder):
            inputs = np.random.default_rng(0).normal(size=(1, *shape)).astype("float32")
            yield f"| {name} | {' | '.join(answer(method, model, inputs) for method in methods.values())} |"


SECTIONS = {
    "applications": (
        "## keras.applications",
        f"The {len(models())} models of `keras.applications`, on one image of the smallest size that each takes.",
        ("model", "parameters", *METHODS),
        of_applications,
    ),
    "arrivals": (
        "## Recurrent, restored and foreign models",
        "Layers with a loop, and models that are no Keras 3 models; see {py:obj}`~tfsaliency.as_model`. An LSTM has "
        "nothing\nto rectify: Guided Backprop and DeconvNet say so. DeepLIFT has the baseline 0.3.",
        ("model", *METHODS),
        of_arrivals,
    ),
}
HEAD = """# Model coverage

Methods with rules need one for every operation of a network. These tables are made by `make coverage-models`: models
with random weights, explained by each of these methods. LRP is the preset `epsilon_plus_flat`, DeepLIFT has the
baseline zero. "yes" says that every operation on the way has a rule, and that the map is finite and not zero.
"""


def main(chosen: list[str]) -> None:
    """Prints a row per model and writes the sections that are chosen; the others stay as they are."""
    sections = dict(re.findall(r"^(## [^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.M | re.S))
    for name in chosen:
        title, text, columns, rows = SECTIONS[name]
        table = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
        for row in rows():
            print(row, flush=True)
            table.append(row)
        sections[title] = f"\n{text}\n\n" + "\n".join(table) + "\n\n"
    known = [title for title, *_ in SECTIONS.values() if title in sections]
    PAGE.write_text("\n".join([HEAD, *(f"{title}\n{sections[title].rstrip()}\n" for title in known)]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or list(SECTIONS))
