"""`Gradient` and `SmoothGrad` against as many bare gradients, at the batch size that is best for those."""

import keras
import numpy as np
import tensorflow as tf

import tfsaliency as tfs
from benchmarks.floor import MODELS, bare_gradient, medians

SAMPLES = 64


def run() -> None:
    print("\nspeed: time over that of as many bare gradients at their best batch size (median of 7, in turns)")
    for name, build in MODELS.items():
        report(name, build())


def report(name: str, model: keras.Model) -> None:
    gradient = bare_gradient(model)
    images = np.random.default_rng(0).normal(size=(32, *model.input_shape[1:])).astype("float32")

    def floor(size: int) -> None:
        for first in range(0, 32, size):
            gradient(tf.constant(images[first : first + size])).numpy()

    ours, smooth = tfs.Gradient(model), tfs.SmoothGrad(model, samples=SAMPLES)
    *floors, time_32, time_top, time_smooth = medians(
        7,
        lambda: floor(8),
        lambda: floor(16),
        lambda: floor(32),
        lambda: ours.explain(images, 7),
        lambda: ours.explain(images),
        lambda: smooth.explain(images[:1], 7),
    )
    best = min(floors)
    print(
        f"  {name:18} floor {1e3 * best / 32:6.1f} ms   Gradient(32 images) {time_32 / best:.3f}   "
        f"of the top class {time_top / best:.3f}   "
        f"SmoothGrad(samples={SAMPLES}) {time_smooth / (best * SAMPLES / 32):.3f}"
    )


if __name__ == "__main__":
    run()
