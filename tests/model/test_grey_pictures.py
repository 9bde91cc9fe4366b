"""Pictures without an axis of channels: every map is that of the same pictures with one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import EXPLAINERS, close

PICTURES = np.random.default_rng(0).normal(size=(2, 12, 10)).astype("float32")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution, self.pool, self.head = convolution(), layers.GlobalAveragePooling2D(), layers.Dense(3)

    def call(self, x):
        return self.head(self.pool(self.convolution((x - 0.5)[..., tf.newaxis])))


def asserted(x):
    tf.debugging.assert_all_finite(x, "numbers")
    tf.debugging.assert_less(x, 1e9)
    return x


def convolution():
    return layers.Conv2D(4, 3, activation="relu", padding="same")


def sequential(*inner, shape=(12, 10)):
    return keras.Sequential([keras.Input(shape), *inner])


def with_pooling(*front):
    return sequential(*front, convolution(), layers.GlobalAveragePooling2D(), layers.Dense(3))


def with_pooling_of(*convolutions):
    return sequential(layers.Reshape((12, 10, 1)), *convolutions, layers.GlobalAveragePooling2D(), layers.Dense(3))


GREY = {
    "flattened": lambda: sequential(layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(3)),
    "rescaled and flattened": lambda: sequential(
        layers.Rescaling(0.5, 0.1), layers.Reshape((120,)), layers.Dense(8, "relu"), layers.Dense(3, "softmax")
    ),
    "reshaped": lambda: with_pooling(layers.Reshape((12, 10, 1))),
    "an axis is added": lambda: with_pooling(layers.Lambda(lambda x: keras.ops.expand_dims(x, -1))),
    "three channels alike": lambda: with_pooling(layers.Lambda(lambda x: keras.ops.stack([x, x, x], -1))),
    "subclassed": Subclassed,
    "asserted": lambda: with_pooling(layers.Lambda(asserted), layers.Reshape((12, 10, 1))),
    # A layer with one axis of places lies over both.
    "columns become channels": lambda: sequential(
        layers.Reshape((12, 10, 1)),
        layers.Conv2D(3, 3, activation="relu", padding="same"),
        layers.Reshape((12, 30)),
        layers.Conv1D(4, 3, activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(3),
    ),
}
BY_EVERY_METHOD = "reshaped"
NOT_GREY = {
    "rows are read by an LSTM": lambda: sequential(layers.LSTM(4), layers.Dense(3)),
    "rows are steps of a convolution": lambda: sequential(layers.Conv1D(4, 3), layers.Flatten(), layers.Dense(3)),
    "rows are multiplied": lambda: sequential(layers.Dense(4, "relu"), layers.Flatten(), layers.Dense(3)),
    "too few columns": lambda: sequential(layers.Flatten(), layers.Dense(3), shape=(24, 5)),
    "too long": lambda: sequential(layers.Flatten(), layers.Dense(3), shape=(100, 20)),
    "convolved along one axis": lambda: with_pooling_of(layers.Conv2D(3, (5, 1), activation="relu")),
    "convolved with whole rows": lambda: with_pooling_of(layers.Conv2D(3, (3, 10), activation="relu")),
    "single places, then whole columns": lambda: with_pooling_of(
        layers.Conv2D(3, 1), layers.ReLU(), layers.Conv2D(3, (12, 2))
    ),
    "also read by steps": lambda: also_read_by_steps(),
}


def also_read_by_steps():
    x = keras.Input((12, 10))
    return keras.Model(x, layers.Dense(3)(layers.Concatenate()([layers.Flatten()(x), layers.LSTM(4)(x)])))


def with_channels(model):
    """The same model of pictures with an axis of channels."""
    return keras.Sequential([keras.Input((12, 10, 1)), layers.Reshape((12, 10)), model])


def built(name, models):
    keras.utils.set_random_seed(3)
    model = models[name]()
    model(np.zeros((1, *(model.input_shape[1:] if model.built else (12, 10))), "float32"))
    return model


def assert_alike(make, model):
    try:
        expected = make(with_channels(model)).explain(PICTURES[..., None], 1)
    except ValueError as error:
        refused = str(error)
    else:
        found = make(model).explain(PICTURES, 1)
        assert found.meaning == expected.meaning
        close(found.values, expected.values[..., 0], 1e-4)
        return
    with pytest.raises(ValueError) as raised:
        make(model).explain(PICTURES, 1)
    assert str(raised.value).split(".")[0] == refused.split(".")[0]


@pytest.mark.filterwarnings("ignore:The map has not converged", "ignore:The values of the samples")
@pytest.mark.parametrize("method", EXPLAINERS)
def test_maps_are_those_of_pictures_with_an_axis_of_channels(method):
    assert_alike(EXPLAINERS[method], built(BY_EVERY_METHOD, GREY))


@pytest.mark.parametrize("method", ["Occlusion", "LRP", "ScoreCAM"])
@pytest.mark.parametrize("name", [name for name in GREY if name != BY_EVERY_METHOD])
def test_a_grey_picture_is_told_by_what_reads_it(name, method):
    assert_alike(EXPLAINERS[method], built(name, GREY))


@pytest.mark.parametrize("name", NOT_GREY)
def test_steps_are_hidden_as_a_whole(name):
    model = built(name, NOT_GREY)
    inputs = np.zeros((1, *model.input_shape[1:]), "float32")
    assert tfs.Occlusion(model, baseline=1.0).explain(inputs, 1).values.shape == (1, model.input_shape[1], 1)


def test_a_window_is_as_large_as_it_is_said():
    model = built("flattened", GREY)
    values = tfs.Occlusion(model, window=(12, 1), stride=(12, 1)).explain(PICTURES, 1).values
    logits = model(PICTURES).numpy()[:, 1]
    for column in range(10):
        hidden = PICTURES.copy()
        hidden[:, :, column] = 0
        without = logits - model(hidden).numpy()[:, 1]
        np.testing.assert_allclose(values[:, :, column], np.repeat(without[:, None], 12, axis=1), atol=1e-5)


def test_baselines_have_the_shape_of_the_pictures():
    model = built("reshaped", GREY)
    baseline = np.random.default_rng(1).normal(size=(12, 10)).astype("float32")
    values = tfs.IntegratedGradients(model, baseline, steps=64, quadrature="gauss_legendre", tolerance=1.0)
    expected = tfs.IntegratedGradients(
        with_channels(model), baseline[..., None], steps=64, quadrature="gauss_legendre", tolerance=1.0
    )
    close(values.explain(PICTURES, 1).values, expected.explain(PICTURES[..., None], 1).values[..., 0], 1e-5)


@pytest.mark.parametrize("name", ["flattened", "reshaped"])
def test_metrics_hide_single_numbers(name):
    model = built(name, GREY)
    twin = with_channels(model)
    explanation = tfs.GradientTimesInput(model).explain(PICTURES, 1)
    expected = tfs.GradientTimesInput(twin).explain(PICTURES[..., None], 1)
    for metric in (tfs.metrics.Deletion, tfs.metrics.Insertion, tfs.metrics.MuFidelity):
        values = metric(model, fill=0.0).measure(explanation).values
        np.testing.assert_allclose(values, metric(twin, fill=0.0).measure(expected).values, rtol=1e-4, atol=1e-6)


MANY = np.random.default_rng(2).normal(size=(6, 12, 10)).astype("float32")
OF_PICTURES = {
    "IROF": lambda model: tfs.metrics.IROF(model, 0.0, segments=6),
    "ROAD": lambda model: tfs.metrics.ROAD(model),
    "GridPointingGame": lambda model: tfs.metrics.GridPointingGame(tfs.GradientTimesInput(model)),
    "BaselineSensitivity": lambda model: tfs.metrics.BaselineSensitivity(tfs.DeepLIFT(model)),
}


@pytest.mark.parametrize("name", OF_PICTURES)
def test_metrics_of_pictures_are_those_of_pictures_with_an_axis_of_channels(name):
    model = built("rescaled and flattened", GREY)
    classes, twin = np.arange(6) % 3, with_channels(model)
    explanation = tfs.GradientTimesInput(model).explain(MANY, classes)
    expected = tfs.GradientTimesInput(twin).explain(MANY[..., None], classes)
    values = OF_PICTURES[name](model).measure(explanation).values
    np.testing.assert_allclose(values, OF_PICTURES[name](twin).measure(expected).values, rtol=1e-3, atol=1e-5)


def test_a_comparison_is_that_of_pictures_with_an_axis_of_channels():
    model = built("flattened", GREY)
    table, expected = (
        tfs.metrics.compare([tfs.GradientTimesInput(each)], inputs, 1, draws=100)
        for each, inputs in ((model, MANY), (with_channels(model), MANY[..., None]))
    )
    assert (table.metrics, table.controls) == (expected.metrics, expected.controls)
    np.testing.assert_allclose(table.values, expected.values, rtol=1e-3, atol=1e-4)


def test_a_target_sees_pictures_as_they_were_passed():
    autoencoder = sequential(layers.Flatten(), layers.Dense(120), layers.Reshape((12, 10)))
    values = tfs.Gradient(autoencoder).explain(PICTURES, lambda y, x: tf.reduce_sum((y - x) ** 2, axis=(1, 2))).values
    x = tf.constant(PICTURES)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.reduce_sum((autoencoder(x) - x) ** 2)
    close(values, tape.gradient(score, x).numpy(), 1e-5)


def test_a_class_is_painted_alike():
    model = built("rescaled and flattened", GREY)
    painted = tfs.ClassVisualization.simonyan(model, steps=5).explain(target=1)
    expected = tfs.ClassVisualization.simonyan(with_channels(model), steps=5).explain(target=1)
    close(painted.values, expected.values[..., 0], 1e-5)
