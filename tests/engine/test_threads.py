"""Several threads ask at once, also while the model trains: each gets the map that it would get alone."""

import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import close
from tfsaliency.engine import compiled
from tfsaliency.engine.compiled import KEPT
from tfsaliency.model import keys, traced
from tfsaliency.testing import samples

THREADS = 4
X = samples.inputs_for(samples.picture_model())


@pytest.fixture(autouse=True)
def hasty():
    """Threads take turns as often as Python lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(tasks):
    """The results of functions that start at the same moment, each in a thread of its own."""
    start = threading.Barrier(len(tasks))

    def run(task):
        start.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result(timeout=120) for future in [pool.submit(run, task) for task in tasks]]


def test_one_explainer():
    expected = [tfs.SmoothGrad(samples.picture_model(), samples=4).explain(X, index).values for index in range(4)]
    for _ in range(3):
        explain = tfs.SmoothGrad(samples.picture_model(), samples=4).explain
        maps = [each.values for each in at_once([partial(explain, X, index) for index in range(THREADS)])]
        for found, right in zip(maps, expected, strict=True):
            close(found, right, 1e-6)


def test_different_explainers_of_one_model():
    makes = [tfs.Gradient, tfs.LRP, tfs.HiResCAM, tfs.GuidedBackprop]
    expected = [make(samples.picture_model()).explain(X, 1) for make in makes]
    for _ in range(3):
        model = samples.picture_model()
        found = at_once([partial(make(model).explain, X, 1) for make in makes])
        for ours, right in zip(found, expected, strict=True):
            close(ours.values, right.values, 1e-5)
            assert ours.method == right.method
        assert len(compiled._kept[model]) == len(makes)


def test_the_call_of_layers_is_keras_own_again():
    """A thread that waits for another one's trace must not take that one's watch for Keras' own call."""
    before = keras.Layer.__call__
    models = [samples.picture_model() for _ in range(THREADS)]
    at_once([partial(tfs.Gradient(model).explain, X, 1) for model in models])
    assert keras.Layer.__call__ is before


def test_more_targets_than_are_kept():
    """What one thread compiles may push out what another one just compiled."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, use_bias=False)])
    kernel = model.layers[0].kernel.numpy()
    x = np.ones((1, 3), "float32")

    def ask(thread):
        for place in range(KEPT // 2 + 4):
            factor = 1 + thread + THREADS * place
            found = tfs.Gradient(model).explain(x, lambda z, factor=factor: z[:, 0] * factor).values
            np.testing.assert_allclose(found, [factor * kernel[:, 0]], rtol=1e-5)

    at_once([partial(ask, thread) for thread in range(THREADS)])
    assert len(compiled._kept[model]) <= KEPT


class Emptied(OrderedDict):
    """What is kept is gone at once, as when other threads compile many functions."""

    def __setitem__(self, key, value):
        pass

    def move_to_end(self, key, last=True):
        pass


def test_what_was_made_is_used_though_another_thread_dropped_it(monkeypatch):
    model = samples.picture_model()
    expected = tfs.Gradient(model).explain(X, 1).values
    monkeypatch.setattr(compiled, "_kept", {model: Emptied()})
    monkeypatch.setattr(traced, "_kept", {model: Emptied()})
    np.testing.assert_array_equal(tfs.Gradient(model).explain(X, 1).values, expected)


class Counting(keras.Model):
    """Its answer depends on a variable that each call changes."""

    def __init__(self):
        super().__init__()
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x * self.calls


def test_state_that_a_call_writes_is_put_back_by_each_thread():
    model = Counting()
    x = np.ones((1, 3), "float32")
    model.built = True
    explainer = tfs.Gradient(model)
    explainer.explain(x, 0)

    def ask():
        return [float(explainer.explain(x, 0).values[0, 0]) for _ in range(50)]

    assert at_once([ask] * THREADS) == [[1.0] * 50] * THREADS
    assert model.calls.numpy() == 0


def test_one_object_has_one_stand_in():
    """Two would be two keys of one model, and each call could compile anew."""
    for number in range(200):
        first, *others = at_once([partial(keys.same_object, type(f"Any{number}", (), {}))] * THREADS)
        assert all(each is first for each in others)


def test_while_the_model_trains():
    model = samples.picture_model()
    explainer = tfs.Gradient(model)
    explainer.explain(X, 1)
    labels = np.eye(samples.CLASSES)[: samples.ROWS]
    done = threading.Event()
    maps = []

    def ask():
        while not done.is_set():
            maps.append(explainer.explain(X, 1))

    def train():
        try:
            model.fit(X, labels, epochs=60, verbose=0)
        finally:
            done.set()

    at_once([ask, ask, train])
    assert len(maps) > 2
    assert all(np.isfinite(each.values).all() for each in maps)
    assert len(compiled._kept[model]) == 1, "training is no change of the graph"
    after = explainer.explain(X, 1)
    tfs.forget(model)
    np.testing.assert_array_equal(after.values, explainer.explain(X, 1).values)
    assert after.provenance["fingerprint"] != maps[0].provenance["fingerprint"]
    assert tf.executing_eagerly()
