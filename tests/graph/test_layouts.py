"""Where a model has the channels of its inputs, and what of this package minds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tfsaliency.graph.layouts import layout_of_input
from tfsaliency.graph.trace import Trace

PICTURES = np.random.default_rng(0).normal(size=(2, 8, 9, 3)).astype("float32")


def classifier(data_format, *front):
    """A convolution of which both layouts have the same weights."""
    keras.utils.set_random_seed(5)
    shape = (3, 8, 9) if data_format == "channels_first" else (8, 9, 3)
    convolution = layers.Conv2D(4, 3, activation="relu", data_format=data_format, padding="same")
    pooling = layers.GlobalAveragePooling2D(data_format=data_format)
    return keras.Sequential([keras.Input(shape), *front, convolution, pooling, layers.Dense(2)])


def two_towers():
    """A series that is read along its steps and along its channels."""
    x = keras.Input((8, 4))
    along, across = layers.Conv1D(3, 3)(x), layers.Conv1D(3, 3)(layers.Permute((2, 1))(x))
    return keras.Model(x, layers.Concatenate()([layers.Flatten()(along), layers.Flatten()(across)]))


FIRST = {
    "convolution of single places first": lambda: classifier(
        "channels_first", layers.Conv2D(3, 1, data_format="channels_first")
    ),
    "convolution": lambda: classifier("channels_first"),
    "rescaled": lambda: classifier("channels_first", layers.Rescaling(2.0, 0.1)),
    "padded": lambda: classifier("channels_first", layers.ZeroPadding2D(1, data_format="channels_first")),
    "moved by hand": lambda: keras.Sequential(
        [keras.Input((3, 8, 9)), layers.Permute((2, 3, 1)), layers.Conv2D(4, 3), layers.GlobalMaxPooling2D()]
    ),
    "series": lambda: keras.Sequential(
        [keras.Input((3, 8)), layers.Conv1D(4, 3, data_format="channels_first"), layers.Flatten()]
    ),
}
LAST = {
    "convolution": lambda: classifier("channels_last"),
    "moved for a layer": lambda: keras.Sequential(
        [
            keras.Input((8, 9, 3)),
            layers.Permute((3, 1, 2)),
            layers.Conv2D(4, 3, data_format="channels_first"),
            layers.Flatten(),
        ]
    ),
    "series": lambda: keras.Sequential([keras.Input((8, 3)), layers.Conv1D(4, 3), layers.Flatten()]),
    "rows to a picture": lambda: keras.Sequential(
        [
            keras.Input((8, 9)),
            layers.Permute((2, 1)),
            layers.Lambda(lambda x: tf.expand_dims(x, -1)),
            layers.Conv2D(2, 3),
            layers.Flatten(),
        ]
    ),
    "tokens mixed": lambda: keras.Sequential(
        [
            keras.Input((8, 4)),
            layers.Permute((2, 1)),
            layers.Conv1D(8, 1, activation="relu"),
            layers.Permute((2, 1)),
            layers.Conv1D(3, 3),
            layers.Flatten(),
        ]
    ),
    "channels pooled": lambda: keras.Sequential(
        [
            keras.Input((8, 4)),
            layers.Permute((2, 1)),
            layers.AveragePooling1D(2),
            layers.Permute((2, 1)),
            layers.Conv1D(3, 3),
            layers.Flatten(),
        ]
    ),
    "moved twice": lambda: keras.Sequential(
        [keras.Input((8, 4)), layers.Permute((2, 1)), layers.Permute((2, 1)), layers.Conv1D(3, 3), layers.Flatten()]
    ),
    "both ways": two_towers,
    "dense": lambda: keras.Sequential([keras.Input((3, 8, 9)), layers.Flatten(), layers.Dense(2)]),
    "recurrent": lambda: keras.Sequential([keras.Input((3, 8)), layers.LSTM(4)]),
}


def layout(model):
    trace = Trace(lambda x: model(x, training=False), tf.TensorSpec(model.input_shape))
    return layout_of_input(tf.nest.flatten(trace.inputs)[0], trace.operations)


@pytest.mark.parametrize("name", FIRST)
def test_channels_in_front_are_known(name):
    assert layout(FIRST[name]()) == "front"


@pytest.mark.parametrize("name", LAST)
def test_channels_behind_are_known(name):
    assert layout(LAST[name]()) in ("behind", None)


READS_PLACES = {
    "Occlusion": lambda model: tfs.Occlusion(model, baseline=0),
    "RISE": lambda model: tfs.RISE(model, samples=20, cells=3),
    "ShapleyValues": lambda model: tfs.ShapleyValues(model, samples=2, window=4),
    "XRAI": lambda model: tfs.XRAI(tfs.Gradient(model)),
    "BlurIntegratedGradients": lambda model: tfs.BlurIntegratedGradients(model, sigma=2.0, steps=4, tolerance=10),
    "DenoisedSmoothGrad": lambda model: tfs.DenoisedSmoothGrad(model, samples=4),
    "blurred baseline": lambda model: tfs.IntegratedGradients(model, tfs.baselines.blurred(2), steps=8, tolerance=10),
    "mean baseline": lambda model: tfs.DeepLIFT(model, tfs.baselines.mean()),
}


@pytest.mark.parametrize("name", READS_PLACES)
def test_what_reads_places_asks_for_channels_last_and_its_advice_works(name):
    first, last = classifier("channels_first"), classifier("channels_last")
    last.set_weights(first.get_weights())
    x = np.moveaxis(PICTURES, -1, 1)
    with pytest.raises(ValueError, match=r"Sequential\(\[keras.Input\(\(8, 9, 3\)\), .*Permute\(\(3, 1, 2\)\), model"):
        READS_PLACES[name](first).explain(x, 1)
    moved = keras.Sequential([keras.Input((8, 9, 3)), layers.Permute((3, 1, 2)), first])
    values = READS_PLACES[name](moved).explain(np.moveaxis(x, 1, -1), 1).values
    expected = READS_PLACES[name](last).explain(PICTURES, 1).values
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)


def test_metrics_ask_for_channels_last():
    model = classifier("channels_first")
    explanation = tfs.Gradient(model).explain(np.moveaxis(PICTURES, -1, 1), 1)
    with pytest.raises(ValueError, match="takes the last axis for them"):
        tfs.metrics.Deletion(model, fill=0.0).measure(explanation)


@pytest.mark.parametrize("method", [tfs.Gradient, tfs.LRP, lambda model: tfs.IntegratedGradients(model, 0.1)])
def test_what_reads_no_places_takes_channels_in_front(method):
    first, last = classifier("channels_first"), classifier("channels_last")
    last.set_weights(first.get_weights())
    values = method(first).explain(np.moveaxis(PICTURES, -1, 1), 1).values
    expected = method(last).explain(PICTURES, 1).values
    np.testing.assert_allclose(np.moveaxis(values, 1, -1), expected, rtol=1e-3, atol=1e-5)


def test_one_of_several_inputs_is_named():
    first, table = keras.Input((3, 8, 9), name="first"), keras.Input((4,), name="table")
    hidden = layers.Flatten()(layers.Conv2D(2, 3, data_format="channels_first")(first))
    model = keras.Model({"first": first, "table": table}, layers.Dense(2)(layers.Concatenate()([hidden, table])))
    x = {"first": np.moveaxis(PICTURES, -1, 1), "table": np.ones((2, 4), "float32")}
    with pytest.raises(
        ValueError, match=r"with keras.Input\(\(8, 9, 3\)\), keras.layers.Permute\(\(3, 1, 2\)\) in front"
    ):
        tfs.Occlusion(model, baseline=0).explain(x, 1)
    last = keras.Input((8, 9, 3), name="first")
    moved = keras.Model([last, table], model({"first": layers.Permute((3, 1, 2))(last), "table": table}))
    tfs.Occlusion(moved, window=[4, 1], stride=[4, 1], baseline=0).explain([PICTURES, x["table"]], 1)
