"""Which operation holds up a gradient: the first that a user knows by name."""

import pytest
import tensorflow as tf

from tfsaliency.graph.ancestry import first_without_gradient
from tfsaliency.graph.trace import Trace

TABLE = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def blocking(y, x):
    # It asks TensorFlow for gradients, which it does in a graph only.
    with y.graph.as_default():
        return first_without_gradient(y, x)


CASES = {
    "all have one": (lambda x: tf.reduce_sum(tf.nn.relu(x) * 2), None),
    "does not depend on the input": (lambda x: tf.round(TABLE), None),
    "reads the shape of the input alone": (lambda x: tf.cast(tf.shape(x)[0], tf.float32) * TABLE, None),
    "a gradient that is zero by definition": (lambda x: tf.nn.relu(tf.round(x)), "Round"),
    "two without a gradient": (lambda x: tf.floor(tf.round(x)), "Round"),
    "one that has no gradient at all": (lambda x: tf.image.adjust_hue(x, 0.1), "AdjustHue"),
    # Users know the embedding, and not the cast in front of it.
    "what reads integers": (lambda x: tf.gather(TABLE, tf.cast(x, tf.int32)), "GatherV2"),
    "integers that are cast back": (lambda x: tf.cast(tf.argmax(x, axis=-1), tf.float32), "Cast"),
    "integers at the end": (lambda x: tf.argmax(tf.nn.relu(x), axis=-1), "ArgMax"),
    "a stop": (lambda x: tf.exp(tf.stop_gradient(tf.tanh(x))), "StopGradient"),
    "beside a way with a gradient": (lambda x: x + tf.round(x), "Round"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_operation_that_is_named(name):
    function, expected = CASES[name]
    trace = Trace(function, tf.TensorSpec([None, 4, 4, 3]))
    found = blocking(trace.outputs, trace.inputs[0])
    assert (None if found is None else found.type) == expected


def test_it_is_the_first_between_the_two_tensors_and_not_before_them():
    traced = []

    def function(x):
        traced.append(tf.tanh(tf.round(x)))
        return tf.floor(tf.exp(traced[0]))

    trace = Trace(function, tf.TensorSpec([None, 4]))
    assert blocking(trace.outputs, trace.inputs[0]).type == "Round"
    assert blocking(trace.outputs, traced[0]).type == "Floor"
    assert blocking(traced[0], traced[0]) is None
