"""What is compiled is compiled once, kept while the model lives, and never stale."""

import gc
import multiprocessing
import weakref
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from benchmarks.soak import STATM, resident
from tests.harness import EXPLAINERS, counted
from tfsaliency.engine import compiled
from tfsaliency.engine.compiled import KEPT, MOST_ROWS, rows_for
from tfsaliency.graph.bodies import all_bodies
from tfsaliency.graph.operations import LOOPS
from tfsaliency.model import traced
from tfsaliency.testing import samples
from tfsaliency.transforms import absolute, clip_percentile


def small():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(3)])


@pytest.fixture
def model():
    return small()


@pytest.fixture
def calls(monkeypatch):
    """How often a model was called to trace it."""
    return counted(monkeypatch, traced, "logits")


@pytest.fixture
def functions(monkeypatch):
    """How many functions were compiled."""
    return counted(monkeypatch, compiled, "Compiled")


X = np.random.default_rng(0).normal(size=(10, 6))


def test_one_function_for_all_batches(model, functions):
    explainer = tfs.Gradient(model)
    explainer.explain(X)
    explainer.explain(X)
    explainer.explain(X[:3])
    explainer.explain(X, batch_size=4)
    explainer.explain(X.astype("float32"))
    assert len(functions) == 1
    explainer.explain(X, 0)
    assert len(functions) == 2
    explainer.explain(X, 2)
    explainer.explain(X, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    assert len(functions) == 2


@pytest.mark.filterwarnings("ignore:The map has not converged", "ignore:The values of the samples")
def test_the_model_is_called_once_for_all_explainers(calls):
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, activation="silu")(x)
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(y))
    picture = keras.Model(x, layers.Dense(3, activation="softmax")(y))
    inputs = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    for make in EXPLAINERS.values():
        make(picture).explain(inputs, 1)
    tfs.Gradient(picture).scores(inputs)
    tfs.ClassVisualization(picture, steps=2).explain(1)
    assert len(calls) == 1
    tfs.forget(picture)
    tfs.Gradient(picture).explain(inputs, 1)
    assert len(calls) == 2


def test_a_new_kind_of_input_is_a_new_trace(calls):
    series = keras.Sequential([keras.Input((None, 2)), layers.Conv1D(3, 2), layers.GlobalMaxPooling1D()])
    for length in (5, 9, 5, 9):
        tfs.Gradient(series).explain(np.ones((1, length, 2)), 0)
    assert len(calls) == 2


def test_equal_options_share(model, functions):
    def make(**options):
        return tfs.SmoothGrad(tfs.Gradient(model).then(absolute), **options).then(clip_percentile(95))

    make(samples=5).explain(X)
    before = len(functions)
    make(samples=5).explain(X)
    assert len(functions) == before
    for different in (
        make(samples=6),
        make(samples=5, noise=0.1),
        make(samples=5, seed=1),
        tfs.SmoothGrad(model, samples=5).then(clip_percentile(95)),
        tfs.VarGrad(tfs.Gradient(model).then(absolute), samples=5).then(clip_percentile(95)),
    ):
        before = len(functions)
        different.explain(X)
        assert len(functions) > before


def test_equal_targets_share(model, functions):
    for _ in range(3):
        tfs.Gradient(model).explain(X, tfs.target.margin(0, 1))
    assert len(functions) == 1
    # Classes are what a target reads, and no part of its graph.
    tfs.Gradient(model).explain(X, tfs.target.margin(0, 2))
    assert len(functions) == 1
    tfs.Gradient(model).explain(X, tfs.target.contrast())
    assert len(functions) == 2


def test_new_weights_are_seen(model):
    explainer = tfs.Gradient(model)
    explainer.explain(X, 0)
    model.set_weights([np.full(weight.shape, 0.5) for weight in model.get_weights()])
    # Eight units, each open where the sum of the inputs is above -1: 8 * 0.5 * 0.5.
    expected = np.where(X.sum(axis=1, keepdims=True) > -1, 2.0, 0.0) * np.ones_like(X)
    with pytest.warns(UserWarning, match="zero everywhere"):
        np.testing.assert_allclose(explainer.explain(X, 0).values, expected)


def test_new_layers_are_seen(model):
    explainer = tfs.Gradient(model)
    before = explainer.explain(X, 0).values
    double = layers.Dense(3, use_bias=False)
    model.add(double)
    double.set_weights([2 * np.eye(3)])
    np.testing.assert_allclose(explainer.explain(X, 0).values, 2 * before, rtol=1e-5)


def test_a_new_activation_is_seen(model):
    explainer = tfs.Gradient(model)
    explainer.explain(X, 0)
    model.layers[0].activation = keras.activations.linear
    first, second = model.layers[0].kernel.numpy(), model.layers[1].kernel.numpy()
    np.testing.assert_allclose(explainer.explain(X, 0).values, [(first @ second)[:, 0]] * 10, rtol=1e-4)


def test_a_new_dtype_policy_is_seen(model):
    full = tfs.Gradient(model).explain(X, 0).values
    model.layers[0].dtype_policy = keras.DTypePolicy("mixed_float16")
    half = tfs.Gradient(model).explain(X, 0).values
    assert 0 < np.abs(half - full).max() < 1e-2


def test_new_layers_of_a_nested_model_are_seen():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(3, use_bias=False)])

    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def call(self, x):
            return self.inner(x)

    model = Outer()
    model(X)
    tfs.Gradient(model).explain(X, 0)
    for _ in range(5):
        inner.pop()
        inner.add(layers.Dense(3, use_bias=False))
        kernel = inner.layers[-1].kernel.numpy()
        np.testing.assert_allclose(tfs.Gradient(model).explain(X, 0).values, [kernel[:, 0]] * 10, rtol=1e-5)


def test_a_change_that_only_python_sees_needs_forget():
    class Scaled(keras.Model):
        factor = 1.0

        def call(self, x):
            return tf.reduce_sum(x, axis=1, keepdims=True) * self.factor

    model = Scaled()
    model.built = True
    tfs.Gradient(model).explain(X, 0)
    model.factor = 3.0
    tfs.forget(model)
    np.testing.assert_allclose(tfs.Gradient(model).explain(X, 0).values, 3 * np.ones_like(X))


WANTED = 0


def reads_global(z):
    return z[:, WANTED]


def test_a_function_that_reads_something_new_is_another_function(model):
    global WANTED
    weights = [tfs.Gradient(model).explain(X, index).scores for index in range(3)]
    wanted = 0

    def local(z):
        return z[:, wanted]

    for index in range(3):
        wanted = WANTED = index
        np.testing.assert_array_equal(tfs.Gradient(model).explain(X, local).scores, weights[index])
        np.testing.assert_array_equal(tfs.Gradient(model).explain(X, reads_global).scores, weights[index])


def test_targets_that_came_and_went_are_not_taken_for_each_other():
    """Objects made one after the other often get the same address."""
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(1, 1, use_bias=False)])
    model.layers[0].set_weights([np.ones((1, 1, 1, 1))])

    class Pick:
        def __init__(self, place):
            self.place = place

        def __call__(self, logits):
            return logits[:, self.place, 0, 0]

    for place in range(4):
        mask = np.zeros((4, 4))
        mask[place, 0] = 1
        for target in (tfs.target.region(mask, 0), Pick(place)):
            values = tfs.Gradient(model).explain(np.ones((1, 4, 4, 1)), target).values
            np.testing.assert_array_equal(values[0, ..., 0], mask)


def test_the_same_lambda_in_a_loop_shares(model, functions):
    for _ in range(4):
        tfs.Gradient(model).explain(X, lambda z: z[:, 0] * 2)
    assert len(functions) == 1


def test_a_target_that_holds_the_model_does_not_keep_it_alive():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    tfs.Gradient(model).explain(X, lambda z, model=model: z[:, 0])
    alive = weakref.ref(model)
    keras.backend.clear_session()
    del model
    gc.collect()
    assert alive() is None


@pytest.mark.skipif(
    tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15),
    reason="older Keras compares the batch size of a stateful layer in Python, which no graph of any batch size has",
)
def test_the_state_of_a_recurrent_model_is_left_as_it_was():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(batch_shape=(2, 4, 3)), layers.LSTM(5, stateful=True), layers.Dense(2)])
    series = np.random.default_rng(0).normal(size=(2, 4, 3))
    first = tfs.Gradient(model).explain(series, 0).values
    np.testing.assert_array_equal(tfs.Gradient(model).explain(series, 0).values, first)
    assert all((state.numpy() == 0).all() for state in model.layers[0].states)


def test_a_counter_of_calls_is_left_as_it_was():
    class Counting(keras.Model):
        def __init__(self):
            super().__init__()
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
            self.head = layers.Dense(2)

        def call(self, x):
            self.calls.assign_add(1.0)
            return self.head(x)

    counting = Counting()
    counting(X)
    tfs.SmoothGrad(counting, samples=3).explain(X, 0)
    assert counting.calls.numpy() == 1


def test_the_cache_does_not_keep_a_model_alive():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    tfs.SmoothGrad(tfs.Gradient(model).then(absolute), samples=3).explain(X)
    tfs.Gradient(model).explain(X, lambda z: z[:, 0])
    alive = weakref.ref(model)
    keras.backend.clear_session()
    del model
    gc.collect()
    assert alive() is None


def test_compiled_functions_do_not_pile_up(model):
    """A loop over targets that differ keeps the latest only."""
    for place in range(KEPT + 5):

        def target(z, place=place):
            return z[:, 0] * (1 + place)

        tfs.Gradient(model).explain(X[:1], target)
    kept = compiled._kept[model]
    assert len(kept) == KEPT


def test_a_loop_carries_what_it_reads_alone():
    """All variables of a model went through the loops of Integrated Gradients, read or not."""
    convolved = [layers.Conv2D(4, 3, strides=2), layers.BatchNormalization(), layers.ReLU()]
    model = keras.Sequential([keras.Input((9, 9, 3)), *convolved, layers.Flatten(), layers.Dense(2)])
    tfs.IntegratedGradients(model).explain(np.random.default_rng(0).normal(size=(1, 9, 9, 3)), 1)
    (kept,) = compiled._kept[model].values()
    graphs = [kept._graph.graph, *all_bodies(kept._graph.graph)]
    loops = [op for graph in graphs for op in graph.get_operations() if op.type in LOOPS]
    # The weights of the convolution are fused in front of the loops; those of the last layer are read there.
    handles = [[each.dtype for each in loop.inputs].count(tf.resource) for loop in loops]
    assert set(handles) == {2}


def in_a_new_process(function):
    """What a function returns there. The holes that other tests leave in the memory of this one could hide a leak."""
    if not STATM.exists():
        pytest.skip("the memory that a process holds now is read from /proc")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        return processes.submit(function).result()


def grown_by_a_leak():
    def pieces(mebibytes):
        return [np.ones(256) for _ in range(512 * mebibytes)]

    at_start = resident()
    peak = pieces(150)
    at_peak = resident()
    del peak
    before = resident()
    leak = pieces(30)
    return at_peak - at_start, resident() - before, len(leak)


def test_a_leak_after_a_larger_peak_is_seen():
    """Which the peak of a process, ``ru_maxrss``, does not show."""
    by_peak, by_leak, _ = in_a_new_process(grown_by_a_leak)
    assert by_peak > 140
    assert 25 < by_leak < 40


def grown_by_two_thousand_calls():
    explainer = tfs.SmoothGrad(small(), samples=4)
    inputs = np.random.default_rng(0).normal(size=(64, 6))
    for _ in range(200):
        explainer.explain(inputs)
    before, objects = resident(), len(gc.get_objects())
    for _ in range(2000):
        explainer.explain(inputs)
    return resident() - before, len(gc.get_objects()) - objects


def test_two_thousand_calls_leave_memory_flat():
    by_memory, by_objects = in_a_new_process(grown_by_two_thousand_calls)
    assert by_memory < 2, "MiB"
    assert by_objects < 100


def grown_by_models(kept):
    """MiB and objects that ten models leave, explained by three methods; kept alive, or dropped."""

    def one(number):
        picture = samples.picture_model()
        # Models of equal structure would share what is compiled.
        picture = keras.Model(picture.inputs, picture.outputs[0] * (1.0 + number))
        for make in (tfs.Gradient, tfs.LRP, tfs.HiResCAM):
            make(picture).explain(samples.inputs_for(picture), 1)
        keras.backend.clear_session()
        return picture

    for number in range(5):
        one(number)
    before, objects = resident(), len(gc.get_objects())
    models = [one(number) if kept else weakref.ref(one(number)) for number in range(5, 15)]
    return resident() - before, len(gc.get_objects()) - objects, len(models)


def test_models_that_are_dropped_leave_nothing():
    by_memory, by_objects, _ = in_a_new_process(partial(grown_by_models, kept=False))
    assert by_memory < 8, "MiB"
    assert by_objects < 1000


def test_models_that_are_kept_are_seen():
    """The same numbers, where something holds on to what was traced."""
    by_memory, by_objects, _ = in_a_new_process(partial(grown_by_models, kept=True))
    assert by_memory > 20
    assert by_objects > 10_000


def test_rows():
    """A power of two, within the budget, enough of them to be fast."""
    assert rows_for(0) == MOST_ROWS
    assert rows_for(100 * 2**20) == 32
    assert rows_for(2**40) == 1
    sizes = [rows_for(2**power) for power in range(40)]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size * 2**power <= 8 * 2**30 or size == 1 for power, size in enumerate(sizes))


def test_chunks_follow_the_models_memory():
    def rows(size):
        x = keras.Input((size, size, 3))
        y = layers.Flatten()(layers.Conv2D(16, 3)(x))
        model = keras.Model(x, layers.Dense(2)(y))
        largest = []

        def record(values, inputs):
            noted = tf.numpy_function(lambda n: largest.append(n) or n, [tf.shape(values)[0]], tf.int32)
            with tf.control_dependencies([noted]):
                return tf.identity(values)

        tfs.SmoothGrad(tfs.Gradient(model).then(record), samples=600).explain(np.random.rand(1, size, size, 3), 0)
        return max(largest)

    assert rows(8) > rows(128) >= 16
