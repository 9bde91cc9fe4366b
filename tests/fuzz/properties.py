"""What has to hold for every network, against truths that are computed without the package.

Each property returns the error that it measured, as a share of what was compared, and raises where it does not hold.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import tfsaliency as tfs
from tests.fuzz.programs import Program

# Sums of float32 numbers, as a share of what was added up. Programs are up to 30 operations deep.
ROUNDING = 1e-3
# What LRP loses in float64 to the 1e-6 that it adds to each sum of signals, where sums cancel in deep programs.
ROUNDING_64 = 1e-2

Relu = Callable[[tf.Tensor], tf.Tensor]


def gradient(program: Program) -> float:
    """The gradient is that of a tape, for a batch as for a row alone."""
    x = program.inputs()
    explainer = tfs.Gradient(program.model())
    alone, _ = asked(explainer, x[1:2])
    batch, _ = asked(explainer, x)
    expected, _ = tape(program, x)
    return max(error_of(batch, expected, ROUNDING), error_of(alone, expected[1:2], ROUNDING))


def completeness(program: Program) -> float:
    """DeepLIFT shares out the change of the score, or says that it does not.

    It may only fall short of it where the program has an operation that rules cannot follow.
    """
    x = program.inputs()
    try:
        values, said = asked(tfs.DeepLIFT(program.model()), x)
    except ValueError as error:
        assert "has no rule for the operation" in str(error), error
        return 0.0
    score, change = (each.numpy().astype("float64") for each in (program(x), program(x) - program(tf.zeros_like(x))))
    values = values.reshape(len(values), -1).astype("float64")
    gap = np.abs(values.sum(axis=1) - change) / (np.abs(values).sum(axis=1) + np.abs(score) + np.abs(change) + 1e-12)
    if any("miss their sum" in each for each in said):
        assert program.loses, f"a warning without a reason: {said}"
        return 0.0
    assert gap.max() < ROUNDING, f"{gap.max():.2g} of what was shared out is missing, and no warning"
    return float(gap.max())


def relevance(program: Program) -> float:
    """LRP with a tiny epsilon is gradient times input, where a program is linear between its switches.

    Both are computed in float64: relevance divides by sums that may cancel.
    """
    x = program.inputs(dtype="float64")
    rule = tfs.rules.Epsilon(1e-12)
    values, _ = asked(tfs.LRP(program.model("float64"), {tfs.rules.kind(each): rule for each in KINDS}), x)
    expected, _ = tape(program, x)
    return error_of(values, x * expected, ROUNDING_64)


def guided(program: Program) -> float:
    """Guided Backprop is the gradient with another gradient of the ReLU."""

    @tf.custom_gradient
    def relu(x: tf.Tensor) -> Any:
        return tf.nn.relu(x), lambda upstream: tf.nn.relu(upstream) * tf.cast(x > 0, x.dtype)

    return rectified(tfs.GuidedBackprop, program, relu)


def deconvolved(program: Program) -> float:
    """And so is DeconvNet."""

    @tf.custom_gradient
    def relu(x: tf.Tensor) -> Any:
        return tf.nn.relu(x), tf.nn.relu

    return rectified(tfs.DeconvNet, program, relu)


KINDS = ("dense", "convolution")


def rectified(method: Any, program: Program, relu: Relu) -> float:
    x = program.inputs()
    expected, met = tape(program, x, relu)
    try:
        values, _ = asked(method(program.model()), x)
    except ValueError as error:
        assert "met none of them" in str(error), error
        assert not met, "a rectifier that was not found"
        return 0.0
    return error_of(values, expected, ROUNDING)


def tape(program: Program, x: tf.Tensor, relu: Relu = tf.nn.relu) -> tuple[np.ndarray, bool]:
    """The gradient by a tape, and whether it met a ReLU on its way."""
    met = []

    @tf.custom_gradient
    def noticed(z: tf.Tensor) -> Any:
        def upstream(flow: tf.Tensor) -> tf.Tensor:
            met.append(1)
            return flow

        return z, upstream

    with tf.GradientTape() as watching:
        watching.watch(x)
        score = program(x, lambda z: noticed(relu(z)))
    slope = watching.gradient(score, x, unconnected_gradients="zero")
    return slope.numpy(), bool(met)


def asked(explainer: tfs.Explainer, x: tf.Tensor) -> tuple[np.ndarray, list[str]]:
    """The values for class 0, and what was warned of beside values of zero."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values = explainer.explain(x.numpy(), 0).values
    said = [str(each.message) for each in caught]
    return values, [each for each in said if "zero everywhere" not in each]


def error_of(values: np.ndarray, expected: Any, allowed: float) -> float:
    """The largest difference, as a share of the largest number; raises where it is more than allowed.

    Numbers in programs are about 1. Where all of them cancel, what is left is rounding.
    """
    expected = np.asarray(expected)
    error = float(np.abs(values - expected).max() / max(np.abs(expected).max(), 1e-2))
    assert error <= allowed, f"differs by {error:.2g} of the largest number"
    return error
