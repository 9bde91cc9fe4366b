"""Policies of other number types, channels in front, quantized layers: the maps of the plain network."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import OVER_A_LAYER, close, quick

PICTURES = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype("float32")
SERIES = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
METHODS = {
    "gradient": tfs.Gradient,
    "guided": tfs.GuidedBackprop,
    "deconvolved": tfs.DeconvNet,
    "LRP": lambda model: tfs.LRP(model, "epsilon_plus"),
    "DeepLIFT": tfs.DeepLIFT,
    "Grad-CAM": tfs.GradCAM,
    "LayerCAM": tfs.LayerCAM,
}
# Two to four units in the last place of 16 bits, and sums of them.
TOLERANCE = {"float64": 1e-5, "float16": 1e-2, "mixed_float16": 1e-2, "bfloat16": 8e-2, "mixed_bfloat16": 8e-2}


def network(activation, dtype=None):
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(6, 3, activation=activation, dtype=dtype),
            layers.MaxPooling2D(dtype=dtype),
            layers.Conv2D(5, 3, activation=activation, dtype=dtype),
            layers.GlobalAveragePooling2D(dtype=dtype),
            layers.Dense(3, dtype=dtype),
        ]
    )


def with_weights_of(model, other):
    model.set_weights(other.get_weights())
    return model


@pytest.mark.filterwarnings("ignore:The values of the samples")
@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
@pytest.mark.parametrize("policy", TOLERANCE)
def test_a_policy_changes_nothing_but_digits(policy, activation):
    keras.utils.set_random_seed(0)
    plain = network(activation)
    other = with_weights_of(network(activation, policy), plain)
    for name, method in METHODS.items():
        found, expected = (method(model).explain(PICTURES, 2).values for model in (other, plain))
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error <= TOLERANCE[policy], f"{name}: {error:.2g}"


def test_inputs_of_half_precision():
    """TensorFlow's and NumPy's bfloat16, which NumPy knows no kind of."""
    x = keras.Input((6,), dtype="bfloat16")
    model = keras.Model(x, layers.Dense(3)(x))
    rows = tf.cast(np.random.default_rng(0).normal(size=(2, 6)), tf.bfloat16)
    expected = tfs.GradientTimesInput(model).explain(tf.cast(rows, tf.float32), 1).values
    for given in (rows, rows.numpy()):
        np.testing.assert_array_equal(tfs.GradientTimesInput(model).explain(given, 1).values, expected)


@pytest.mark.parametrize("policy", quick(["float64", "mixed_float16", "mixed_bfloat16"], "mixed_float16"))
@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU])
def test_a_policy_of_a_recurrent_layer(layer, policy):
    keras.utils.set_random_seed(0)
    plain, other = (
        keras.Sequential([keras.Input((6, 4)), layer(5, dtype=dtype), layers.Dense(3, dtype=dtype)])
        for dtype in (None, policy)
    )
    with_weights_of(other, plain)
    for name in ("gradient", "DeepLIFT"):
        found, expected = (METHODS[name](model).explain(SERIES, 1).values for model in (other, plain))
        close(found, expected, TOLERANCE[policy])


@pytest.mark.filterwarnings("ignore:The values of the samples")
@pytest.mark.parametrize("name", ["LRP", "DeepLIFT"])
def test_what_a_choice_loses_in_float64(name):
    """Of a series whose end is masked: the rules count what the choice between steps loses."""
    keras.utils.set_random_seed(0)
    plain, other = (
        keras.Sequential(
            [keras.Input((6, 4)), layers.Masking(), layers.GRU(5, dtype=dtype), layers.Dense(3, dtype=dtype)]
        )
        for dtype in (None, "float64")
    )
    with_weights_of(other, plain)
    padded = np.concatenate([SERIES[:, :4], 0 * SERIES[:, 4:]], axis=1)
    found, expected = (METHODS[name](model).explain(padded, 1).values for model in (other, plain))
    close(found, expected, TOLERANCE["float64"])


@pytest.mark.filterwarnings("ignore:The values of the samples")
def test_channels_in_front():
    """What TensorFlow runs on this processor; it says itself where it has no kernel."""

    def built(data_format, shape):
        return keras.Sequential(
            [
                keras.Input(shape),
                layers.Conv2D(6, 3, activation="relu", data_format=data_format),
                layers.MaxPooling2D(data_format=data_format),
                layers.Conv2D(5, 3, activation="silu", data_format=data_format),
                layers.GlobalAveragePooling2D(data_format=data_format),
                layers.Dense(3),
            ]
        )

    keras.utils.set_random_seed(0)
    last = built("channels_last", (12, 12, 3))
    front = with_weights_of(built("channels_first", (3, 12, 12)), last)
    pictures = np.moveaxis(PICTURES, -1, 1)
    for method in METHODS.values():
        found = np.moveaxis(method(front).explain(pictures, 1).values, 1, -1)
        close(found, method(last).explain(PICTURES, 1).values, 1e-5)
    for method in (getattr(tfs, name) for name in OVER_A_LAYER):
        for places in (0, 2):
            # CAM is for the layer before the pooling.
            if method is tfs.CAM and not places:
                continue
            found = method(front, front.layers[places]).explain(pictures, 1).values
            expected = method(last, last.layers[places]).explain(PICTURES, 1).values
            close(np.moveaxis(found, 1, -1), expected, 1e-4)


@pytest.mark.parametrize("kind", [layers.Embedding, layers.ReversibleEmbedding])
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_vectors_are_explained_as_a_table_of_floats_is(mode, kind):
    """Codes and scales are no numbers of their own."""
    keras.utils.set_random_seed(0)
    table, ids = kind(20, 8), keras.Input((5,), dtype="int32")
    rest = keras.Sequential(
        [keras.Input((5, 8)), layers.GlobalAveragePooling1D(), layers.Dense(8, "gelu"), layers.Dense(3)]
    )
    model = keras.Model(ids, rest(table(ids)))
    table.quantize(mode)
    vectors, x = table(np.arange(20)).numpy(), np.random.default_rng(0).integers(1, 20, size=(3, 5))
    found = tfs.Gradient(model).explain(x, 1).values
    close(found, np.linalg.norm(tfs.Gradient(rest).explain(vectors[x], 1).values, axis=-1), 1e-5)
    for id in (None, 3):
        like = np.broadcast_to(vectors.mean(axis=0) if id is None else vectors[id], (5, 8)).copy()
        for method in (tfs.IntegratedGradients, tfs.DeepLIFT, partial(tfs.Occlusion, window=1, stride=1)):
            found = method(model, baseline=id).explain(x, 1).values
            close(found, method(rest, baseline=like).explain(vectors[x], 1).values.sum(axis=-1), 1e-5)


def test_complex_weights():
    """The gradient of a product of complex numbers; rules say that they do not follow it."""
    weights = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    table = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")

    def model(x):
        return tf.math.real(tf.complex(x, x) @ tf.complex(*weights))

    # The real part of (1 + i)(a + ib) is a - b.
    expected = np.broadcast_to((weights[0] - weights[1])[:, 1], (2, 4))
    close(tfs.Gradient(model).explain(table, 1).values, expected, 1e-5)
    with pytest.raises(ValueError, match="Rules cannot follow complex numbers through .*Gradient methods"):
        tfs.LRP(model).explain(table, 1)


def test_a_gradient_that_would_follow_scales_alone_is_refused_and_the_advice_works():
    """Keras defines no gradient for a quantized table that gives the logits of a language model."""
    keras.utils.set_random_seed(0)
    numbers = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    x, top = keras.Input((8,)), layers.ReversibleEmbedding(5, 6)
    top.build()
    y = layers.Dense(6, "tanh")(x)
    model = keras.Model(x, top(y, reverse=True))
    top.quantize("int8")
    for method in (tfs.Gradient, tfs.SmoothGrad, tfs.IntegratedGradients):
        with pytest.raises(ValueError, match="in int32 numbers, has no gradient: .*quantized, or by Occlusion, RISE"):
            method(model).explain(numbers, 1)
    left_out = [model(numbers)[:, 1] - model(np.where(np.arange(8) == place, 0, numbers))[:, 1] for place in range(8)]
    close(tfs.Occlusion(model, window=1).explain(numbers, 1).values, np.stack(left_out, axis=1), 1e-5)


def test_quantized_layers():
    """The gradient is that of the quantized layers themselves; rules are refused by name."""
    keras.utils.set_random_seed(0)
    table = np.random.default_rng(0).normal(size=(4, 9)).astype("float32")
    model = keras.Sequential([layers.Dense(16, "relu"), layers.Dense(3)])
    model(table)
    for layer in model.layers:
        layer.quantize("int8")
    x = tf.constant(table)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = model(x)[:, 1]
    close(tfs.Gradient(model).explain(table, 1).values, tape.gradient(score, x).numpy(), 1e-5)
    for method in (tfs.LRP, tfs.DeepLIFT):
        with pytest.raises(ValueError, match="MatMul.*numbers, as quantized layers have. Explain the model before"):
            method(model).explain(table, 1)
