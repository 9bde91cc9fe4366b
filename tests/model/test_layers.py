"""The calls of layers while a model is traced."""

import gc
import threading
import weakref

import keras
import pytest
import tensorflow as tf
from keras import layers

from tfsaliency.model.layers import calls_of, watched_layers


class Model(keras.Model):
    """With a nested model, a layer used twice, and a layer of Keras that calls layers of its own."""

    def __init__(self):
        super().__init__(name="whole")
        self.stem = keras.Sequential([layers.Conv2D(3, 3, name="conv"), layers.ReLU(name="relu")], name="stem")
        self.twice = layers.Conv2D(3, 1, name="twice")
        self.attention = layers.MultiHeadAttention(2, 3, name="attention")
        self.head = layers.Dense(2, name="conv")

    def call(self, x):
        y = self.twice(self.twice(self.stem(x)))
        y = tf.reshape(y, [-1, 16, 3])
        return self.head(self.attention(y, y))


@pytest.fixture(scope="module")
def model():
    model = Model()
    model(tf.zeros([1, 6, 6, 2]))
    return model


def traced(model):
    with watched_layers(model) as calls:
        graph = tf.function(model).get_concrete_function(tf.TensorSpec([None, 6, 6, 2])).graph
    return calls, graph


def test_inner_calls_come_first_and_the_models_own_is_left_out(model):
    calls, _ = traced(model)
    own = [call.name for call in calls if not call.in_builtin]
    assert own == ["stem/conv", "stem/relu", "stem", "twice", "twice, call 1", "attention", "conv"]
    assert [call.layer() for call in calls if call.path == "twice"] == [model.twice] * 2
    inner = [call.path for call in calls if call.in_builtin]
    assert {"attention/query", "attention/key", "attention/value"} <= set(inner)
    assert all(path.startswith("attention/") for path in inner)


def test_each_call_knows_its_result_and_the_operations_that_it_added(model):
    calls, graph = traced(model)
    operations = graph.get_operations()
    for call in calls:
        assert call.graph is graph
        assert call.output.op in [operations[position] for position in call.operations]
    added = {call.name: {operations[position].type for position in call.operations} for call in calls}
    assert "Conv2D" in added["stem/conv"] and "Relu" not in added["stem/conv"]
    assert "Conv2D" not in added["stem/relu"] and "Relu" in added["stem/relu"]
    assert {"Conv2D", "Relu"} <= added["stem"]
    first, second = (call for call in calls if call.path == "twice")
    assert "Conv2D" in added[first.name] and "Conv2D" in added[second.name]
    assert first.operations.stop <= second.operations.start


def test_a_call_that_returns_several_tensors_has_no_one_output():
    lstm = layers.LSTM(3, return_state=True)
    with watched_layers(None) as calls:
        lstm(tf.zeros([1, 4, 2]))
    assert calls[-1].layer() is lstm and calls[-1].output is None


def test_other_threads_are_not_watched(model):
    with watched_layers(model) as calls:
        other = threading.Thread(target=layers.Dense(2), args=(tf.zeros([1, 3]),))
        other.start()
        other.join()
        assert calls == []
        layers.Dense(2, name="here")(tf.zeros([1, 3]))
    assert [call.path for call in calls] == ["here"]


def test_keras_is_left_as_it_was_after_a_call_that_fails(model):
    before = keras.Layer.__call__
    with pytest.raises(ValueError, match="incompatible"), watched_layers(model) as calls:
        assert keras.Layer.__call__ is not before
        model.head(tf.zeros([1, 5]))
    assert keras.Layer.__call__ is before
    assert calls == []
    model.head(tf.zeros([1, 3]))
    assert calls == []


def test_a_failed_call_is_not_part_of_later_paths(model):
    with watched_layers(model) as calls:
        with pytest.raises(ValueError, match="incompatible"):
            model.stem(tf.zeros([1, 5, 5, 7]))
        model.twice(tf.zeros([1, 2, 2, 3]))
    assert [call.path for call in calls] == ["twice"]


def test_calls_keep_no_layer_alive():
    layer = layers.Dense(2)
    with watched_layers(None) as calls:
        layer(tf.zeros([1, 3]))
    alive = weakref.ref(layer)
    del layer
    gc.collect()
    assert alive() is None and calls[0].layer() is None


def test_calls_are_found_by_layer_name_path_and_the_end_of_it(model):
    calls, _ = traced(model)

    def found(wanted):
        return [call.name for call in calls_of(wanted, calls)]

    assert found(model.twice) == found("twice") == ["twice", "twice, call 1"]
    assert found("stem/relu") == found("relu") == ["stem/relu"]
    # A whole path is meant before the end of another one.
    assert found("conv") == ["conv"]
    assert found(model.stem.layers[0]) == ["stem/conv"]
    # Not every text that a path ends in.
    assert found("onv") == found("elu") == []
