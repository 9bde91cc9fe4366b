"""Small models with weights of their own, and inputs for them; made without any global random number."""

from typing import Any

import keras
import numpy as np
from keras import layers

CLASSES = 4
ROWS = 3
SHAPES = {"image": (8, 8, 2), "table": (5,)}


def picture_model() -> keras.Model:
    """Two convolutions, pooling, one dense layer and a softmax: every method of the package answers it."""
    x = keras.Input((10, 10, 3))
    y = _convolution(6)(x)
    y = layers.GlobalAveragePooling2D()(_convolution(8)(y))
    model = with_weights(keras.Model(x, _dense(CLASSES, "softmax")(y)))
    model.compile("sgd", "categorical_crossentropy")
    return model


def table_model() -> keras.Model:
    """Numbers without places."""
    x = keras.Input(SHAPES["table"])
    return with_weights(keras.Model(x, _dense(CLASSES, "softmax")(_dense(8, "relu")(x))))


def two_input_model(kind: type) -> keras.Model:
    """A picture and a table, in a list or a dict."""
    # The order of the keys is not the alphabetical one.
    parts = {name: keras.Input(SHAPES[name], name=name) for name in ("table", "image")}
    y = layers.Flatten()(_convolution(4)(parts["image"]))
    y = layers.Concatenate()([y, _dense(4, "relu")(parts["table"])])
    inputs = parts if kind is dict else list(parts.values())
    return with_weights(keras.Model(inputs, _dense(CLASSES, "softmax")(y)))


def constant_model() -> keras.Model:
    """The same answer to every input."""
    model = picture_model()
    *others, kernel, bias = model.get_weights()
    model.set_weights([*others, np.zeros_like(kernel), bias])
    return model


def with_weights(model: keras.Model, seed: int = 7) -> keras.Model:
    """The model with drawn weights."""
    generator = np.random.default_rng(seed)
    drawn = [generator.normal(size=each.shape) / np.sqrt(np.prod(each.shape[:-1])) for each in model.get_weights()]
    model.set_weights([each * (0.1 if each.ndim == 1 else 1) for each in drawn])
    return model


def inputs_for(model: keras.Model, seed: int = 11) -> Any:
    """Rows that differ, in the structure that one of these models takes."""
    generator = np.random.default_rng(seed)

    def part(tensor: Any) -> np.ndarray:
        return generator.normal(size=(ROWS, *tensor.shape[1:])).astype("float32")

    given = model.input
    if isinstance(given, dict):
        return {name: part(each) for name, each in given.items()}
    return [part(each) for each in given] if isinstance(given, list) else part(given)


# An initializer that draws would take a number from Python's own random numbers.
def _convolution(filters: int) -> keras.layers.Layer:
    return layers.Conv2D(filters, 3, activation="relu", kernel_initializer="zeros")


def _dense(units: int, activation: str) -> keras.layers.Layer:
    return layers.Dense(units, activation, kernel_initializer="zeros")
