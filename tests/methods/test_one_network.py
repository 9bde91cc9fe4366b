"""One network, written in many ways, has one map from every method: what counts is what it computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.harness import EXPLAINERS, NO_WRAPPERS, close, quick

X = np.random.default_rng(0).normal(size=(2, 10, 10, 3)).astype("float32")
CLASSES = 3


def parts():
    """The layers with weights: convolution, ReLU, convolution, SiLU, square, mean, dense, softmax is the network."""
    return layers.Conv2D(4, 3), layers.Conv2D(5, 3), layers.Dense(CLASSES)


def functional():
    first, second, top = layers.Conv2D(4, 3, activation="relu"), layers.Conv2D(5, 3, activation="silu"), parts()[2]
    x = keras.Input(X.shape[1:])
    y = layers.GlobalAveragePooling2D()(keras.ops.square(second(first(x))))
    return keras.Model(x, layers.Softmax()(top(y)))


def sequential():
    first, second, top = parts()
    middle = [layers.ReLU(), second, layers.Activation("silu"), layers.Lambda(tf.square)]
    return keras.Sequential([keras.Input(X.shape[1:]), first, *middle, layers.GlobalAveragePooling2D(), top])


def nested():
    first, second, top = parts()
    stem = keras.Sequential([first, layers.ReLU()])
    x = keras.Input(X.shape[1:])
    backbone = keras.Model(x, keras.ops.square(layers.Activation("swish")(second(stem(x)))))
    x = keras.Input(X.shape[1:])
    head = keras.Sequential([layers.GlobalAveragePooling2D(), top, layers.Softmax()])
    return keras.Model(x, head(backbone(x)))


class Written(keras.Model):
    """The network as functions: the defaults, with some of them in another form."""

    def __init__(self, **forms):
        super().__init__()
        self.first, self.second, self.top = parts()
        self.forms = FORMS | forms

    def call(self, x):
        y = self.forms["relu"](self.first(x))
        y = self.forms["square"](self.forms["silu"](self.second(y)))
        return self.forms["softmax"](self.top(self.forms["mean"](y)))


FORMS = {
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "square": tf.square,
    "mean": lambda y: tf.reduce_mean(y, axis=(1, 2)),
    "softmax": tf.nn.softmax,
}
WAYS = {
    "functional": functional,
    "sequential": sequential,
    "nested": nested,
    "functions": Written,
    "keras.ops": lambda: Written(relu=keras.ops.relu, silu=keras.ops.silu, softmax=keras.ops.softmax),
    "maximum(y, 0)": lambda: Written(relu=lambda y: tf.maximum(y, 0.0)),
    "relu(bias_add(y, 0))": lambda: Written(relu=lambda y: tf.nn.relu(tf.nn.bias_add(y, tf.zeros(4)))),
    "y sigmoid(y)": lambda: Written(silu=lambda y: y * tf.sigmoid(y)),
    "y / (1 + exp(-y))": lambda: Written(silu=lambda y: y / (1 + tf.exp(-y))),
    "y * y": lambda: Written(square=lambda y: y * y),
    "y ** 2": lambda: Written(square=lambda y: y**2),
    "sum / count": lambda: Written(mean=lambda y: tf.reduce_mean(tf.reshape(y, [-1, 36, 5]), axis=1)),
    "identity above": lambda: Written(softmax=lambda z: tf.identity(tf.nn.softmax(z))),
}


@pytest.fixture(scope="module")
def models():
    generator = np.random.default_rng(1)
    made, weights = {}, None
    for name, build in WAYS.items():
        model = build()
        model(X)
        weights = weights or [0.5 * generator.normal(size=weight.shape) for weight in model.get_weights()]
        model.set_weights(weights)
        made[name] = model
    outputs = [model(X).numpy() for name, model in made.items() if name != "sequential"]
    for other in outputs[1:]:
        np.testing.assert_allclose(other, outputs[0], rtol=1e-4)
    return made


# CAM is for pooling and one dense layer: it refuses a reshape in front of the mean, and says so.
REFUSED = {("CAM", "sum / count"): "pooling and one dense"}


@pytest.mark.filterwarnings("ignore:The map has not converged", "ignore:The values of the samples")
@pytest.mark.parametrize("method", quick(EXPLAINERS, *NO_WRAPPERS))
def test_one_network_has_one_map(method, models):
    expected = EXPLAINERS[method](models["functional"]).explain(X, 1)
    assert np.abs(expected.values).max() > 0
    for name, model in models.items():
        if message := REFUSED.get((method, name)):
            with pytest.raises(ValueError, match=message):
                EXPLAINERS[method](model).explain(X, 1)
            continue
        found = EXPLAINERS[method](model).explain(X, 1)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, err_msg=name)
        try:
            close(found.values, expected.values, 1e-3)
        except AssertionError as error:
            raise AssertionError(f"{method} differs for the network written as {name!r}") from error
