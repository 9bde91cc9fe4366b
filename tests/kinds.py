"""Every kind of Keras model that an explainer must take, small.

A kind is built twice with the same weights: with the link (softmax, sigmoid) at its end, as users have it, and without.
The second
one is the reference: what its plain gradient says is what an explanation of the first one must say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

Link = str | None
CLASSES = 4


@dataclass(frozen=True)
class Kind:
    build: Callable[[Link], keras.Model]
    shapes: Any
    link: Link = "softmax"
    output: int | None = None
    tolerance: float = 1e-5
    integers: bool = False

    def models(self) -> tuple[keras.Model, keras.Model]:
        """The model with its link, and its twin that returns logits."""
        keras.utils.set_random_seed(7)
        inputs = self.inputs(2)
        model, twin = self.build(self.link), self.build(None)
        for each in (model, twin):
            each(as_tensors(inputs))
        generator = np.random.default_rng(3)
        # Biases and normalization statistics away from their neutral start, variances still positive.
        weights = [
            weight + (0.1 * np.abs(generator.normal(size=weight.shape)) if weight.ndim == 1 else 0)
            for weight in model.get_weights()
        ]
        model.set_weights(weights)
        twin.set_weights(weights)
        return model, twin

    def target(self, index: Any) -> Any:
        return index if self.output is None else tfs.target.output(self.output, index)

    def gradient(self, twin: keras.Model, inputs: Any, index: int) -> tuple[Any, np.ndarray]:
        """Gradient and score of a class, by a plain eager tape over the twin that returns logits."""
        x = tf.nest.map_structure(lambda part: tf.constant(part, tf.float32), inputs)
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = twin(x, training=False)
            z = z if self.output is None else z[self.output]
            score = tf.cast(z[:, index], tf.float32)
        values = tape.gradient(score, x)
        return tf.nest.map_structure(lambda part: part.numpy(), values), score.numpy()

    def inputs(self, samples: int) -> Any:
        generator = np.random.default_rng(11)

        def part(shape: tuple[int, ...]) -> np.ndarray:
            if self.integers:
                return generator.integers(0, 256, (samples, *shape)).astype("uint8")
            return generator.normal(size=(samples, *shape)).astype("float32")

        if isinstance(self.shapes, dict):
            return {name: part(shape) for name, shape in self.shapes.items()}
        if isinstance(self.shapes, list):
            return [part(shape) for shape in self.shapes]
        return part(self.shapes)


def as_tensors(inputs: Any) -> Any:
    return tf.nest.map_structure(tf.convert_to_tensor, inputs)


def functional(link: Link) -> keras.Model:
    x = keras.Input((12, 12, 3))
    y = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    y = layers.MaxPooling2D()(y)
    y = layers.Conv2D(8, 3, activation="relu")(y)
    y = layers.Flatten()(y)
    return keras.Model(x, layers.Dense(CLASSES, activation=link)(y))


def sequential(link: Link) -> keras.Model:
    return keras.Sequential(
        [
            layers.Conv2D(6, 3, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES),
            layers.Activation(link or "linear"),
        ]
    )


class Subclassed(keras.Model):
    def __init__(self, link: Link):
        super().__init__()
        self.link = link
        self.first = layers.Conv2D(6, 3)
        self.second = layers.Conv2D(6, 3)
        self.norm = layers.BatchNormalization()
        self.head = layers.Dense(CLASSES)

    def call(self, x, training=False):
        y = tf.nn.relu(self.first(x))
        y = keras.ops.relu(self.norm(self.second(y), training=training))
        z = self.head(tf.reduce_mean(y, axis=(1, 2)))
        return tf.nn.softmax(z) if self.link else z


class SubclassedKerasOps(Subclassed):
    """No ``training`` argument, and the softmax of keras.ops."""

    def call(self, x):
        y = keras.ops.silu(self.second(keras.ops.gelu(self.first(x))))
        z = self.head(keras.ops.mean(self.norm(y), axis=(1, 2)))
        return keras.ops.softmax(z, axis=-1) if self.link else z


class SubclassedIntegers(Subclassed):
    """Casts on its own."""

    def call(self, x):
        return super().call(tf.cast(x, tf.float32) / 255.0)


def nested(link: Link) -> keras.Model:
    inner = keras.Sequential([layers.Conv2D(5, 3, activation="relu"), layers.BatchNormalization()], name="inner")
    x = keras.Input((12, 12, 3))
    backbone = keras.Model(x, layers.Conv2D(6, 3, activation="relu")(inner(x)), name="backbone")
    head = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, activation=link)], name="head")
    x = keras.Input((12, 12, 3))
    return keras.Model(x, head(backbone(x)))


def reused(link: Link) -> keras.Model:
    convolution, activation = layers.Conv2D(3, 3, padding="same"), layers.ReLU()
    x = keras.Input((12, 12, 3))
    y = activation(convolution(activation(convolution(x))))
    y = layers.Dense(CLASSES)(layers.Flatten()(y))
    return keras.Model(x, layers.Softmax()(y) if link else y)


def _two_inputs(image, table, link: Link):
    y = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    y = layers.Concatenate()([y, layers.Dense(4, activation="tanh")(table)])
    return layers.Dense(CLASSES, activation=link)(y)


def two_inputs_list(link: Link) -> keras.Model:
    parts = [keras.Input((8, 8, 2)), keras.Input((5,))]
    return keras.Model(parts, _two_inputs(*parts, link))


def two_inputs_dict(link: Link) -> keras.Model:
    # The order of the keys is not the alphabetical one.
    parts = {
        "table": keras.Input((5,), name="table"),
        "image": keras.Input((8, 8, 2), name="image"),
    }
    return keras.Model(parts, _two_inputs(parts["image"], parts["table"], link))


def two_outputs(link: Link) -> keras.Model:
    x = keras.Input((12, 12, 3))
    y = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(x))
    return keras.Model(x, [layers.Dense(CLASSES, activation=link)(y), layers.Dense(2)(y)])


def mixed_precision(link: Link) -> keras.Model:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        return functional(link)
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def time_series(link: Link) -> keras.Model:
    return keras.Sequential(
        [
            layers.Conv1D(6, 5, activation="elu", padding="causal"),
            layers.AveragePooling1D(2),
            layers.GlobalMaxPooling1D(),
            layers.Dense(CLASSES, activation=link),
        ]
    )


def volume(link: Link) -> keras.Model:
    return keras.Sequential(
        [
            layers.Conv3D(4, 3, activation="relu"),
            layers.GlobalAveragePooling3D(),
            layers.Dense(CLASSES, activation=link),
        ]
    )


def table(link: Link) -> keras.Model:
    return keras.Sequential([layers.Dense(8, activation="selu"), layers.Dense(CLASSES, activation=link)])


def transformer(link: Link) -> keras.Model:
    x = keras.Input((12, 12, 3))
    y = layers.Reshape((9, 8))(layers.Conv2D(8, 4, strides=4)(x))
    z = layers.LayerNormalization()(y)
    y = y + layers.MultiHeadAttention(2, 4)(z, z)
    z = layers.LayerNormalization()(y)
    y = y + layers.Dense(8)(layers.Dense(16, activation="gelu")(z))
    return keras.Model(x, layers.Dense(CLASSES, activation=link)(layers.GlobalAveragePooling1D()(y)))


def recurrent(link: Link) -> keras.Model:
    return keras.Sequential(
        [
            layers.LSTM(5, return_sequences=True),
            layers.Bidirectional(layers.GRU(4)),
            layers.Dense(CLASSES, activation=link),
        ]
    )


def integer_images(link: Link) -> keras.Model:
    # Only the model under test takes integers: a gradient by a plain tape needs floats.
    x = keras.Input((12, 12, 3), dtype="uint8" if link else "float32")
    y = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(x))
    return keras.Model(x, layers.Dense(CLASSES, activation=link)(layers.Flatten()(y)))


def integer_images_of_silu(link: Link) -> keras.Model:
    x = keras.Input((12, 12, 3), dtype="uint8" if link else "float32")
    y = layers.Conv2D(4, 3, activation="silu")(layers.Rescaling(1 / 255)(x))
    return keras.Model(x, layers.Dense(CLASSES, activation=link)(layers.GlobalAveragePooling2D()(y)))


def integer_series(link: Link) -> keras.Model:
    x = keras.Input((6, 3), dtype="uint8" if link else "float32")
    y = layers.LSTM(5)(layers.Rescaling(1 / 255)(x))
    return keras.Model(x, layers.Dense(CLASSES, activation=link)(y))


def list_of_one(link: Link) -> keras.Model:
    x = keras.Input((7,))
    return keras.Model([x], [layers.Dense(CLASSES, activation=link)(layers.Dense(5, activation="tanh")(x))])


def one_unit(link: Link) -> keras.Model:
    return keras.Sequential([layers.Dense(6, activation="relu"), layers.Dense(1, activation=link)])


KINDS = {
    "functional": Kind(functional, (12, 12, 3)),
    "sequential": Kind(sequential, (12, 12, 3)),
    "subclassed": Kind(Subclassed, (12, 12, 3)),
    "subclassed_keras_ops": Kind(SubclassedKerasOps, (12, 12, 3)),
    "nested": Kind(nested, (12, 12, 3)),
    "reused": Kind(reused, (12, 12, 3)),
    "two_inputs_list": Kind(two_inputs_list, [(8, 8, 2), (5,)]),
    "two_inputs_dict": Kind(two_inputs_dict, {"table": (5,), "image": (8, 8, 2)}),
    "two_outputs": Kind(two_outputs, (12, 12, 3), output=0),
    "mixed_precision": Kind(mixed_precision, (12, 12, 3), tolerance=5e-3),
    "time_series": Kind(time_series, (20, 3)),
    "volume": Kind(volume, (6, 6, 6, 2)),
    "table": Kind(table, (7,)),
    "multi_label": Kind(table, (7,), link="sigmoid"),
    "log_softmax": Kind(table, (7,), link="log_softmax"),
    "transformer": Kind(transformer, (12, 12, 3)),
    "recurrent": Kind(recurrent, (6, 3)),
    "integer_images": Kind(integer_images, (12, 12, 3), integers=True),
    "subclassed_integers": Kind(SubclassedIntegers, (12, 12, 3), integers=True),
    "integer_images_of_silu": Kind(integer_images_of_silu, (12, 12, 3), integers=True),
    "integer_series": Kind(integer_series, (6, 3), integers=True),
    "list_of_one": Kind(list_of_one, (7,)),
    "no_link": Kind(table, (7,), link=None),
}
