"""What models return: dataclasses, named tuples, None, structures inside structures."""

import dataclasses
from collections import namedtuple
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs

X = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
Pair = namedtuple("Pair", ["logits", "extra"])


@dataclasses.dataclass
class Answer:
    logits: Any
    loss: Any = None
    hidden: Any = None


def first(name):
    return tfs.target.output(name, 1)


MODELS = {
    "a dataclass": (
        lambda z: Answer(z),
        [1, first("logits"), lambda out: out.logits[:, 1], lambda out: out["logits"][:, 1]],
    ),
    "of several": (lambda z: Answer(z, None, [2 * z, z]), [first("logits"), tfs.target.output("hidden", first(1))]),
    "a dict with None": (lambda z: {"logits": z, "loss": None}, [1, first("logits")]),
    "a named tuple": (lambda z: Pair(z, 3 * z), [first("logits"), lambda out: out.logits[:, 1]]),
    "a named tuple with None": (lambda z: Pair(z, None), [1, first("logits")]),
    "a tuple with None": (lambda z: (None, z), [1, first(1)]),
    "a list with None": (lambda z: [z, None, 2 * z], [first(0)]),
    "nested": (lambda z: {"a": {"b": z, "c": [2 * z, None]}}, [tfs.target.output("a", first("b"))]),
    "nested dataclasses": (lambda z: {"a": Answer(Answer(z))}, [1, lambda out: out["a"].logits.logits[:, 1]]),
}


METHODS = {
    "Gradient": tfs.Gradient,
    "LRP": lambda model: tfs.LRP(model, "epsilon"),
    "DeepLIFT": tfs.DeepLIFT,
    "Occlusion": lambda model: tfs.Occlusion(model, window=1, stride=1),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_output(name, method):
    make, targets = MODELS[name]

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3, use_bias=False)

        def call(self, x):
            return make(self.dense(x))

    keras.utils.set_random_seed(0)
    model = Model()
    model.dense.build((None, 4))
    model.built = True
    weights = model.dense.get_weights()[0][:, 1]
    explainer = METHODS[method](model)
    expected = np.tile(weights, (2, 1)) if method == "Gradient" else X * weights
    for target in targets:
        np.testing.assert_allclose(explainer.explain(X, target).values, expected, rtol=1e-2, atol=1e-5)


def test_which_outputs_there_are():
    model = tfs.as_model(lambda x: Answer(x, None, 2 * x))
    with pytest.raises(ValueError, match=r"several outputs, \['hidden', 'logits'\].*target.output\(name, class\)"):
        tfs.Gradient(model).explain(X, 1)
    with pytest.raises(ValueError, match=r"no output 'loss'. Its outputs: \['hidden', 'logits'\]"):
        tfs.Gradient(model).explain(X, first("loss"))
    with pytest.raises(AttributeError, match="loss"):
        tfs.Gradient(model).explain(X, lambda out: out.loss)


def test_a_model_without_call():
    class Trained(keras.Model):
        def train_step(self, data):
            return {}

    with pytest.raises(ValueError, match="class Trained of the model has no method call: write call"):
        tfs.Gradient(Trained()).explain(X, 0)


def test_functions_of_tensors_may_return_them_too():
    explanation = tfs.Gradient(lambda x: {"logits": tf.square(x), "loss": None}).explain(X, 1)
    np.testing.assert_allclose(explanation.values, 2 * X * np.eye(4)[1], rtol=1e-5)


@pytest.mark.parametrize(
    "method", [lambda model: tfs.LRP(model, "epsilon"), tfs.DeepTaylor, tfs.GuidedBackprop, tfs.DeconvNet, tfs.DeepLIFT]
)
@pytest.mark.parametrize("second", ["the same", "the features below"])
def test_an_output_that_is_returned_twice_counts_once(method, second):
    """Rules start at each tensor that the score depends on, however many outputs it is."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    features = keras.layers.Dense(5, "relu")(x)
    logits = keras.layers.Dense(3)(features)
    alone = keras.Model(x, logits)
    both = keras.Model(x, {"first": logits if second == "the same" else features, "logits": logits})
    expected = method(alone).explain(X, 1).values
    np.testing.assert_allclose(method(both).explain(X, first("logits")).values, expected, rtol=1e-5, atol=1e-6)
