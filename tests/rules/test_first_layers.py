"""Each input has its own first layers: presets against relevance that is handed back by hand, layer by layer."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tests import reference

X = [np.random.default_rng(i).normal(size=(2, 4)).astype("float32") for i in range(2)]
# The rule of the first layers, and that of all others.
METHODS = {
    "epsilon_plus_flat": (lambda m: tfs.LRP(m), ("flat", {}), ("epsilon", {"epsilon": 1e-6})),
    "epsilon_alpha2_beta1_flat": (
        lambda m: tfs.LRP(m, "epsilon_alpha2_beta1_flat"),
        ("flat", {}),
        ("epsilon", {"epsilon": 1e-6}),
    ),
    "DeepTaylor": (lambda m: tfs.DeepTaylor(m), ("w_square", {}), ("alpha_beta", {"alpha": 1.0, "beta": 0.0})),
    "DeepTaylor in a box": (
        lambda m: tfs.DeepTaylor(m, -4, 4),
        ("z_box", {"low": -4.0, "high": 4.0}),
        ("alpha_beta", {"alpha": 1.0, "beta": 0.0}),
    ),
}


class Dense:
    """A dense layer in NumPy, which hands relevance back by a rule of its own for each call."""

    def __init__(self, layer):
        self.w, self.b = (each.astype("float64") for each in layer.get_weights())

    def __call__(self, x):
        return np.maximum(x @ self.w + self.b, 0)

    def back(self, rule, x, relevance):
        name, options = rule
        return reference.lrp(name, x, self.w, self.b, relevance, **options)


@pytest.fixture(autouse=True)
def seeded():
    """Layers draw the seeds of their weights when they are made."""
    keras.utils.set_random_seed(3)


def dense(units, name):
    # Biases that keep units alive.
    return layers.Dense(units, "relu", name=name, bias_initializer=keras.initializers.RandomUniform(0.3, 0.9))


def model_of(build):
    inputs = [keras.Input((4,), name="a"), keras.Input((4,), name="b")]
    model = keras.Model(inputs, layers.Dense(3, name="out")(dense(5, "join")(layers.Concatenate()(build(*inputs)))))
    return model, {layer.name: Dense(layer) for layer in model.layers if layer.get_weights()}


def check(model, twin, method):
    explain, first, other = METHODS[method]
    values = explain(model).explain(X, 1).values
    for sample in range(2):
        expected = twin(*(part[sample].astype("float64") for part in X), first, other)
        for part, wanted in zip(values, expected, strict=True):
            np.testing.assert_allclose(part[sample], wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max())


def at_join(net, joined, rule, other):
    """The relevance of what is joined: of the logit of class 1, back through the last layer and the joining one."""
    hidden = net["join"](joined)
    start = np.array([0, (hidden @ net["out"].w + net["out"].b)[1], 0])
    return net["join"].back(rule, joined, net["out"].back(other, hidden, start))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shallow", ["a", "b"])
def test_one_input_joins_before_its_first_layer(shallow, method):
    """One input goes through one layer, which the other reaches by its second."""
    deep = dense(6, "deep")
    model, net = model_of(lambda a, b: [a, deep(b)] if shallow == "a" else [deep(a), b])

    def twin(a, b, first, other):
        raw, before = (a, b) if shallow == "a" else (b, a)
        inner = net["deep"](before)
        joined = np.concatenate([raw, inner] if shallow == "a" else [inner, raw])
        back = at_join(net, joined, first, other)
        of_raw, of_inner = (back[:4], back[4:]) if shallow == "a" else (back[6:], back[:6])
        of_before = net["deep"].back(first, before, of_inner)
        return (of_raw, of_before) if shallow == "a" else (of_before, of_raw)

    check(model, twin, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shallow", ["a", "b"])
def test_branches_of_one_and_two_layers(shallow, method):
    one, two, three = dense(6, "one"), dense(5, "two"), dense(4, "three")
    model, net = model_of(
        lambda a, b: [one(a), three(two(b))] if shallow == "a" else [three(two(a)), one(b)],
    )

    def twin(a, b, first, other):
        short, long = (a, b) if shallow == "a" else (b, a)
        after_one, after_two = net["one"](short), net["two"](long)
        branches = [after_one, net["three"](after_two)]
        joined = np.concatenate(branches if shallow == "a" else branches[::-1])
        back = at_join(net, joined, other, other)
        of_one, of_three = (back[:6], back[6:]) if shallow == "a" else (back[4:], back[:4])
        of_short = net["one"].back(first, short, of_one)
        of_long = net["two"].back(first, long, net["three"].back(other, after_two, of_three))
        return (of_short, of_long) if shallow == "a" else (of_long, of_short)

    check(model, twin, method)


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_that_is_the_first_of_one_input_and_the_second_of_the_other(method):
    shared, before = dense(4, "shared"), dense(4, "before")
    model, net = model_of(lambda a, b: [shared(a), shared(before(b))])

    def twin(a, b, first, other):
        inner = net["before"](b)
        back = at_join(net, np.concatenate([net["shared"](a), net["shared"](inner)]), other, other)
        of_inner = net["shared"].back(other, inner, back[4:])
        return net["shared"].back(first, a, back[:4]), net["before"].back(first, b, of_inner)

    check(model, twin, method)


@pytest.mark.parametrize("method", METHODS)
def test_an_input_that_is_read_again_behind_its_first_layer(method):
    """What mixes an input with its own later signals is not its first layer, as in networks with skips."""
    one, two = dense(6, "one"), dense(5, "two")
    model, net = model_of(lambda a, b: [a, one(a), two(b)])

    def twin(a, b, first, other):
        joined = np.concatenate([a, net["one"](a), net["two"](b)])
        back = at_join(net, joined, other, other)
        of_a = back[:4] + net["one"].back(first, a, back[4:10])
        return of_a, net["two"].back(first, b, back[10:])

    check(model, twin, method)


def test_a_flat_rule_that_gives_equal_values_is_said():
    model = keras.Sequential([keras.Input((5, 5)), layers.Flatten(), dense(4, "hidden"), layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(2, 5, 5)).astype("float32")
    with pytest.warns(UserWarning, match="The first layer 'hidden' is dense.*all of its 25 inputs.*'epsilon'"):
        values = tfs.LRP(model).explain(x, 1).values
    np.testing.assert_allclose(values, np.broadcast_to(values[:, :1, :1], values.shape), rtol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for preset in ("epsilon", "epsilon_plus"):
            assert np.ptp(tfs.LRP(model, preset).explain(x, 1).values, axis=(1, 2)).min() > 0
        # Over the channels of each step alone: the steps differ.
        series = keras.Sequential([keras.Input((5, 3)), dense(4, "each"), layers.Flatten(), layers.Dense(2)])
        tfs.LRP(series).explain(x[..., :3], 1)
        # And over the only channel of each step, by a product that says so in its equation or its weights.
        for each in (layers.EinsumDense("abc,cd->abd", (5, 4), activation="relu"), layers.Conv1D(4, 1)):
            series = keras.Sequential([keras.Input((5, 1)), each, layers.Flatten(), layers.Dense(2)])
            assert np.ptp(tfs.LRP(series).explain(x[..., :1], 1).values) > 0
