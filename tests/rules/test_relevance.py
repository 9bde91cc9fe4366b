"""Each relevance rule against its textbook twin, on every kind of affine operation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests import reference
from tests.harness import close
from tfsaliency.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    WSquare,
    ZBox,
    ZPlus,
    first,
    kind,
    last,
    operation,
)

RULES = {
    "zero": (Epsilon(0), "epsilon", {"epsilon": 0.0}),
    "epsilon": (Epsilon(0.05), "epsilon", {"epsilon": 0.05}),
    "gamma": (Gamma(0.3), "gamma", {"gamma": 0.3}),
    "z_plus": (ZPlus(), "alpha_beta", {"alpha": 1.0, "beta": 0.0}),
    "alpha_beta_2_1": (AlphaBeta(2, 1), "alpha_beta", {"alpha": 2.0, "beta": 1.0}),
    "alpha_beta_1.5_0.5": (AlphaBeta(1.5, 0.5), "alpha_beta", {"alpha": 1.5, "beta": 0.5}),
    "w_square": (WSquare(), "w_square", {}),
    "flat": (Flat(), "flat", {}),
    "z_box": (ZBox(-3.0, 2.5), "z_box", {"low": -3.0, "high": 2.5}),
}

# What is one affine map: an operation with bias, scales and shifts around it, and padding.
MAPS = {
    "dense": ([layers.Dense(4)], (6,)),
    "dense of rank 3": ([layers.Dense(4)], (3, 5)),
    "einsum": ([layers.EinsumDense("abc,cde->abde", (3, 2, 3), bias_axes="de")], (3, 4)),
    "conv1d causal": ([layers.Conv1D(3, 3, padding="causal", dilation_rate=2)], (7, 2)),
    "conv2d same": ([layers.Conv2D(3, 3, padding="same")], (4, 5, 2)),
    "conv2d strided": ([layers.Conv2D(3, 2, strides=2, padding="same")], (5, 5, 2)),
    "conv2d dilated": ([layers.Conv2D(2, 2, dilation_rate=2)], (5, 5, 2)),
    "conv2d dilated, same": ([layers.Conv2D(2, 3, dilation_rate=2, padding="same")], (5, 6, 2)),
    "conv2d dilated, same, without bias": (
        [layers.Conv2D(2, 3, dilation_rate=2, padding="same", use_bias=False)],
        (5, 6, 2),
    ),
    "conv1d dilated, same": ([layers.Conv1D(2, 3, dilation_rate=2, padding="same")], (7, 2)),
    "depthwise dilated, same": ([layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")], (5, 6, 2)),
    "conv2d dilated, same, normalization": (
        [layers.Conv2D(2, 3, dilation_rate=2, padding="same"), layers.BatchNormalization()],
        (5, 6, 2),
    ),
    "normalization, conv2d dilated, same": (
        [layers.BatchNormalization(), layers.Conv2D(2, 3, dilation_rate=2, padding="same")],
        (5, 6, 2),
    ),
    "conv2d grouped": ([layers.Conv2D(6, 2, groups=2)], (3, 4, 4)),
    "conv2d one channel per group": ([layers.Conv2D(6, 2, groups=3, padding="same")], (3, 4, 3)),
    "conv3d": ([layers.Conv3D(2, 2)], (3, 3, 3, 2)),
    "depthwise": ([layers.DepthwiseConv2D(2, depth_multiplier=2)], (4, 4, 3)),
    "transposed": ([layers.Conv2DTranspose(2, 3, strides=2)], (3, 3, 2)),
    "conv1d transposed": ([layers.Conv1DTranspose(2, 3, strides=2)], (4, 2)),
    "conv3d transposed": ([layers.Conv3DTranspose(2, 2)], (2, 2, 2, 2)),
    "conv2d, normalization": ([layers.Conv2D(3, 2), layers.BatchNormalization()], (4, 4, 2)),
    "depthwise, normalization": ([layers.DepthwiseConv2D(2), layers.BatchNormalization()], (4, 4, 3)),
    "transposed, normalization": ([layers.Conv2DTranspose(3, 2), layers.BatchNormalization()], (3, 3, 2)),
    "conv1d, normalization": ([layers.Conv1D(3, 2), layers.BatchNormalization()], (5, 2)),
    "conv3d, normalization": ([layers.Conv3D(3, 2), layers.BatchNormalization()], (3, 3, 3, 2)),
    "dense, normalization": ([layers.Dense(4), layers.BatchNormalization()], (6,)),
    "normalization, conv2d": ([layers.BatchNormalization(), layers.Conv2D(3, 3, padding="same")], (4, 4, 2)),
    "normalization, grouped": ([layers.BatchNormalization(), layers.Conv2D(6, 2, groups=2)], (3, 3, 4)),
    "normalization, depthwise": ([layers.BatchNormalization(), layers.DepthwiseConv2D(2)], (3, 3, 4)),
    "normalization, transposed": ([layers.BatchNormalization(), layers.Conv2DTranspose(3, 2)], (3, 3, 2)),
    "normalization, dense": ([layers.BatchNormalization(), layers.Dense(4)], (6,)),
    "rescaling, padding, conv2d": (
        [layers.Rescaling(0.5, offset=-0.2), layers.ZeroPadding2D(1), layers.Conv2D(3, 3, strides=2)],
        (4, 4, 2),
    ),
    "normalization, conv2d, normalization": (
        [layers.BatchNormalization(), layers.Conv2D(3, 2), layers.BatchNormalization()],
        (4, 4, 2),
    ),
}


def build(name: str, seed: int) -> keras.Model:
    """The layers of a map, with weights and statistics of either sign, and their results in a row."""
    kinds, shape = MAPS[name]
    keras.utils.set_random_seed(seed)
    copies = [type(layer).from_config(layer.get_config()) for layer in kinds]
    model = keras.Sequential([keras.Input(shape), *copies, layers.Flatten()])
    generator = np.random.default_rng(seed)
    model.set_weights(
        [
            0.5 + generator.uniform(size=weight.shape)
            if "variance" in variable.path
            else generator.normal(size=weight.shape)
            for variable, weight in zip(model.weights, model.get_weights(), strict=True)
        ]
    )
    return model


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", MAPS)
def test_rule_equals_its_twin(name, rule):
    ours, twin, options = RULES[rule]
    for seed, sign in ((0, "either"), (1, "positive")):
        model = build(name, seed)
        generator = np.random.default_rng(10 + seed)
        x = generator.normal(size=(2, *model.input_shape[1:])).astype("float32")
        x = np.abs(x) if sign == "positive" else x
        # Relevance of every result at once: each logit times its coefficient.
        coefficients = generator.normal(size=model.output_shape[1]).astype("float32")
        explainer = tfs.LRP(model, {kind("convolution"): ours, kind("dense"): ours})
        explanation = explainer.explain(x, lambda z, c=coefficients: tf.reduce_sum(c * z, axis=1))
        weights, bias = reference.affine_matrix(lambda batch, model=model: model(batch).numpy(), x.shape[1:])
        for sample, values in zip(x, explanation.values, strict=True):
            flat = sample.ravel().astype("float64")
            relevance = coefficients * (flat @ weights + bias)
            expected = reference.lrp(twin, flat, weights, bias, relevance, **options).reshape(sample.shape)
            error = np.linalg.norm(values - expected) / np.linalg.norm(expected)
            assert error < 1e-5


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["conv2d, normalization", "normalization, conv2d", "dense, normalization"])
def test_a_normalization_belongs_to_its_map_in_mixed_precision(name, rule):
    """Keras rounds in front of a normalization and behind it. In float32 nothing is between."""
    ours = RULES[rule][0]
    table = {kind("convolution"): ours, kind("dense"): ours}
    single = build(name, 1)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = build(name, 1)
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(single.get_weights())
    x = np.random.default_rng(2).uniform(1, 2, size=(2, *single.input_shape[1:])).astype("float16").astype("float32")
    coefficients = np.random.default_rng(3).uniform(size=single.output_shape[1]).astype("float32")
    maps = [
        tfs.LRP(model, table).explain(x, lambda z: tf.reduce_sum(coefficients * tf.cast(z, tf.float32), axis=1)).values
        for model in (single, mixed)
    ]
    assert np.linalg.norm(maps[1] - maps[0]) < 0.01 * np.linalg.norm(maps[0])


def test_a_table_chooses_by_layer_position_operation_and_kind():
    """Each entry of a table changes the rule of the map that it names, and of no other."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 6, 2))
    y = layers.Conv2D(3, 3, activation="relu", name="one")(x)
    y = layers.DepthwiseConv2D(2, activation="relu", name="two")(y)
    y = layers.Dense(5, activation="relu", name="three")(layers.Flatten()(y))
    model = keras.Model(x, layers.Dense(3, name="four")(y))
    inputs = np.random.default_rng(0).normal(size=(2, 6, 6, 2))
    base = {kind("convolution"): ZPlus(), kind("dense"): Epsilon()}

    def values(more=None, **layers):
        return tfs.LRP(model, base | (more or {}) | layers).explain(inputs, 0).values

    np.testing.assert_array_equal(values({first(): Flat()}), values(one=Flat()))
    np.testing.assert_array_equal(values({first("convolution"): Flat()}), values(one=Flat()))
    np.testing.assert_array_equal(values({first("dense"): Flat()}), values())
    np.testing.assert_array_equal(values({last(): Flat()}), values(four=Flat()))
    np.testing.assert_array_equal(values({operation("DepthwiseConv2dNative"): Flat()}), values(two=Flat()))
    # The more special entry counts.
    np.testing.assert_array_equal(
        values({first(): Flat(), operation("Conv2D"): Gamma()}, one=WSquare()), values(one=WSquare())
    )
    different = [values(), values(one=Flat()), values(two=Flat()), values(three=Flat()), values(four=Flat())]
    for i, one in enumerate(different):
        assert all(not np.allclose(one, other) for other in different[:i])


def test_a_reused_layer_is_named_in_each_of_its_places():
    convolution = layers.Conv2D(2, 3, padding="same", activation="relu", name="shared")
    x = keras.Input((6, 6, 2))
    model = keras.Model(x, layers.Dense(3, name="top")(layers.Flatten()(convolution(convolution(x)))))
    inputs = np.random.default_rng(0).normal(size=(2, 6, 6, 2))
    by_name = tfs.LRP(model, {"shared": Gamma(), kind("dense"): Epsilon()}).explain(inputs, 0)
    by_kind = tfs.LRP(model, {kind("convolution"): Gamma(), kind("dense"): Epsilon()}).explain(inputs, 0)
    np.testing.assert_array_equal(by_name.values, by_kind.values)


def test_gates_get_nothing_and_signals_share():
    """``x * sigmoid(w mean(x))``: all to x. ``x * (w x)``, two signals: half each, which is all to x again."""
    x = keras.Input((5,))
    gate = layers.Dense(5, activation="sigmoid")(layers.Dense(5)(x))
    gated = keras.Model(x, keras.ops.sum(x * gate, axis=-1, keepdims=True))
    inputs = np.abs(np.random.default_rng(0).normal(size=(3, 5))) + 0.1
    explanation = tfs.LRP(gated, "epsilon").explain(inputs, lambda z: z[:, 0])
    side = keras.Model(x, x * gate)
    np.testing.assert_allclose(explanation.values, side(inputs), rtol=1e-3)

    product = keras.Model(x, keras.ops.sum(x * layers.Dense(5, use_bias=False)(x), axis=-1, keepdims=True))
    explanation = tfs.LRP(product, "epsilon").explain(inputs, lambda z: z[:, 0])
    gradient = tfs.GradientTimesInput(product).explain(inputs, lambda z: z[:, 0])
    # A product of two signals is of degree two: half of the gradient times the input.
    np.testing.assert_allclose(explanation.values, gradient.values / 2, rtol=1e-3, atol=1e-4)


# A gate ``(N, 4)`` for the channels of ``(N, 6, 4)``, from numbers ``(N, 4)``.
GATES = {
    "reshape": lambda y, z: y * layers.Reshape((1, 4))(tf.sigmoid(z)),
    "new axis": lambda y, z: y * tf.sigmoid(z)[:, None, :],
    "einsum": lambda y, z: tf.einsum("ntc,nc->ntc", y, tf.sigmoid(z)),
    "repeated": lambda y, z: y * layers.RepeatVector(6)(tf.sigmoid(z)),
    "tiled": lambda y, z: y * tf.tile(tf.sigmoid(z)[:, None], [1, 6, 1]),
    "transposed": lambda y, z: tf.transpose(tf.transpose(y, [0, 2, 1]) * tf.sigmoid(z)[..., None], [0, 2, 1]),
    "enlarged": lambda y, z: y * layers.UpSampling1D(6)(tf.sigmoid(z)[:, None]),
    "resized": lambda y, z: y * tf.image.resize(tf.sigmoid(z)[:, None, None], (6, 1))[:, :, 0],
    "split": lambda y, z: y * tf.split(tf.sigmoid(tf.concat([z, -z], 1)), 2, 1)[0][:, None],
    "joined": lambda y, z: y * tf.concat([tf.sigmoid(z[:, :2]), tf.sigmoid(z[:, 2:])], 1)[:, None],
    "clipped": lambda y, z: y * tf.clip_by_value(tf.sigmoid(z), 0.1, 0.9)[:, None],
    "hard, clipped": lambda y, z: y * tf.clip_by_value(0.5 + z / 6, 0, 1)[:, None],
    "hard": lambda y, z: y * keras.activations.hard_sigmoid(z)[:, None],
    "hard, divided at last": lambda y, z: y * tf.nn.relu6(z + 3)[:, None] / 6,
    "hard, of a quotient": lambda y, z: y * tf.clip_by_value((z + 1) / 2, 0, 1)[:, None],
    "hard, shifted otherwise": lambda y, z: y * tf.clip_by_value(z + 0.7, 0, 1)[:, None],
    "of tanh": lambda y, z: y * (0.5 * tf.tanh(z / 2) + 0.5)[:, None],
    "of tanh, halved at last": lambda y, z: y * ((1 - tf.tanh(z)) / 2)[:, None],
    "of tanh, shifted alone": lambda y, z: y * (1 + tf.tanh(z))[:, None],
    "of its own reverse": lambda y, z: y * (1 - tf.sigmoid(z))[:, None],
    "reversed behind a new axis": lambda y, z: y * (1 - tf.sigmoid(z)[:, None]),
    "reversed part of a split": lambda y, z: y * (1 - tf.split(tf.sigmoid(tf.concat([z, -z], 1)), 2, 1)[0])[:, None],
    "reversed behind an enlargement": lambda y, z: y * (1 - layers.UpSampling1D(6)(tf.sigmoid(z)[:, None])),
    "reversed mean of two": lambda y, z: y * (1 - tf.reduce_mean([tf.sigmoid(z), tf.sigmoid(-2 * z)], 0))[:, None],
    "reversed twice": lambda y, z: y * (1 - (1 - tf.sigmoid(z)[:, None])[:, :, :]),
    "reversed behind a slice of a root": lambda y, z: y * (1 - tf.sqrt(tf.sigmoid(tf.concat([z, z], 1)))[:, None, :4]),
    "never closed, behind a repeat": lambda y, z: y * (1 + layers.RepeatVector(6)(tf.sigmoid(z))),
    "never closed": lambda y, z: y * (1 + tf.sigmoid(z))[:, None],
    "of exponentials": lambda y, z: y * (tf.exp(z) / (1 + tf.exp(z)))[:, None],
    "of its logarithm": lambda y, z: y * tf.exp(tf.math.log_sigmoid(z))[:, None],
    "of softplus": lambda y, z: y * tf.exp(-tf.nn.softplus(-z))[:, None],
    "of erf": lambda y, z: y * (0.5 * (1 + tf.math.erf(z)))[:, None],
    "hard, clipped before": lambda y, z: y * ((tf.clip_by_value(z, -3, 3) + 3) / 6)[:, None],
    "decay": lambda y, z: y * tf.exp(-tf.nn.relu(z))[:, None],
    "bell": lambda y, z: y * tf.exp(-(z**2))[:, None],
    "root of a gate": lambda y, z: y * tf.sqrt(tf.sigmoid(z))[:, None],
    "square of a gate": lambda y, z: y * tf.sigmoid(z)[:, None] ** 2,
    "inverse": lambda y, z: y * (1 / (1 + tf.exp(-z)))[:, None],
    "quotient": lambda y, z: y / (1 + tf.exp(-z))[:, None],
    "inverse of a logarithm": lambda y, z: y * tf.exp(-0.5 * tf.math.log(1 + z**2))[:, None],
    "power": lambda y, z: y * tf.pow(1 + z**2, -0.5)[:, None],
    "norm": lambda y, z: keras.ops.normalize(y, axis=(1, 2)) * tf.sigmoid(z)[:, None],
    "layer of norms": lambda y, z: layers.UnitNormalization(axis=2)(y),
}


@pytest.mark.parametrize("name", GATES)
def test_gates_get_nothing_however_they_are_written(name):
    """LRP is the gradient times the input of a network in which the gate, or the norm, is a constant."""
    keras.utils.set_random_seed(0)
    inputs = np.random.default_rng(0).normal(size=(3, 6, 5)).astype("float32")
    first, second, last = (layers.Dense(units, use_bias=False) for units in (4, 4, 2))

    def network(gated):
        x = keras.Input((6, 5))
        y = first(x)
        gate = second(layers.GlobalAveragePooling1D()(x))
        return keras.Model(x, last(layers.Flatten()(layers.Lambda(lambda pair: gated(*pair))([y, gate]))))

    def held(y, z):
        """``y`` times a constant."""
        return y * tf.stop_gradient(tf.math.divide_no_nan(GATES[name](y, z), y))

    explanation = tfs.LRP(network(GATES[name]), "epsilon").explain(inputs, 1)
    expected = tfs.GradientTimesInput(network(held)).explain(inputs, 1)
    np.testing.assert_allclose(explanation.scores, expected.scores, rtol=1e-4)
    np.testing.assert_allclose(explanation.values, expected.values, rtol=2e-3, atol=1e-5)


# Signals that are bounded or roots, of numbers ``(N, 6, 4)``.
BOUNDED = {
    "relu6": tf.nn.relu6,
    "relu6, shifted": lambda y: tf.nn.relu6(y + 1.0),
    "clipped": lambda y: tf.clip_by_value(y, 0, 255),
    "clipped at one": lambda y: tf.clip_by_value(y, 0, 1),
    "root": lambda y: tf.sqrt(tf.abs(y) + 0.1),
    "power": lambda y: (tf.abs(y) + 0.1) ** 0.5,
    "tanh": tf.tanh,
    "tanh of a sigmoid": lambda y: 2 * tf.sigmoid(2 * y) - 1,
    "softsign": lambda y: y / (1 + tf.abs(y)),
    "sigmoid that is moved and centred": lambda y: (
        tf.transpose(tf.sigmoid(tf.transpose(y, [0, 2, 1])), [0, 2, 1]) - 0.5
    ),
    "sine": tf.sin,
    "exponential": tf.exp,
    "logarithm": lambda y: tf.math.log(tf.abs(y) + 0.1),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_a_bounded_signal_is_no_gate(name):
    """A gate that is multiplied with it gets nothing, another signal half; numbers from 0 to 1 gate a signal."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    inputs = {"a": generator.normal(size=(3, 6, 5)), "b": generator.normal(size=(3, 5))}
    first, second, last = (layers.Dense(units, use_bias=False) for units in (4, 4, 2))

    def values_of(product):
        x = {"a": keras.Input((6, 5), name="a"), "b": keras.Input((5,), name="b")}
        pair = [first(x["a"]), second(x["b"])[:, None]]
        model = keras.Model(x, last(layers.Flatten()(layers.Lambda(lambda pair: product(*pair))(pair))))
        return tfs.LRP(model, "epsilon").explain(inputs, 1).values

    signal = BOUNDED[name]
    gated = values_of(lambda y, z: signal(y) * tf.sigmoid(z))
    np.testing.assert_array_equal(gated["b"], 0)
    np.testing.assert_allclose(
        gated["a"], values_of(lambda y, z: signal(y) * tf.stop_gradient(tf.sigmoid(z)))["a"], rtol=1e-5, atol=1e-7
    )
    shares = values_of(lambda y, z: signal(y) * z)
    of_signal = 0.0 if name == "clipped at one" else 0.5
    first_alone = values_of(lambda y, z: signal(y) * tf.stop_gradient(z))["a"]
    other_alone = values_of(lambda y, z: tf.stop_gradient(signal(y)) * z)["b"]
    np.testing.assert_allclose(shares["a"], of_signal * first_alone, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(shares["b"], (1 - of_signal) * other_alone, rtol=1e-5, atol=1e-7)


def test_a_mean_of_as_many_words_as_a_text_has():
    """Through a table of words no shape is known. Against the model of the ids, which are made of the words outside."""
    words = np.array([["a", "b", "c", ""], ["a", "c", "", ""]])
    look_up = layers.StringLookup(vocabulary=["a", "b", "c"], mask_token="")
    top = [layers.Embedding(6, 3, mask_zero=True), layers.GlobalAveragePooling1D(), layers.Dense(2, use_bias=False)]
    inside = keras.Sequential([keras.Input((4,), dtype="string"), look_up, *top])
    behind = keras.Sequential([keras.Input((4,), dtype="int64"), *top])
    values = tfs.LRP(inside, "epsilon").explain(words, 1).values
    assert np.abs(values[words != ""]).min() > 0
    np.testing.assert_allclose(values, tfs.LRP(behind, "epsilon").explain(look_up(words), 1).values, rtol=1e-5)


def test_softmax_follows_its_taylor_expansion():
    x = keras.Input((6,))
    p = keras.ops.softmax(x)
    model = keras.Model(x, keras.ops.matmul(p, np.arange(12, dtype="float32").reshape(6, 2)))
    inputs = np.random.default_rng(0).normal(size=(2, 6)).astype("float32")
    values = tfs.LRP(model, "epsilon").explain(inputs, 1).values
    probabilities = np.exp(inputs) / np.exp(inputs).sum(axis=1, keepdims=True)
    relevance = probabilities * np.arange(12).reshape(6, 2)[:, 1]
    expected = inputs * (relevance - probabilities * relevance.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_layer_normalization_is_the_identity_rule_but_for_its_mean():
    """With the deviation held fixed, ``x -> (x - mean) / deviation`` is linear: gradient times input of that."""
    x = keras.Input((8,))
    y = layers.LayerNormalization()(x)
    model = keras.Model(x, layers.Dense(3, use_bias=False)(y))
    inputs = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    values = tfs.LRP(model, "attention").explain(inputs, 0).values
    kernel = model.layers[-1].kernel.numpy()[:, 0]
    deviation = np.sqrt(inputs.var(axis=1, keepdims=True) + 1e-3)
    expected = inputs * (kernel - kernel.mean()) / deviation
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-4)


def by_hand(x, gamma, beta):
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-3) * gamma + beta


def by_tensorflow(x, gamma, beta):
    return tf.nn.batch_normalization(x, *tf.nn.moments(x, [-1], keepdims=True), beta, gamma, 1e-3)


def by_keras(x, gamma, beta):
    return keras.ops.layer_normalization(x, gamma, beta, axis=-1, epsilon=1e-3)


def shifted_last(x, gamma, beta):
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    scale = tf.math.rsqrt(variance + 1e-3) * gamma
    return x * scale - mean * scale + beta


def without_scale(x, gamma, beta):
    return by_hand(x, 1.0, beta)


def without_scale_by_keras(x, gamma, beta):
    return keras.ops.layer_normalization(x, None, beta, axis=-1, epsilon=1e-3)


def root_mean_square(x, gamma, beta):
    return x / tf.sqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-3) * gamma


def root_mean_square_in_one_scale(x, gamma, beta):
    return x * (gamma / tf.sqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-3))


class Normalized(layers.Layer):
    """A normalization of each sample, written as a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def build(self, shape):
        self.gamma, self.beta = (self.add_weight(shape=shape[-1:], name=name) for name in ("gamma", "beta"))

    def call(self, x):
        return self.function(x, self.gamma, self.beta)


WRITINGS = {
    "layer": [by_hand, by_tensorflow, by_keras, shifted_last],
    "without a scale": [without_scale, without_scale_by_keras],
    "root mean square": [root_mean_square, root_mean_square_in_one_scale],
}
TABLES = {
    **{name: name for name in ("epsilon_plus_flat", "epsilon", "gamma", "alpha2_beta1", "attention")},
    "of signs": {kind(each): AlphaBeta(2, 1) for each in ("convolution", "dense", "normalization")},
}


# A scale without a shift is a map of its own in one of the two ways only, where a table asks for its signs.
PAIRS = [(table, form) for table in TABLES for form in WRITINGS if (table, form) != ("of signs", "root mean square")]


@pytest.mark.parametrize(("table", "form"), PAIRS)
def test_a_normalization_has_one_map_however_it_is_written(table, form):
    """In front of a sum, a convolution and a dense layer, of which the latter two take other scales for their own."""

    def built(function):
        x = keras.Input((6, 4))
        y = Normalized(function)(layers.Conv1D(5, 2, activation="relu")(x))
        y = y + layers.Conv1D(5, 3, padding="same", activation="silu")(y)
        y = layers.Conv1D(5, 1, activation="relu")(Normalized(function)(y))
        return keras.Model(x, layers.Dense(2)(Normalized(function)(layers.GlobalAveragePooling1D()(y))))

    generator = np.random.default_rng(0)
    models = [built(function) for function in WRITINGS[form]]
    weights = [generator.normal(size=weight.shape) for weight in models[0].get_weights()]
    for model in models:
        model.set_weights(weights)
    x = generator.normal(size=(2, 6, 4))
    expected, *others = (tfs.LRP(model, TABLES[table]).explain(x, 1).values for model in models)
    for values in others:
        close(values, expected, 1e-3)


@pytest.mark.parametrize("rules", ["epsilon_plus", "gamma", "alpha2_beta1"])
def test_scales_behind_a_gate_belong_to_the_map_that_reads_them(rules):
    """Only what is divided by its deviation has scales of its own: those of a squeeze and excitation have a reader."""

    def built(normalization):
        keras.utils.set_random_seed(0)
        x = keras.Input((6, 6, 2))
        y = layers.Conv2D(6, 3, activation="relu")(x)
        y *= layers.Dense(6, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
        y = layers.Conv2D(4, 1, activation="relu")(normalization(y))
        return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))

    generator = np.random.default_rng(0)
    model, twin = built(layers.BatchNormalization()), built(layers.Activation("linear"))
    weights = [generator.normal(size=weight.shape) for weight in model.get_weights()]
    gamma, beta, mean, variance = weights[4:8] = [*weights[4:7], np.abs(weights[7])]
    model.set_weights(weights)
    scale, (kernel, bias) = gamma / np.sqrt(variance + 1e-3), weights[8:10]
    folded = [kernel * scale[:, None], bias + (beta - mean * scale) @ kernel[0, 0]]
    twin.set_weights([*weights[:4], *folded, *weights[10:]])
    x = generator.normal(size=(2, 6, 6, 2))
    found, expected = (tfs.LRP(each, rules).explain(x, 1) for each in (model, twin))
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
    close(found.values, expected.values, 1e-4)


def test_zplus_conserves_where_every_unit_has_a_positive_part():
    """Without biases and with an input of either sign, all relevance arrives; a positive bias keeps its share."""
    keras.utils.set_random_seed(3)
    dense = [layers.Dense(20, "relu", use_bias=False), layers.Dense(20, "relu", use_bias=False)]
    model = keras.Sequential([keras.Input((10,)), *dense, layers.Dense(4, use_bias=False)])
    inputs = np.random.default_rng(0).normal(size=(8, 10))
    explanation = tfs.LRP(model, "alpha1_beta0").explain(inputs)
    np.testing.assert_allclose(explanation.values.sum(axis=1), explanation.scores, rtol=1e-4)
    np.testing.assert_allclose(explanation.diagnostics["conservation_gap"], 0, atol=1e-4)
    biased = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    biased.set_weights([np.array([[1.0]]), np.array([3.0])])
    explanation = tfs.LRP(biased, "alpha1_beta0").explain(np.ones((1, 1)))
    np.testing.assert_allclose(explanation.values, [[1.0]], rtol=1e-5)
    np.testing.assert_allclose(explanation.diagnostics["conservation_gap"], [-3.0], rtol=1e-5)


def test_max_pooling_gives_all_to_the_largest_and_averages_share():
    x = np.array([[1.0, 3.0, 2.0, 0.5]])[..., None]
    for pooling, expected in (
        (layers.MaxPooling1D, [0, 3.0, 2.0, 0]),
        (layers.AveragePooling1D, [0.5, 1.5, 1.0, 0.25]),
    ):
        model = keras.Sequential([keras.Input((4, 1)), pooling(2), layers.Flatten()])
        values = tfs.LRP(model, "epsilon").explain(x, lambda z: z[:, 0] + z[:, 1]).values
        np.testing.assert_allclose(values[0, :, 0], expected, rtol=1e-5)


def test_an_input_that_is_scaled_and_clipped_is_no_gate():
    """A picture from -1 to 1 is made one from 0 to 1 or 255, and multiplied with a gate, with a clip or without."""
    keras.utils.set_random_seed(0)
    picture = np.random.default_rng(0).uniform(-0.9, 0.9, size=(2, 6, 6, 3)).astype("float32")
    attention, convolution, head = layers.Conv2D(3, 3, padding="same"), layers.Conv2D(4, 3), layers.Dense(2)

    def values(scaled):
        x = keras.Input((6, 6, 3))
        shown = layers.Lambda(scaled)(x)
        hidden = convolution(shown * layers.Activation("sigmoid")(attention(shown)))
        return tfs.LRP(keras.Model(x, head(layers.Flatten()(hidden))), "epsilon").explain(picture, 1).values

    for ends in (1.0, 255.0):
        plain = values(lambda x, ends=ends: (x + 1) * (ends / 2))
        clipped = values(lambda x, ends=ends: tf.clip_by_value((x + 1) * (ends / 2), 0, ends))
        np.testing.assert_allclose(clipped, plain, rtol=1e-3, atol=1e-5 * np.abs(plain).max())


@pytest.mark.parametrize("method", [lambda model: tfs.LRP(model, "epsilon"), lambda model: tfs.DeepLIFT(model, 0.0)])
def test_a_class_that_is_ruled_out_is_no_matter_to_another_one(method):
    """Its logit is minus infinity, and the target has no slope there. ``x * w``, of a linear model without biases."""
    keras.utils.set_random_seed(0)
    dense = layers.Dense(3, use_bias=False)
    x = keras.Input((4,))
    model = keras.Model(x, layers.Lambda(lambda z: z + np.array([0, 0, -np.inf], "float32"))(dense(x)))
    inputs = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    values = method(model).explain(inputs, 1).values
    np.testing.assert_allclose(values, inputs * dense.kernel.numpy()[:, 1], rtol=1e-4, atol=1e-6)
