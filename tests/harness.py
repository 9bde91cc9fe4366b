"""What many test modules need: every method in a cheap form, and comparisons that can fail."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs
from tfsaliency.methods import FAMILIES, METHODS
from tfsaliency.transforms import absolute, clip_percentile, times_input

Make = Callable[..., tfs.Explainer]

# Options that make a method cheap where its defaults take many passes through the model. A new method needs an entry
# only if its defaults are slow.
CHEAPER: dict[str, dict[str, Any]] = {
    "SmoothGrad": {"samples": 5},
    "DenoisedSmoothGrad": {"samples": 5},
    "SmoothGradSquared": {"samples": 5},
    "VarGrad": {"samples": 5},
    "DeepLIFT": {"baseline": 0.1},
    "IntegratedGradients": {"baseline": 0.1, "tolerance": 0.3, "budget": 24},
    "ExpectedGradients": {"baselines": 0.1, "samples": 5},
    "BlurIntegratedGradients": {"sigma": 2.0, "steps": 4, "tolerance": 10},
    "GuidedIntegratedGradients": {"steps": 4},
    "RISE": {"samples": 20, "cells": 3},
    "ShapleyValues": {"samples": 2},
}
# Wrappers of others, and methods that take another explainer to be cheap.
COMBINED: dict[str, Make] = {
    "SmoothGrad of VarGrad": lambda model: tfs.SmoothGrad(tfs.VarGrad(model, samples=3), samples=2),
    "SmoothGrad of rules": lambda model: tfs.SmoothGrad(tfs.LRP(model, "gamma").then(absolute), samples=3),
    "IntegratedGradients of rules": lambda model: tfs.IntegratedGradients(tfs.GuidedBackprop(model), steps=3),
    "IDGI": lambda model: tfs.IDGI(tfs.IntegratedGradients(model, steps=4, tolerance=10)),
    "XRAI": lambda model: tfs.XRAI(tfs.Gradient(model)),
    "then": lambda model: (
        tfs.SmoothGrad(tfs.Gradient(model).then(absolute), samples=3).then(clip_percentile(90)).then(times_input)
    ),
}
EXPLAINERS: dict[str, Make] = {
    method.__name__: functools.partial(method, **CHEAPER.get(method.__name__, {})) for method in METHODS.values()
} | COMBINED


def quick(parameters: Iterable[Any], *kept: Any) -> list[Any]:
    """Parameters of a test, of which `make test` takes those that are kept; the others make the same claim again."""
    return [each if each in kept else pytest.param(each, marks=pytest.mark.slow) for each in parameters]


def counted(monkeypatch: Any, owner: Any, name: str) -> list[int]:
    """A list that gets an entry for each call of what an object has under a name."""
    count: list[int] = []
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *arguments: count.append(1) or original(*arguments))
    return count


def draws_of(explainer: Any, shape: Any, place: int = 0) -> Any:
    """The noise of an explainer, which its twins must use too; `test_smoothgrad` tests what it is distributed as."""
    return explainer._draws(place, tf.zeros([1, *shape]), tf.constant(0), tf.constant(explainer.samples)).numpy()


# A wrapper of others does what they do: the longest tests take them in `make test-all` alone.
NO_WRAPPERS = tuple(method.__name__ for method in METHODS.values())


def names_of(family: str) -> tuple[str, ...]:
    """The class names of a family of methods."""
    return tuple(method.__name__ for method in FAMILIES[family].values())


BY_RULES = (*names_of("backward"), "SmoothGrad of rules", "IntegratedGradients of rules")
RECTIFYING = ("GuidedBackprop", "DeconvNet", "IntegratedGradients of rules")
OVER_A_LAYER = names_of("activations")
# These map places, and give one number to all channels of one.
OF_PLACES = (*(name for name in OVER_A_LAYER if name != "GuidedGradCAM"), "XRAI", *names_of("black boxes"))


def close(actual: Any, expected: Any, tolerance: float) -> None:
    """Asserts that the relative L2 error of each part is within the tolerance."""
    tf.nest.assert_same_structure(actual, expected)
    for part, other in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        assert part.shape == other.shape
        assert np.linalg.norm(part - other) <= tolerance * np.linalg.norm(other)


@contextmanager
def built_in_float64() -> Iterator[None]:
    """Models that are built here compute in float64, where two ways to compute a unit near zero agree on its side."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def tape_gradient(function: Callable[[Any], tf.Tensor], inputs: Any) -> tuple[Any, np.ndarray]:
    """Gradient and value of a function of the inputs that returns ``(N,)``, by a plain eager tape."""
    x = tf.nest.map_structure(lambda part: tf.constant(part, tf.float32), inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.cast(function(x), tf.float32)
    return tf.nest.map_structure(lambda part: part.numpy(), tape.gradient(value, x)), value.numpy()
