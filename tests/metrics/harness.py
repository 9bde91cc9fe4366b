"""Models whose truth is known, maps made by hand, and definitions of metrics written with loops."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

PLACES = 12
# The columns that count in the models of a table.
COUNTED = (1, 4, 5, 9)
# Metrics that claim that a map is faithful, with options for small tables.
FAITHFUL = {
    "Deletion": lambda model: tfs.metrics.Deletion(model, steps=PLACES),
    "Insertion": lambda model: tfs.metrics.Insertion(model, steps=PLACES),
    "ABPC": lambda model: tfs.metrics.ABPC(model, steps=PLACES),
    "MuFidelity": tfs.metrics.MuFidelity,
    "Infidelity": lambda model: tfs.metrics.Infidelity(model, masks=200),
    "SingleDeletion": tfs.metrics.SingleDeletion,
    "Comprehensiveness": lambda model: tfs.metrics.Comprehensiveness(model, shares=(0.1, 0.2, 0.34)),
    "Sufficiency": lambda model: tfs.metrics.Sufficiency(model, shares=(0.1, 0.2, 0.34)),
}


@keras.saving.register_keras_serializable("tests")
class Evidence(layers.Layer):
    """How many of the counted columns are there: all of them (and), any (or), or the share of them (sum)."""

    def __init__(self, kind, **options):
        super().__init__(**options)
        self.kind = kind

    def call(self, x):
        counted = tf.gather(x, COUNTED, axis=1)
        of_kind = {"and": tf.reduce_min, "or": tf.reduce_max, "sum": tf.reduce_mean}[self.kind]
        return of_kind(counted, axis=1, keepdims=True)


def known(kind):
    """A model of twelve columns, a row of ones, and the map that is true."""
    x = keras.Input((PLACES,))
    truth = np.zeros((1, PLACES), "float32")
    truth[:, COUNTED] = 1
    return keras.Model(x, Evidence(kind)(x)), np.ones((1, PLACES), "float32"), truth


def with_map(explanation, values, meaning="signed"):
    """The same explanation with another map."""
    return dataclasses.replace(explanation, values=values, meaning=meaning, method="by hand")


def picture_model():
    keras.utils.set_random_seed(2)
    x = keras.Input((12, 10, 3))
    y = layers.Conv2D(4, 3, activation="tanh")(x)
    y = layers.Dense(6, "tanh")(layers.Flatten()(y))
    return keras.Model(x, layers.Dense(3, "softmax")(y))


PICTURES = np.random.default_rng(0).normal(size=(3, 12, 10, 3)).astype("float32")
