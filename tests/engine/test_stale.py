"""A change between two calls that only Python sees is in the next map."""

import functools
import random
import types
from collections import deque
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfsaliency as tfs
from tfsaliency.model.fingerprint import anatomy
from tfsaliency.model.keys import key_of

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


def linear(*inner):
    """A model with a kernel that is known, around layers of the test."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), layers.Dense(4), *inner, layers.Dense(3)])


# --- what a function of the user's reads ---

settings = types.ModuleType("settings")
settings.index = 0
INDEX = 0


class Config:
    index = 0


class Holder:
    def __init__(self, index=0):
        self.index = index
        self.inner = types.SimpleNamespace(index=index)

    def method(self, z):
        return z[:, self.index]

    def __call__(self, z):
        return z[:, self.index]

    @property
    def chosen(self):
        return self.index


class Slots:
    __slots__ = ("index",)


def one(z):
    return two(z)


def two(z):
    return three(z)


def three(z):
    return four(z)


def four(z):
    return z[:, INDEX]


def in_a_lambda(z):
    return (lambda inner: inner[:, INDEX])(z)


def in_a_comprehension(z):
    return tf.add_n([z[:, INDEX + step] for step in [0]])


def in_a_generator(z):
    return tf.add_n(list(z[:, INDEX + step] for step in [0]))


def by_name(z):
    return z[:, getattr(Config, "index")]  # noqa: B009 - the name is a text


def _global(function):
    def case(monkeypatch):
        monkeypatch.setitem(globals(), "INDEX", 0)
        return function, lambda: monkeypatch.setitem(globals(), "INDEX", 1)

    return case


def _of_module(monkeypatch):
    monkeypatch.setattr(settings, "index", 0)
    return lambda z: z[:, settings.index], lambda: monkeypatch.setattr(settings, "index", 1)


def _of_class(monkeypatch):
    monkeypatch.setattr(Config, "index", 0)
    return lambda z: z[:, Config.index], lambda: monkeypatch.setattr(Config, "index", 1)


def _by_name(monkeypatch):
    monkeypatch.setattr(Config, "index", 0)
    return by_name, lambda: monkeypatch.setattr(Config, "index", 1)


def _held(read):
    def case(monkeypatch):
        holder = Holder()

        def change():
            holder.index = holder.inner.index = 1

        return read(holder), change

    return case


def _slots(monkeypatch):
    slots = Slots()
    slots.index = 0
    return lambda z: z[:, slots.index], lambda: setattr(slots, "index", 1)


def _in_place(container, change):
    def case(monkeypatch):
        held = container()
        return lambda z: z[:, min(held)], lambda: change(held)

    return case


def _namespace(monkeypatch):
    held = types.SimpleNamespace(index=0)
    return lambda z: z[:, held.index], lambda: setattr(held, "index", 1)


def _partial(monkeypatch):
    held = [0]
    pick = functools.partial(lambda held, z: z[:, held[0]], held)
    return pick, lambda: held.__setitem__(0, 1)


@dataclass
class Record:
    index: int

    def __call__(self, z):
        return z[:, self.index]


def _dataclass(monkeypatch):
    record = Record(0)
    return record, lambda: setattr(record, "index", 1)


def _array(monkeypatch):
    held = np.zeros(1, "int32")
    return lambda z: z[:, held[0]], lambda: held.fill(1)


def _wrapped(monkeypatch):
    monkeypatch.setitem(globals(), "INDEX", 0)
    return functools.wraps(four)(lambda z: four(z)), lambda: monkeypatch.setitem(globals(), "INDEX", 1)


READS = {
    "a global, four functions down": _global(one),
    "a global in a lambda": _global(in_a_lambda),
    "a global in a comprehension": _global(in_a_comprehension),
    "a global in a generator": _global(in_a_generator),
    "an attribute of a module": _of_module,
    "an attribute of a class": _of_class,
    "an attribute by its name": _by_name,
    "an attribute of an object": _held(lambda holder: lambda z: z[:, holder.index]),
    "an attribute of an attribute": _held(lambda holder: lambda z: z[:, holder.inner.index]),
    "a property": _held(lambda holder: lambda z: z[:, holder.chosen]),
    "a bound method": _held(lambda holder: holder.method),
    "a method of a closure": _held(lambda holder: lambda z: holder.method(z)),
    "a callable object": _held(lambda holder: holder),
    "a call of an object": _held(lambda holder: lambda z: holder(z)),
    "an object in a default": _held(lambda holder: lambda z, holder=holder: z[:, holder.index]),
    "an object in a list": _held(lambda holder: (lambda held: lambda z: z[:, held[0].index])([holder])),
    "slots": _slots,
    "a list changed in place": _in_place(lambda: [0], lambda held: held.__setitem__(0, 1)),
    "a set changed in place": _in_place(lambda: {0, 1}, lambda held: held.discard(0)),
    "a deque changed in place": _in_place(lambda: deque([0, 1]), lambda held: held.popleft()),
    "a dict changed in place": _in_place(lambda: {0: "a", 1: "b"}, lambda held: held.pop(0)),
    "an array changed in place": _array,
    "a namespace changed in place": _namespace,
    "a partial whose argument changed": _partial,
    "a dataclass": _dataclass,
    "a wrapped function": _wrapped,
}


@pytest.mark.parametrize("case", READS.values(), ids=READS)
def test_a_target_is_another_once_what_it_reads_has_changed(case, monkeypatch):
    model = linear()
    target, change = case(monkeypatch)
    explainer = tfs.Gradient(model)
    kernel = (model.layers[0].kernel.numpy() @ model.layers[1].kernel.numpy()).T
    np.testing.assert_allclose(explainer.explain(X, target).values, kernel[[0] * 3], rtol=1e-5)
    assert key_of(target) == key_of(target)
    change()
    np.testing.assert_allclose(explainer.explain(X, target).values, kernel[[1] * 3], rtol=1e-5)


@pytest.mark.parametrize("draw", [lambda: np.random.normal(), lambda: random.random()], ids=["numpy", "random"])
def test_a_baseline_that_draws_is_drawn_again_at_each_call(draw):
    explainer = tfs.IntegratedGradients(linear(), lambda x: tf.zeros_like(x) + draw(), steps=3)
    assert not np.allclose(explainer.explain(X, 0).values, explainer.explain(X, 0).values)


def test_a_baseline_that_draws_from_a_generator_of_its_own():
    generator = np.random.default_rng(0)
    explainer = tfs.IntegratedGradients(linear(), lambda x: tf.zeros_like(x) + generator.normal(), steps=3)
    assert not np.allclose(explainer.explain(X, 0).values, explainer.explain(X, 0).values)


def test_an_iterator_is_asked_at_each_call():
    places = iter([0, 1])
    model = linear()
    explainer = tfs.Gradient(model)
    first, second = (explainer.explain(X, lambda z: z[:, place(places)]).values for _ in range(2))
    np.testing.assert_allclose(first, tfs.Gradient(model).explain(X, 0).values)
    np.testing.assert_allclose(second, tfs.Gradient(model).explain(X, 1).values)


def place(places, known={}):  # noqa: B006 - one trace reads the target several times
    graph = tf.compat.v1.get_default_graph()
    return known.setdefault(graph, next(places, None)) if graph not in known else known[graph]


def test_a_transform_and_a_rule_read_attributes():
    model = linear()
    held = types.SimpleNamespace(factor=1.0)
    doubled = tfs.Gradient(model).then(lambda values, x: values * held.factor)
    by_rule = tfs.LRP(model, {tfs.rules.kind("dense"): lambda affine, relevance: affine.x * relevance_of(affine, held)})
    first, first_rule = doubled.explain(X, 0).values, by_rule.explain(X, 0).values
    held.factor = 2.0
    np.testing.assert_allclose(doubled.explain(X, 0).values, 2 * first)
    np.testing.assert_allclose(by_rule.explain(X, 0).values, 2 * first_rule, rtol=1e-5)


def relevance_of(affine, held):
    return tf.ones_like(affine.x) * held.factor if affine.x.shape[-1] else None


def test_an_explainer_of_the_users_own_reads_a_global(monkeypatch):
    class Scaled(tfs.Gradient):
        def attribute(self, x, score):
            values, diagnostics = super().attribute(x, score)
            return tfs.Attribution(values * (1 + INDEX), diagnostics)

    monkeypatch.setitem(globals(), "INDEX", 0)
    explainer = Scaled(linear())
    before = explainer.explain(X, 0).values
    monkeypatch.setitem(globals(), "INDEX", 1)
    np.testing.assert_allclose(explainer.explain(X, 0).values, 2 * before)


# --- what a model holds ---


class Scale(keras.Layer):
    factor = 1.0

    def __init__(self):
        super().__init__()
        self.own = 1.0
        self.config = {"factor": [1.0]}
        self.held = types.SimpleNamespace(factor=1.0)
        self.table = np.ones(1, "float32")

    def call(self, x):
        every = self.factor * self.own * self.config["factor"][0] * self.held.factor * FACTOR
        return x * every * self.table[0]


FACTOR = 1.0


class Inside(keras.Layer):
    """Layers in the places where users put them."""

    def __init__(self):
        super().__init__()
        self.alone = layers.Activation("linear")
        self.listed = [layers.Activation("linear"), layers.Activation("linear")]
        self.named = {"first": layers.Activation("linear")}

    def call(self, x):
        for layer in (self.alone, *self.listed, self.named["first"]):
            x = layer(x)
        return x


def _set(owner, name, value):
    return lambda model: setattr(owner(model), name, value)


def _double(x):
    return 2.0 * x


def _replace(layer, inner):
    # Keras lets nobody set a new layer on one that is built; users do it all the same.
    layer._tracker.unlock()
    layer.alone = inner


SCALE, INSIDE = (lambda model: model.layers[1]), (lambda model: model.layers[1])
CHANGES = {
    "an attribute": (Scale, _set(SCALE, "own", 2.0)),
    "an attribute of the class": (Scale, lambda model: "factor"),
    "a dict in place": (Scale, lambda model: SCALE(model).config["factor"].__setitem__(0, 2.0)),
    "a namespace in place": (Scale, lambda model: setattr(SCALE(model).held, "factor", 2.0)),
    "an array in place": (Scale, lambda model: SCALE(model).table.fill(2.0)),
    "a global": (Scale, lambda model: "FACTOR"),
    "the activation of an inner layer": (Inside, lambda model: setattr(INSIDE(model).alone, "activation", _double)),
    "a replaced inner layer": (Inside, lambda model: _replace(INSIDE(model), layers.Lambda(_double))),
    "the activation in a list": (Inside, lambda model: setattr(INSIDE(model).listed[1], "activation", _double)),
    "a replaced layer in a list": (Inside, lambda model: INSIDE(model).listed.__setitem__(1, layers.Lambda(_double))),
    "the activation in a dict": (Inside, lambda model: setattr(INSIDE(model).named["first"], "activation", _double)),
    "Rescaling.scale": (lambda: layers.Rescaling(1.0), lambda model: setattr(model.layers[1], "scale", 2.0)),
    "a function": (lambda: layers.Lambda(lambda x: x), lambda model: setattr(model.layers[1], "function", _double)),
}


@pytest.mark.parametrize("make, change", CHANGES.values(), ids=CHANGES)
def test_a_model_is_traced_again_once_a_layer_has_changed(make, change, monkeypatch):
    model = linear(make())
    explainer = tfs.Gradient(model)
    before = explainer.explain(X, 0).values
    assert anatomy(model) is anatomy(model)
    match change(model):
        case "factor":
            monkeypatch.setattr(Scale, "factor", 2.0)
        case "FACTOR":
            monkeypatch.setitem(globals(), "FACTOR", 2.0)
    np.testing.assert_allclose(explainer.explain(X, 0).values, 2 * before, rtol=1e-5)


def test_a_layer_within_time_distributed():
    keras.utils.set_random_seed(0)
    inner = layers.Dense(2, "linear")
    model = keras.Sequential([keras.Input((3, 4)), layers.TimeDistributed(inner), layers.Flatten(), layers.Dense(2)])
    x, explainer = np.ones((1, 3, 4)), tfs.Gradient(model)
    before = explainer.explain(x, 0).values
    inner.activation = _double
    np.testing.assert_allclose(explainer.explain(x, 0).values, 2 * before, rtol=1e-5)


def test_the_slope_of_a_leaky_relu():
    model = linear(layers.LeakyReLU(negative_slope=1.0))
    kernel = model.layers[0].kernel.numpy() @ model.layers[2].kernel.numpy()
    explainer = tfs.Gradient(model)
    np.testing.assert_allclose(explainer.explain(X, 0).values, [kernel[:, 0]] * 3, rtol=1e-5)
    model.layers[1].negative_slope = 0.0
    opened = (X @ model.layers[0].kernel.numpy()) > 0
    masked = np.einsum("ij,nj,j->ni", model.layers[0].kernel.numpy(), opened, model.layers[2].kernel.numpy()[:, 0])
    np.testing.assert_allclose(explainer.explain(X, 0).values, masked, rtol=1e-4, atol=1e-6)


def test_a_normalization_that_is_adapted_or_loaded(tmp_path):
    def build():
        return keras.Sequential([keras.Input((4,)), layers.Normalization(mean=None, variance=None), layers.Dense(3)])

    model, other = build(), build()
    model.layers[0].adapt(X)
    explainer = tfs.Gradient(model)
    before = explainer.explain(X, 0).values
    model.layers[0].adapt(2 * X)
    np.testing.assert_allclose(explainer.explain(X, 0).values, before / 2, rtol=1e-4)
    other.layers[0].adapt(4 * X)
    other.save_weights(tmp_path / "other.weights.h5")
    model.load_weights(tmp_path / "other.weights.h5")
    np.testing.assert_allclose(explainer.explain(X, 0).values, tfs.Gradient(other).explain(X, 0).values, rtol=1e-5)


def test_a_number_of_the_gradient_is_right_after_a_method_of_an_instance_is_replaced():
    model = linear(Scale())
    explainer = tfs.Gradient(model)
    before = explainer.explain(X, 0).values
    model.layers[1].call = _double
    np.testing.assert_allclose(explainer.explain(X, 0).values, 2 * before, rtol=1e-5)


def test_training_is_no_change_of_what_a_model_holds():
    model = linear(layers.BatchNormalization(), Scale())
    before = anatomy(model)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, X[:, :3], epochs=2, validation_data=(X, X[:, :3]), verbose=0)
    model.evaluate(X, X[:, :3], verbose=0)
    model.predict(X, verbose=0)
    model.train_on_batch(X, X[:, :3])
    model(X)
    assert anatomy(model) is before


class Remembers(keras.Layer):
    """Keeps what it computed for a look at it later, and counts."""

    def call(self, x):
        self.last = x
        return x

    def attention(self):
        return self.last


def test_what_a_layer_only_writes_is_no_change():
    model = linear(Remembers())
    explainer = tfs.Gradient(model)
    explainer.explain(X, 0)
    before = anatomy(model)
    model(X)
    explainer.explain(X, 0)
    assert anatomy(model) is before


class Counts(keras.Layer):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x * float(self.calls)


class Draws(keras.Layer):
    def call(self, x):
        return x * np.random.uniform()


@pytest.mark.parametrize("layer", [Counts, Draws])
def test_a_model_that_changes_what_it_reads_is_warned_of(layer):
    explainer = tfs.Gradient(linear(layer()))
    with pytest.warns(UserWarning, match="changes what it reads from Python"):
        first = explainer.explain(X, 0)
    with pytest.warns(UserWarning, match="changes what it reads from Python"):
        second = explainer.explain(X, 0)
    assert not np.allclose(first.values, second.values)
    assert "Python" in first.provenance["cautions"][0]


def test_a_variable_is_a_baseline():
    model = linear()
    baseline = tf.Variable(np.ones(4, "float32"))
    explainer = tfs.DeepLIFT(model, baseline)
    kernel = (model.layers[0].kernel.numpy() @ model.layers[1].kernel.numpy())[:, 0]
    np.testing.assert_allclose(explainer.explain(X, 0).values, (X - 1) * kernel, rtol=1e-4, atol=1e-6)
    baseline.assign(np.zeros(4))
    np.testing.assert_allclose(explainer.explain(X, 0).values, X * kernel, rtol=1e-4, atol=1e-6)


def test_a_function_of_keras_or_tensorflow_is_the_same_each_time():
    for function in (ops.take, tf.reduce_sum, np.tanh, tf.function(lambda z: z), keras.activations.gelu, len):
        assert key_of(function) == key_of(function)
