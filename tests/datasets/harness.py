"""A small network, and what a folder of explanations holds to the byte."""

import hashlib
from pathlib import Path

import keras
import numpy as np


def network():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, "softmax", name="head"),
        ]
    )


def pictures(count):
    return np.random.default_rng(0).normal(size=(count, 6, 6, 3)).astype("float32")


def content(folder):
    """Path below the folder -> SHA-256, of all files but locks."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith(".lock"))
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
