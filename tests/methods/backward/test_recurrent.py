"""Rules go through LSTM, GRU and their like: against textbook twins, and against the same network without a loop."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import close, quick

STEPS, WIDTH, UNITS, CLASSES = 6, 4, 5, 3
X = np.random.default_rng(0).normal(size=(3, STEPS, WIDTH)).astype("float32")


def recurrent(*stack, bias=0.1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((STEPS, WIDTH)), *stack, layers.Dense(CLASSES)])
    generator = np.random.default_rng(1)
    model.set_weights([weight + bias * generator.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def shared(relevance, z):
    """``R / z``, with the epsilon of the package."""
    return relevance / (z + np.where(z >= 0, 1e-6, -1e-6))


def lstm_twin(x, weights, target):
    """Arras et al. 2017: the epsilon rule for products with weights, everything to the signal of a gated product."""
    w, u, bias, head, head_bias = weights
    hidden, cell, seen = np.zeros(UNITS), np.zeros(UNITS), []
    for step in x:
        z = step @ w + hidden @ u + bias
        in_, forget, signal, out = np.split(z, 4)
        before, in_, forget, signal, out = hidden, sigmoid(in_), sigmoid(forget), np.tanh(signal), sigmoid(out)
        old, cell = cell, forget * cell + in_ * signal
        hidden = out * np.tanh(cell)
        seen.append((before, old, cell, in_ * signal, forget * old, np.split(z, 4)[2]))
    y = hidden @ head + head_bias
    of_hidden = hidden * head[:, target] * shared(y[target], y[target])
    of_cell = np.zeros(UNITS)
    columns = slice(2 * UNITS, 3 * UNITS)
    relevance = np.zeros_like(x)
    for place in reversed(range(len(x))):
        before, old, cell, new, kept, z = seen[place]
        ratio = shared(of_cell + of_hidden, cell)
        of_signal, of_cell = new * ratio, kept * ratio
        relevance[place] = x[place] * (w[:, columns] @ shared(of_signal, z))
        of_hidden = before * (u[:, columns] @ shared(of_signal, z))
    return relevance


def gru_twin(x, weights, target):
    """The same for the GRU of Cho et al. 2014, and for that of cuDNN, whose state has a bias of its own.

    The reset gate is applied to the state, and in the second one behind the weights of the state.
    """
    w, u, bias, head, head_bias = weights
    is_behind = bias.ndim == 2
    bias, own_bias = bias if is_behind else (bias, np.zeros_like(bias))
    gates, columns = slice(2 * UNITS), slice(2 * UNITS, 3 * UNITS)
    hidden, seen = np.zeros(UNITS), []
    for step in x:
        of_x = step @ w + bias
        update, reset = sigmoid((of_x + hidden @ u + own_bias)[gates]).reshape(2, UNITS)
        recurrent = u[:, columns] * (reset if is_behind else reset[:, None])
        z = of_x[columns] + hidden @ recurrent + reset * own_bias[columns]
        before, hidden = hidden, update * hidden + (1 - update) * np.tanh(z)
        seen.append((before, recurrent, update * before, hidden, z))
    y = hidden @ head + head_bias
    of_hidden = hidden * head[:, target] * shared(y[target], y[target])
    relevance = np.zeros_like(x)
    for place in reversed(range(len(x))):
        before, recurrent, kept, hidden, z = seen[place]
        ratio = shared(of_hidden, hidden)
        of_z = shared((hidden - kept) * ratio, z)
        relevance[place] = x[place] * (w[:, columns] @ of_z)
        of_hidden = kept * ratio + before * (recurrent @ of_z)
    return relevance


def deeplift_of_lstm(x, x0, weights, target):
    """Shrikumar et al. 2017: ``dy / dx`` at each activation, the mean of the other factor in a product."""
    w, u, bias, head, _ = weights

    def forward(x):
        hidden, cell, turns = np.zeros(UNITS), np.zeros(UNITS), []
        for step in x:
            z = np.split(step @ w + hidden @ u + bias, 4)
            parts = [sigmoid(z[0]), sigmoid(z[1]), np.tanh(z[2]), sigmoid(z[3])]
            old, cell = cell, parts[1] * cell + parts[0] * parts[2]
            hidden = parts[3] * np.tanh(cell)
            turns.append((z, parts, old, cell, np.tanh(cell)))
        return turns

    def slope(y, y0, z, z0):
        return (y - y0) / (z - z0)

    m_hidden, m_cell, multipliers = head[:, target], np.zeros(UNITS), np.zeros_like(x)
    turns = list(zip(forward(x), forward(x0), strict=True))
    for place in reversed(range(len(x))):
        (z, (i, f, g, o), old, cell, bent), (z0, (i0, f0, g0, o0), old0, cell0, bent0) = turns[place]
        m_cell = m_cell + m_hidden * (o + o0) / 2 * slope(bent, bent0, cell, cell0)
        at_parts = [
            m_cell * (g + g0) / 2,
            m_cell * (old + old0) / 2,
            m_cell * (i + i0) / 2,
            m_hidden * (bent + bent0) / 2,
        ]
        pairs = zip(at_parts, (i, f, g, o), (i0, f0, g0, o0), z, z0, strict=True)
        m_z = np.concatenate([m * slope(y, y0, a, a0) for m, y, y0, a, a0 in pairs])
        multipliers[place], m_hidden, m_cell = w @ m_z, u @ m_z, m_cell * (f + f0) / 2
    return multipliers * (x - x0)


def test_deeplift_of_an_lstm_is_that_of_the_textbook():
    model = recurrent(layers.LSTM(UNITS))
    baseline = np.random.default_rng(5).normal(size=(STEPS, WIDTH))
    weights = [weight.astype("float64") for weight in model.get_weights()]
    expected = np.stack([deeplift_of_lstm(row, baseline, weights, 1) for row in X.astype("float64")])
    close(tfs.DeepLIFT(model, baseline).explain(X, 1).values, expected, 1e-4)


TWINS = {
    "LSTM": (layers.LSTM(UNITS), lstm_twin),
    "LSTM, unrolled by Keras": (layers.LSTM(UNITS, unroll=True), lstm_twin),
    "GRU": (layers.GRU(UNITS, reset_after=False), gru_twin),
    "GRU of Keras": (layers.GRU(UNITS), gru_twin),
}


@pytest.mark.parametrize("name", TWINS)
def test_relevance_goes_through_gates_as_in_the_textbook(name):
    layer, twin = TWINS[name]
    model = recurrent(layer)
    found = tfs.LRP(model, "epsilon").explain(X, 1).values
    weights = [weight.astype("float64") for weight in model.get_weights()]
    expected = np.stack([twin(row, weights, 1) for row in X.astype("float64")])
    # A share of a sum that cancels has few digits.
    close(found, expected, 2e-3)


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_gates_of_a_learned_state_get_nothing(kind):
    """A state that is a parameter has the map of one that the inputs change by next to nothing."""
    keras.utils.set_random_seed(0)
    x, layer, head = keras.Input((STEPS, WIDTH)), kind(UNITS), layers.Dense(CLASSES)
    parts = 2 if kind is layers.LSTM else 1
    learned = [layers.Embedding(1, UNITS, embeddings_initializer="random_normal") for _ in range(parts)]

    def model_from(share):
        def state(each):
            # Without a share nothing of the inputs but their number goes into it.
            first = x[:, 0, :1]
            row = each(keras.ops.zeros_like(first[:, 0], dtype="int32"))
            return row + share * keras.ops.tile(first, (1, UNITS)) if share else row

        states = [state(each) for each in learned]
        return keras.Model(x, head(layer(x, initial_state=states if parts > 1 else states[0])))

    constant, nearly = model_from(0.0), model_from(1e-12)
    generator = np.random.default_rng(1)
    constant.set_weights([weight + 0.3 * generator.normal(size=weight.shape) for weight in constant.get_weights()])
    nearly.set_weights(constant.get_weights())
    found, expected = (tfs.LRP(model, "epsilon").explain(X, 1).values for model in (constant, nearly))
    close(found, expected, 2e-3)


@pytest.mark.parametrize(
    "scale",
    [
        lambda y, mask: 3.0 * y,
        lambda y, mask: y * np.linspace(1, 2, UNITS, dtype="float32"),
        lambda y, mask: y * mask,
        lambda y, mask: y * keras.ops.ones_like(y),
        lambda y, mask: y * tf.broadcast_to(np.linspace(1, 2, UNITS, dtype="float32"), tf.shape(y)),
        lambda y, mask: y * (keras.ops.ones_like(y) * np.linspace(1, 2, UNITS, dtype="float32")),
        lambda y, mask: keras.ops.ones_like(y) / (1 / y),
    ],
    ids=["number", "weights", "mask", "ones", "repeated weights", "ones times weights", "quotient of ones"],
)
def test_a_sigmoid_that_is_scaled_is_a_signal(scale):
    """Its relevance goes on as that of the sigmoid alone does, with the scale in the weights behind it."""
    keras.utils.set_random_seed(0)
    hidden, head = layers.Dense(UNITS, "sigmoid"), layers.Dense(CLASSES, use_bias=False)
    x, ids = keras.Input((WIDTH,), name="x"), keras.Input((UNITS,), name="ids", dtype="int32")
    scaled = layers.Lambda(lambda pair: scale(pair[0], keras.ops.cast(pair[1] > 0, "float32")), output_shape=(UNITS,))
    model = keras.Model({"x": x, "ids": ids}, head(scaled([hidden(x), ids])))
    rows = {"x": X[:, 0], "ids": np.arange(3 * UNITS).reshape(3, UNITS) % 3}
    found = tfs.LRP(model, "epsilon").explain(rows, 1).values["x"]
    expected = []
    for row, shown in zip(rows["x"], rows["ids"], strict=True):
        z = row @ hidden.kernel.numpy()
        relevance = (scale(keras.ops.sigmoid(z[None]), (shown[None] > 0).astype("float32"))[0]).numpy()
        expected.append(row * (hidden.kernel.numpy() @ shared(relevance * head.kernel.numpy()[:, 1], z)))
    close(found, np.array(expected), 2e-3)


NETWORKS = {
    "LSTM": lambda unroll: [layers.LSTM(UNITS, unroll=unroll)],
    "GRU": lambda unroll: [layers.GRU(UNITS, unroll=unroll)],
    "SimpleRNN": lambda unroll: [layers.SimpleRNN(UNITS, "relu", unroll=unroll)],
    "every step": lambda unroll: [layers.LSTM(UNITS, return_sequences=True, unroll=unroll), layers.Flatten()],
    "bidirectional": lambda unroll: [layers.Bidirectional(layers.GRU(UNITS, unroll=unroll))],
    "cells": lambda unroll: [layers.RNN([layers.LSTMCell(UNITS), layers.GRUCell(UNITS)], unroll=unroll)],
    "SiLU": lambda unroll: [layers.LSTM(UNITS, activation="silu", unroll=unroll)],
}
METHODS = {
    "gradient": tfs.Gradient,
    "integrated gradients": tfs.IntegratedGradients,
    "DeepLIFT": lambda model: tfs.DeepLIFT(model, 0.3),
    "RevealCancel": lambda model: tfs.DeepLIFT(model, 0.3, "reveal_cancel"),
    "LRP": lambda model: tfs.LRP(model, "epsilon"),
    "LRP, default": tfs.LRP,
    "Deep Taylor": tfs.DeepTaylor,
    "guided": tfs.GuidedBackprop,
}


@pytest.mark.filterwarnings("ignore:The values of the samples")
@pytest.mark.parametrize("name", quick(NETWORKS, "LSTM", "GRU", "SimpleRNN", "bidirectional"))
def test_a_loop_and_its_turns_written_out_have_one_map(name):
    looped, flat = (recurrent(*NETWORKS[name](unroll)) for unroll in (False, True))
    flat.set_weights(looped.get_weights())
    rectifies = name in ("SimpleRNN", "SiLU")
    for label, method in METHODS.items():
        if label == "guided" and not rectifies:
            continue
        found, expected = (method(model).explain(X, 1).values for model in (looped, flat))
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error <= 2e-3, f"{label}: {error:.2g}"


@pytest.mark.parametrize("baseline", [0.0, 0.3, -X[0]], ids=["zero", "number", "row"])
@pytest.mark.parametrize("name", quick(NETWORKS, "LSTM", "SimpleRNN", "cells"))
def test_deeplift_is_complete(name, baseline):
    model = recurrent(*NETWORKS[name](False))
    explanation = tfs.DeepLIFT(model, baseline).explain(X, 1)
    before = tfs.Gradient(model).scores(np.broadcast_to(baseline, X.shape), 1)
    difference = explanation.scores - before
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2)), difference, atol=1e-4 * np.abs(difference).max())


def test_relevance_is_gradient_times_input_without_gates_and_biases():
    """On a network of ReLU alone, LRP with a vanishing epsilon is the gradient times the input."""
    model = recurrent(layers.SimpleRNN(UNITS, "relu"), bias=0.0)
    relevance = tfs.LRP(model, {tfs.rules.kind("dense"): tfs.rules.Epsilon(1e-9)}).explain(X, 1).values
    expected = tfs.GradientTimesInput(model).explain(X, 1).values
    np.testing.assert_allclose(relevance, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_masked_series_is_that_of_its_own_length():
    """What is masked gets nothing, and the rest what it gets alone."""
    keras.utils.set_random_seed(0)
    masked = recurrent(layers.Masking(), layers.LSTM(UNITS))
    x = X.copy()
    x[:, 4:] = 0
    short = keras.Sequential([keras.Input((4, WIDTH)), layers.LSTM(UNITS), layers.Dense(CLASSES)])
    short.set_weights(masked.get_weights())
    for method in (tfs.Gradient, lambda model: tfs.LRP(model, "epsilon")):
        values = method(masked).explain(x, 1).values
        np.testing.assert_allclose(values[:, :4], method(short).explain(x[:, :4], 1).values, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(values[:, 4:], 0)


def test_a_rule_for_a_layer_counts_in_each_turn():
    model, gamma, kind = recurrent(layers.LSTM(UNITS, name="memory")), tfs.rules.Gamma(), tfs.rules.kind
    everywhere = tfs.LRP(model, {kind("dense"): gamma, kind("normalization"): gamma}).explain(X, 1).values
    by_layer = tfs.LRP(model, {"memory": gamma, kind("dense"): gamma}).explain(X, 1).values
    np.testing.assert_array_equal(by_layer, everywhere)
    head_alone = tfs.LRP(model, {"memory": tfs.rules.Epsilon(), kind("dense"): gamma}).explain(X, 1).values
    assert np.abs(head_alone - everywhere).max() > 0.1 * np.abs(everywhere).max()


def test_a_longer_series_than_loops_is_refused_and_the_remedies_work():
    model = recurrent(layers.LSTM(UNITS))
    with pytest.raises(ValueError, match="more turns than the option loops allows. Raise loops, or explain a shorter"):
        tfs.LRP(model, loops=STEPS - 1).explain(X, 1)
    assert tfs.LRP(model, loops=STEPS).explain(X, 1).values.shape == X.shape
    with pytest.raises(ValueError, match="loops is a whole number, at least 0"):
        tfs.DeepLIFT(model, loops=-1)


def test_a_series_of_any_length():
    """Each length is unrolled as it is given."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, WIDTH)), layers.GRU(UNITS), layers.Dense(CLASSES)])
    for length in (2, 5):
        explanation = tfs.DeepLIFT(model).explain(X[:, :length], 1)
        assert explanation.values.shape == (3, length, WIDTH)
        assert np.abs(explanation.diagnostics["completeness_gap"]).max() < 1e-5


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_a_dense_layer_in_front_of_a_recurrent_one(kind):
    """It reshapes, after which TensorFlow knows less of the shape than Keras."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 3)), layers.Dense(4), kind(3), layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    explanation = tfs.DeepLIFT(model).explain(x, 1)
    change = (model(x) - model(np.zeros_like(x))).numpy()[:, 1]
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2)), change, rtol=1e-4, atol=1e-5)
    # The Dense layer is linear: in one more recurrent network without it, the values go on through its weights.
    inner = keras.Sequential([keras.Input((6, 4)), *model.layers[1:]])
    hidden, bias = model.layers[0](x).numpy(), model.layers[0].bias.numpy()
    flow = tfs.DeepLIFT(inner, np.tile(bias, (6, 1))).explain(hidden, 1).values / np.where(
        hidden == 0, 1, hidden - bias
    )
    np.testing.assert_allclose(explanation.values, flow @ model.layers[0].kernel.numpy().T * x, rtol=1e-3, atol=1e-5)
    assert np.abs(tfs.LRP(model).explain(x, 1).values).max() > 0
