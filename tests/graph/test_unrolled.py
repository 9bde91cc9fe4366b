"""Loops and conditions of a trace: built again around their bodies, or written out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.operations import NESTED
from tfsaliency.graph.trace import Trace
from tfsaliency.graph.unrolled import Unrolled

SPEC = tf.TensorSpec([None, 7, 3])
X = np.random.default_rng(0).normal(size=(4, 7, 3)).astype("float32")


def layer(*stack):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((7, 3)), *stack])
    return lambda x: model(x, training=False)


@tf.custom_gradient
def doubled_gradient(x):
    return tf.sin(x), lambda upstream: 2 * upstream * tf.cos(x)


# More than TensorFlow writes into a graph as a constant.
PLACES = tf.constant(np.arange(300))


def counted(x):
    return tf.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, tf.sin(y) + x), (0, x))[1]


@tf.function
def written_in_python(x):
    steps = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
    state = tf.zeros_like(x[:, 0])
    for i in tf.range(tf.shape(x)[1]):
        state = tf.tanh(state + x[:, i])
        if i % 2 == 0:
            steps = steps.write(i // 2, state)
    return steps.stack()


LOOPS = {
    "LSTM": layer(layers.LSTM(4)),
    "LSTM, every step": layer(layers.LSTM(4, return_sequences=True)),
    "LSTM, backwards": layer(layers.LSTM(4, go_backwards=True)),
    "GRU": layer(layers.GRU(4)),
    "SimpleRNN": layer(layers.SimpleRNN(4)),
    "bidirectional": layer(layers.Bidirectional(layers.GRU(4, return_sequences=True)), layers.LSTM(3)),
    "cells": layer(layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)])),
    "ConvLSTM1D": layer(layers.Reshape((7, 3, 1)), layers.ConvLSTM1D(2, 2)),
    "masked": layer(layers.Masking(), layers.LSTM(4)),
    "custom gradient": layer(layers.LSTM(4, activation=doubled_gradient)),
    "map_fn": lambda x: tf.map_fn(tf.sin, tf.transpose(x, [1, 0, 2])),
    "scan": lambda x: tf.scan(lambda state, step: tf.tanh(state + step), tf.transpose(x, [1, 0, 2])),
    "counted": counted,
    "nested": lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, counted(y) / 2), (0, x))[1],
    "no turn": lambda x: tf.while_loop(lambda i, y: i < 0, lambda i, y: (i + 1, 2 * y), (0, x + 1))[1],
    "written in Python": written_in_python,
    "places from outside": lambda x: counted(tf.gather(x, PLACES[:, None][:, 0] % 7, axis=1)),
}


def unrolled(trace, turns=20):
    """The outputs again, and their gradient, in a graph without loops."""

    def again(x):
        graph = Unrolled(trace.gradients, [(trace.inputs[0], x), *trace.captured], turns)
        return graph.run(ancestors(trace.outputs))[trace.outputs]

    return Trace(again, SPEC)


def answers(trace):
    """Outputs and their gradient, from a trace that runs in another graph."""

    @tf.function(autograph=False)
    def run(x):
        y = trace.run([(trace.inputs[0], x)])[trace.outputs]
        return y, tf.gradients(tf.sin(y), x)[0]

    return [each.numpy() for each in run(tf.constant(X))]


def expected(function):
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        score = tf.sin(y)
    return [y.numpy(), tape.gradient(score, x).numpy()]


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_has_the_same_results_and_gradients_built_again_and_unrolled(name):
    trace = Trace(LOOPS[name], SPEC)
    assert any(op.type in NESTED for op in trace.operations)
    written_out = unrolled(trace)
    assert not [op.name for op in ancestors(written_out.outputs) if op.type in NESTED]
    for made in (trace, written_out):
        for found, wanted in zip(answers(made), expected(LOOPS[name]), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


CONDITIONS = {
    "of the data": lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: tf.sin(x), lambda: x * x),
    "the other branch": lambda x: tf.cond(tf.reduce_sum(x) > 1e9, lambda: tf.sin(x), lambda: x * x),
    "of the shape": lambda x: tf.cond(tf.shape(x)[1] > 5, lambda: tf.sin(x), lambda: x * x),
    "of several": lambda x: tf.switch_case(
        tf.cast(tf.reduce_sum(x) > 1e9, tf.int32) + 1, [lambda: x, lambda: tf.sin(x), lambda: x * x]
    ),
    "too high a choice": lambda x: tf.switch_case(
        tf.cast(tf.reduce_sum(x), tf.int32) + 9, [lambda: x, lambda: tf.sin(x), lambda: x * x]
    ),
    "a check in the other branch": lambda x: tf.cond(
        tf.reduce_sum(x) > 1e9, lambda: tf.debugging.check_numerics(tf.math.log(x * 0 - 1), "bad"), lambda: x * x
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_has_the_same_results_and_gradients(name):
    trace = Trace(CONDITIONS[name], SPEC)
    made = [trace] if "check" in name else [trace, unrolled(trace)]
    for each in made:
        for found, wanted in zip(answers(each), expected(CONDITIONS[name]), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_what_stays_a_loop():
    endless = Trace(lambda x: tf.while_loop(lambda y: tf.reduce_max(y) < 9, lambda y: (2 * y,), (tf.abs(x),))[0], SPEC)
    long = Trace(counted, SPEC)
    for trace, turns in ((endless, 20), (long, 4)):
        kept = unrolled(trace, turns)
        assert any(op.type in NESTED for op in ancestors(kept.outputs))
        np.testing.assert_allclose(answers(kept)[0], answers(trace)[0], rtol=1e-6)
    assert not any(op.type in NESTED for op in ancestors(unrolled(long, 5).outputs))
