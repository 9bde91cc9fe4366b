"""A function that was compiled for one model serves others of equal structure, with the weights of each."""

import functools
import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import EXPLAINERS, close, counted
from tfsaliency.engine.compiled import Compiled

generator = np.random.default_rng(0)
PICTURES = generator.uniform(size=(2, 8, 8, 3)).astype("float32")
SERIES = generator.normal(size=(2, 5, 4)).astype("float32")
IDS = np.array([[3, 4, 0], [1, 2, 5]])
TEXTS = np.array([["good film"], ["bad film"]])


@pytest.fixture
def traced(monkeypatch):
    """How often a method was traced."""
    return counted(monkeypatch, Compiled, "_traced")


def sequential(shape, *parts, dtype="float32", seed=0):
    model = keras.Sequential([keras.Input(shape, dtype=dtype), *parts, layers.Dense(2)])
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if tf.as_dtype(weight.dtype).is_floating:
            weight.assign(generator.normal(0.1, 0.5, weight.shape))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(generator.uniform(0.5, 2.0, layer.moving_variance.shape))
    return model


def convolutional(seed=0):
    convolution = layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()
    return sequential(
        (8, 8, 3), *convolution, layers.Conv2D(3, 3, activation="relu"), layers.GlobalAveragePooling2D(), seed=seed
    )


def of_text(seed=0):
    encoder = layers.TextVectorization(output_sequence_length=3, vocabulary=["good", "bad", "film"])
    return sequential((1,), encoder, layers.Embedding(6, 4, mask_zero=True), layers.GRU(3), dtype="string", seed=seed)


MODELS = {
    "convolutions": (convolutional, PICTURES),
    "recurrent": (lambda seed: sequential((5, 4), layers.LSTM(3), seed=seed), SERIES),
    "normalization": (
        lambda seed: sequential((5, 4), layers.LayerNormalization(), layers.Flatten(), seed=seed),
        SERIES,
    ),
    "custom gradients": (
        lambda seed: sequential((5, 4), layers.Dense(4, "silu"), layers.Dense(3, "silu"), layers.Flatten(), seed=seed),
        SERIES,
    ),
    "ids": (lambda seed: sequential((3,), layers.Embedding(6, 4), layers.Flatten(), dtype="int32", seed=seed), IDS),
    "texts": (of_text, TEXTS),
}


def alone(make, model, x):
    """What a method says of a model that nothing was compiled for."""
    tfs.forget(model)
    return make(model).explain(x, 1)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_second_model_has_its_own_map(name):
    """Of every method; with weights so different that the maps differ."""
    first, second = convolutional(), convolutional(1)
    first_map = EXPLAINERS[name](first).explain(PICTURES, 1)
    explanation = EXPLAINERS[name](second).explain(PICTURES, 1)
    expected = alone(EXPLAINERS[name], second, PICTURES)
    np.testing.assert_allclose(explanation.scores, expected.scores, rtol=1e-6)
    np.testing.assert_array_equal(explanation.values, expected.values)
    assert not np.allclose(first_map.values, expected.values, rtol=0.01)
    told, wanted = ({**each.provenance, "seconds": 0} for each in (explanation, expected))
    assert told == wanted
    # The first one is as it was.
    np.testing.assert_array_equal(EXPLAINERS[name](first).explain(PICTURES, 1).values, first_map.values)


@pytest.mark.parametrize("method", [tfs.Gradient, tfs.GradientTimesInput, tfs.Occlusion])
@pytest.mark.parametrize("kind", MODELS)
def test_another_fold_is_not_traced_again(kind, method, traced):
    build, x = MODELS[kind]
    make = functools.partial(method, **({"window": 1, "stride": 1} if method is tfs.Occlusion else {}))
    first, second = build(0), build(1)
    tfs.forget(first)
    make(first).explain(x, 1)
    count = len(traced)
    explanation = make(second).explain(x, 1)
    assert len(traced) == count
    close(explanation.values, alone(make, second, x).values, 1e-6)


def test_a_loaded_model_is_not_traced_again(tmp_path, traced):
    model = convolutional()
    values = tfs.GradCAM(model).explain(PICTURES, 1).values
    model.save(tmp_path / "model.keras")
    count = len(traced)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    explanation = tfs.GradCAM(loaded).explain(PICTURES, 1)
    assert len(traced) == count
    np.testing.assert_array_equal(explanation.values, values)


def test_layers_are_told_by_their_own_names():
    first, second = convolutional(), convolutional(1)
    for model in (first, second):
        assert tfs.GradCAM(model).explain(PICTURES, 1).provenance["layer"] == model.layers[3].name
    # Once the name of another layer, once that of none.
    rules = {first.layers[3].name: tfs.rules.ZPlus(), tfs.rules.kind("dense"): tfs.rules.Epsilon()}
    rules |= {tfs.rules.kind("convolution"): tfs.rules.Gamma()}
    tfs.LRP(first, rules).explain(PICTURES, 1)
    with pytest.raises(ValueError, match=first.layers[3].name):
        tfs.LRP(second, rules).explain(PICTURES, 1)


def times(factor):
    """The identity, with a gradient that is another one's times a factor."""

    @tf.custom_gradient
    def scaled(y):
        return tf.identity(y), lambda upstream: factor * upstream

    return layers.Lambda(scaled)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (layers.LeakyReLU(0.1), layers.LeakyReLU(0.3)),
        (times(2.0), times(3.0)),
        (layers.ReLU(), layers.ELU()),
        (layers.Rescaling(2.0), layers.Rescaling(3.0)),
        (
            layers.Lambda(lambda y: y * tf.constant([1.0, 2.0, 3.0])),
            layers.Lambda(lambda y: y * tf.constant([3.0, 2, 1])),
        ),
        tuple(
            layers.Lambda(lambda y: tf.py_function(lambda z: 2 * z, [y], y.dtype), lambda shape: shape) for _ in "ab"
        ),
    ],
    ids=["slope", "gradient", "activation", "scale", "constant", "Python"],
)
def test_another_structure_is_traced(first, second, traced):
    for layer in (first, second):
        model = sequential((4,), layers.Dense(3), layer, layers.Lambda(lambda y: tf.ensure_shape(y, [None, 3])))
        count = len(traced)
        values = tfs.Gradient(model).explain(SERIES[:, 0], 1).values
        assert len(traced) == count + 1
        x = tf.Variable(SERIES[:, 0])
        with tf.GradientTape() as tape:
            score = tf.reduce_sum(model(x)[:, 1])
        close(values, tape.gradient(score, x).numpy(), 1e-5)


class Scaled(tfs.Gradient):
    """The gradient, times what the user has written on the model."""

    def attribute(self, x, score):
        values, diagnostics = super().attribute(x, score)
        return tfs.Attribution(values * self.model.factor, diagnostics)


@pytest.mark.parametrize("make", [Scaled, lambda model: tfs.SmoothGrad(Scaled(model), samples=2)], ids=["", "within"])
def test_a_method_of_the_users_may_read_its_model(make):
    values = []
    for factor in (1.0, 2.0):
        model = convolutional()
        model.factor = factor
        values.append(make(model).explain(PICTURES, 1).values)
    close(values[1], 2 * values[0], 1e-5)


READS_THE_FIRST = {
    "a target": lambda first: (tfs.Gradient, lambda y: y[:, 0] * tf.reduce_sum(first.layers[-1].kernel)),
    "a baseline": lambda first: (
        functools.partial(tfs.IntegratedGradients, baseline=lambda x: x * 0 + tf.reduce_mean(first.layers[0].kernel)),
        1,
    ),
    "a variable": lambda first: (
        functools.partial(tfs.IntegratedGradients, baseline=first.layers[2].shift.value),
        1,
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", READS_THE_FIRST)
def test_what_the_user_gives_keeps_the_weights_that_it_reads(name):
    """A function, or a variable, of the first model is not that of the second."""
    first, second = (sequential((4,), layers.Dense(3), layers.Dense(3), layers.Dense(4), seed=each) for each in (0, 1))
    if name == "a variable":
        first, second = (sequential((3,), layers.Dense(3), layers.Dense(3), Shift(), seed=each) for each in (0, 1))
    x = SERIES[:, 0, : first.input_shape[1]]
    make, target = READS_THE_FIRST[name](first)
    make(first).explain(x, target)
    found = make(second).explain(x, target)
    tfs.forget(second)
    expected = make(second).explain(x, target)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.scores, expected.scores)


class Shift(layers.Layer):
    def build(self, shape):
        self.shift = self.add_weight(shape=shape[1:])

    def call(self, y):
        return y + self.shift


def test_weights_of_other_shapes_are_another_structure(traced):
    """The flat rule counts the inputs of a layer while it is traced."""
    for count, width in enumerate((3, 4), start=1):
        model = sequential((5,), layers.Dense(width, activation="relu"))
        rules = {tfs.rules.kind("dense"): tfs.rules.Flat()}
        values = tfs.LRP(model, rules).explain(SERIES[:, :, 0], 1)
        assert len(traced) == count
        np.testing.assert_allclose(values.values, np.repeat(values.scores[:, None] / 5, 5, axis=1), rtol=1e-4)


def test_a_function_of_the_users_keeps_what_it_reads():
    """It is called by the graph of the method, and may be used elsewhere."""
    factor = tf.Variable([1.0, 2.0])

    @tf.function
    def scaled(z):
        return tf.reduce_sum(z * factor, axis=1)

    maps = []
    for seed in range(2):
        model = convolutional(seed)
        maps.append((model, tfs.Gradient(model).explain(PICTURES, scaled).values))
    factor.assign([3.0, -1.0])
    np.testing.assert_allclose(scaled(tf.constant([[1.0, 1.0]])), [2.0])
    with tf.GradientTape() as tape:
        score = scaled(tf.constant([[2.0, 1.0]]))
    np.testing.assert_allclose(tape.gradient(score, factor), [2.0, 1.0])
    for model, _ in maps:
        expected = 3 * tfs.Gradient(model).explain(PICTURES, 0).values - tfs.Gradient(model).explain(PICTURES, 1).values
        close(tfs.Gradient(model).explain(PICTURES, scaled).values, expected, 1e-4)


@pytest.mark.parametrize("name", ["Gradient", "SmoothGrad"])
def test_weights_are_not_kept(name):
    """What is kept for models to come; the noise is drawn in a loop, whose body is a graph of its own."""
    model = convolutional()
    EXPLAINERS[name](model).explain(PICTURES, 1)
    handles = [weakref.ref(weight.value.handle) for weight in model.weights]
    keras.backend.clear_session()
    del model
    for _ in range(3):
        gc.collect()
    assert all(each() is None for each in handles)
