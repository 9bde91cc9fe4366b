"""Wherever a user may call: the right map, or an error that says what to do. What can hang runs in a new process."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs
from tests.harness import close
from tfsaliency.testing import samples

TIMEOUT = 120


@pytest.fixture
def model():
    return samples.picture_model()


X = samples.inputs_for(samples.picture_model())


def gradient(model):
    """By a plain tape, from the logits under the softmax."""
    x = tf.constant(X)
    layers = keras.Model(model.inputs, model.layers[-1].input)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = layers(x) @ model.layers[-1].kernel
        score = score[:, 1]
    return tape.gradient(score, x).numpy()


def test_within_dataset_map(model):
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(2)
    explainer = tfs.Gradient(model)
    with pytest.raises(RuntimeError, match="here TensorFlow only traces.*Call it outside.*tf.numpy_function"):
        dataset.map(lambda x: explainer.explain(x, 1).values)
    with pytest.raises(RuntimeError, match="here TensorFlow only traces"):
        dataset.map(lambda x: explainer.scores(x, 1))


@pytest.mark.parametrize("parallel", [None, 4])
def test_within_dataset_map_as_the_error_says(model, parallel):
    explainer = tfs.SmoothGrad(model, samples=3)
    expected = explainer.explain(X, 1).values
    tfs.forget(model)

    def explained(x):
        return tf.numpy_function(lambda x: explainer.explain(x, 1).values, [x], tf.float32)

    dataset = tf.data.Dataset.from_tensor_slices(X).batch(1).map(explained, num_parallel_calls=parallel)
    close(np.concatenate(list(dataset.as_numpy_iterator())), expected, 1e-5)


def test_within_a_function_of_tensors(model):
    with pytest.raises(RuntimeError, match="here TensorFlow only traces"):
        tf.function(lambda x: tfs.Gradient(model).explain(x, 1).values)(tf.constant(X))
    close(tfs.Gradient(model).explain(X, 1).values, gradient(model), 1e-5)


def test_within_a_function_that_takes_nothing(model):
    """Its inputs are arrays, and still nothing is computed."""
    with pytest.raises(RuntimeError, match="here TensorFlow only traces"):
        tf.function(lambda: tfs.Gradient(model).explain(X, 1).values)()
    close(tfs.Gradient(model).explain(X, 1).values, gradient(model), 1e-5)


def test_of_symbolic_inputs(model):
    with pytest.raises(ValueError, match="An input of type KerasTensor is not an array"):
        tfs.Gradient(model).explain(keras.Input((10, 10, 3)), 1)


def test_within_a_callback(model):
    maps = []

    class Explaining(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            maps.append((tfs.Gradient(model).explain(X, 1).values, gradient(model)))

    model.fit(X, np.eye(4)[:3], batch_size=1, epochs=2, verbose=0, callbacks=[Explaining()])
    assert len(maps) == 6
    for found, expected in maps:
        close(found, expected, 1e-5)
    assert np.abs(maps[0][0] - maps[-1][0]).max() > 0


@pytest.mark.parametrize("make", [tfs.Gradient, tfs.LRP, lambda model: tfs.SmoothGrad(model, samples=3), tfs.GradCAM])
def test_while_functions_run_eagerly(model, make):
    expected = make(model).explain(X, 1).values
    tf.config.run_functions_eagerly(True)
    try:
        close(make(model).explain(X, 1).values, expected, 1e-6)
        tfs.forget(model)
        close(make(model).explain(X, 1).values, expected, 1e-6)
        within = tf.function(lambda: make(model).explain(X, 1).values)()
        close(within, expected, 1e-6)
    finally:
        tf.config.run_functions_eagerly(False)


def test_after_the_session_was_cleared(model):
    expected = tfs.SmoothGrad(model, samples=3).explain(X, 1).values
    keras.backend.clear_session()
    close(tfs.SmoothGrad(model, samples=3).explain(X, 1).values, expected, 1e-6)
    tfs.forget(model)
    close(tfs.SmoothGrad(model, samples=3).explain(X, 1).values, expected, 1e-6)
    # New layers get the old names again.
    again = samples.picture_model()
    close(tfs.SmoothGrad(again, samples=3).explain(X, 1).values, expected, 1e-6)


FORKED = """
import os, sys
import numpy as np, tfsaliency as tfs
from tfsaliency.testing import samples
started = sys.argv[1] == "started"
if started:
    model = samples.picture_model()
sys.stdout.flush()
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    model = model if started else samples.picture_model()
    values = tfs.Gradient(model).explain(samples.inputs_for(model), 1).values
    print("explained", values.shape, flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("started", "RuntimeError This process is a fork of one in which TensorFlow had already run"),
        ("imported", "explained (3, 10, 10, 3)"),
    ],
)
def test_after_a_fork(when, said):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, when], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.stdout.startswith(said), done.stderr[-2000:]
