"""The floor: a bare compiled gradient of the same logits, and how it is timed against ours."""

import statistics
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from tfsaliency import zoo

MODELS: dict[str, Callable[[], keras.Model]] = {
    "EfficientNet-Lite0": zoo.efficientnet_lite0,
    "MobileNetV2": lambda: keras.applications.MobileNetV2(weights=None),
    "ResNet50": lambda: keras.applications.ResNet50(weights=None),
}


def bare_gradient(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """What anyone would write by hand: one tape, one graph, the logits under the softmax."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))])
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = model(x, training=False).op.inputs[0][:, 7]
        return tape.gradient(score, x)

    return gradient


def medians(runs: int, *tasks: Callable[[], object]) -> list[float]:
    """Median seconds of each task; the tasks take turns, so that a busy machine slows all of them."""
    for task in tasks:
        task()
    seconds: list[list[float]] = [[] for _ in tasks]
    for _ in range(runs):
        for task, each in zip(tasks, seconds, strict=True):
            each.append(seconds_of(task))
    return [statistics.median(each) for each in seconds]


def ratios(runs: int, floor: Callable[[], object], *tasks: Callable[[], object]) -> list[float]:
    """Median of each task's time over the floor's just before and after it: what slows the machine slows both."""
    floor()
    found = []
    for task in tasks:
        task()
        rounds = []
        for _ in range(runs):
            before, ours, after = seconds_of(floor), seconds_of(task), seconds_of(floor)
            rounds.append(2 * ours / (before + after))
        found.append(statistics.median(rounds))
    return found


def seconds_of(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start
