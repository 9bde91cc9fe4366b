"""Resident memory of a fresh process over 10,000 calls with varied batches, and over 200 models made and dropped."""

import ctypes
import gc
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Growth is measured between the calls of the second half: the first half fills caches and pools.
CALLS, MODELS = 10_000, 200
# How many functions three explainers make of a model: its trace, and two or three for each of them.
FUNCTIONS = 9
STATM = Path("/proc/self/statm")


def resident() -> float:
    """MiB that this process holds now, not its peak. What is free goes back to the system first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(STATM.read_text().split()[1]) * resource.getpagesize() / 2**20


def slope(step: Callable[[int], None], steps: int, unit: int) -> float:
    """MiB per ``unit`` steps: the straight line through 20 measurements of the second half."""
    import numpy as np

    for number in range(steps // 2):
        step(number)
    places, sizes = [], []
    every = max(1, steps // 40)
    for number in range(steps // 2, steps):
        if number % every == 0:
            places.append(number)
            sizes.append(resident())
        step(number)
    places.append(steps)
    sizes.append(resident())
    return float(np.polyfit(places, sizes, 1)[0] * unit)


def calls(steps: int = CALLS) -> float:
    """MiB per 1,000 calls: batches of 1 to 40 rows, two explainers, classes, margins and functions as targets."""
    import numpy as np

    import tfsaliency as tfs
    from tfsaliency.testing import samples

    model = samples.picture_model()
    explainers = [tfs.Gradient(model), tfs.SmoothGrad(model, samples=3), tfs.LRP(model)]
    targets = [None, 1, tfs.target.margin(0, 1), lambda z: z[:, 2]]
    generator = np.random.default_rng(0)
    pictures = generator.normal(size=(40, 10, 10, 3)).astype("float32")

    def step(number: int) -> None:
        explainer, target = explainers[number % 3], targets[number // 3 % 4]
        rows = int(generator.integers(1, 41))
        explainer.explain(pictures[:rows], target, batch_size=(None, 7)[number % 2])

    return slope(step, steps, 1000)


def models(steps: int = MODELS) -> float:
    """MiB per 100 models that were made, explained by three methods, and dropped."""
    import keras

    import tfsaliency as tfs
    from tfsaliency.testing import samples

    def step(number: int) -> None:
        picture = samples.picture_model()
        # Models of equal structure would share what is compiled.
        model = keras.Model(picture.inputs, picture.outputs[0] * (1.0 + number))
        pictures = samples.inputs_for(model)
        for make in (tfs.Gradient, tfs.LRP, tfs.HiResCAM):
            make(model).explain(pictures, 1)
        keras.backend.clear_session()

    return slope(step, steps, 100)


def models_alone(steps: int = MODELS) -> float:
    """MiB per 100 models that were made and dropped with as many functions of TensorFlow's own: what it keeps."""
    import keras
    import tensorflow as tf

    from tfsaliency.testing import samples

    def step(number: int) -> None:
        model = samples.picture_model()
        pictures = tf.constant(samples.inputs_for(model))

        def gradient(x: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = model(x)[:, 1]
            return tape.gradient(y, x)

        for _ in range(FUNCTIONS):
            tf.function(gradient)(pictures)
        keras.backend.clear_session()

    return slope(step, steps, 100)


def in_a_fresh_process(name: str) -> float:
    command = [sys.executable, "-c", f"from benchmarks import soak; print('slope', soak.{name}())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def run() -> None:
    print(f"\nsoak: growth of resident memory after warm-up, MiB ({CALLS:,} calls, {MODELS} models)")
    print(f"  per 1,000 calls with varied batches: {in_a_fresh_process('calls'):.2f}")
    print(f"  per 100 models made and dropped: {in_a_fresh_process('models'):.2f}")
    print(f"  per 100 models in {FUNCTIONS} functions of TensorFlow's own: {in_a_fresh_process('models_alone'):.2f}")


if __name__ == "__main__":
    run()
