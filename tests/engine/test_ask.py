"""One way for every question: scores, convergence and class visualizations go through the engine's checks."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.kinds import KINDS


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    top = layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((6, 6, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), top])


X = np.random.default_rng(0).normal(size=(5, 6, 6, 3)).astype("float32")


@pytest.mark.parametrize("name", ["functional", "two_inputs_dict", "two_outputs", "mixed_precision", "multi_label"])
def test_scores_are_those_that_are_explained(name):
    kind = KINDS[name]
    model, twin = kind.models()
    inputs = kind.inputs(3)
    for target in (None, 2, [0, 1, 3]):
        scores = tfs.SmoothGrad(model, samples=2).scores(inputs, kind.target(target), batch_size=2)
        np.testing.assert_allclose(scores, tfs.Gradient(model).explain(inputs, kind.target(target)).scores, rtol=1e-2)
    _, expected = kind.gradient(twin, inputs, 2)
    np.testing.assert_allclose(tfs.Gradient(model).scores(inputs, kind.target(2)), expected, rtol=1e-2, atol=1e-3)


def test_scores_refuse_what_explain_refuses(model):
    for arguments, message in (((X[0], 0), "batch axis is missing"), ((X, 3), "classes 0 to 2"), ((X, "cat"), "class")):
        with pytest.raises(ValueError, match=message):
            tfs.Gradient(model).scores(*arguments)


@dataclass(frozen=True, eq=False)
class Unfinished(tfs.Gradient):
    """Reports that it has not converged, and nothing else."""

    def attribute(self, x, score):
        values = super().attribute(x, score).values
        return tfs.Attribution(values, {"converged": tf.range(tf.shape(x)[0]) != 1})


def test_a_method_may_report_convergence_alone(model):
    with pytest.warns(UserWarning, match=r"reports that its values have not converged for the samples \[1\]"):
        Unfinished(model).explain(X, 0)


def test_class_visualizations_halve_their_chunks_like_everything_else(model, monkeypatch):
    """The device runs out of memory for more than two pictures at a time."""
    from tfsaliency.engine.compiled import Compiled

    visualizer = tfs.ClassVisualization(model, steps=3, views=None)
    expected = visualizer.explain([0, 1, 2, 0, 1]).values
    sizes, original = [], Compiled.__call__

    def small_device(self, x, *arguments):
        sizes.append(len(x))
        if len(x) > 2:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return original(self, x, *arguments)

    monkeypatch.setattr(Compiled, "__call__", small_device)
    np.testing.assert_allclose(visualizer.explain([0, 1, 2, 0, 1]).values, expected, atol=1e-5)
    assert sizes[0] == 5 and max(sizes[-3:]) <= 2


def test_class_visualizations_name_a_class_that_is_none(model):
    with pytest.raises(ValueError, match="classes 0 to 2. Received: target 7"):
        tfs.ClassVisualization(model, steps=2).explain([0, 7])


def test_class_visualizations_climb_by_the_steps_of_adam():
    """Against the optimizer of Keras, on a linear model, whose gradient is its weights."""
    weights = np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]], "float32")
    linear = keras.Sequential([keras.Input((3,)), layers.Dense(2, use_bias=False)])
    linear.set_weights([weights])
    steps, rate, penalty = 20, 0.05, 0.1
    painted = tfs.ClassVisualization.simonyan(linear, steps=steps, learning_rate=rate, penalty=penalty).explain(1)
    numbers = tf.Variable(tf.zeros(3))
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.1)
    optimizer = keras.optimizers.Adam(schedule)
    for _ in range(steps):
        optimizer.apply([-(weights[:, 1] - 2 * penalty * numbers)], [numbers])
    np.testing.assert_allclose(painted.values[0], numbers.numpy(), rtol=1e-4, atol=1e-6)
