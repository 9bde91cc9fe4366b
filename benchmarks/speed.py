"""`Gradient` and `SmoothGrad` against as many bare gradients, at the batch size that is best for those."""

import functools

import keras
import numpy as np
import tensorflow as tf

import tfsaliency as tfs
from benchmarks.floor import MODELS, bare_gradient, medians, ratios

# The last has no normalization that could be fused.
NETWORKS = MODELS | {
    name: functools.partial(getattr(keras.applications, name), weights=None)
    for name in ("DenseNet121", "EfficientNetB0", "VGG16")
}
IMAGES = 32
SAMPLES = 64
RUNS = 15


def run() -> None:
    print(
        f"\nspeed: {IMAGES} images, time over that of as many bare gradients just before and after, median of {RUNS}\n"
        "  The floor's batch size is the best of 8, 16 and 32 in a round of its own: the smallest of three noisy\n"
        "  medians would be too low."
    )
    for name, build in NETWORKS.items():
        report(name, build())


def report(name: str, model: keras.Model) -> None:
    gradient = bare_gradient(model)
    images = np.random.default_rng(0).normal(size=(IMAGES, *model.input_shape[1:])).astype("float32")

    def floor(size: int) -> None:
        for first in range(0, IMAGES, size):
            gradient(tf.constant(images[first : first + size])).numpy()

    sizes = (8, 16, 32)
    trials = medians(5, *(lambda size=size: floor(size) for size in sizes))
    best = sizes[int(np.argmin(trials))]
    ours, smooth = tfs.Gradient(model), tfs.SmoothGrad(model, samples=SAMPLES)
    given, top, averaged = ratios(
        RUNS,
        lambda: floor(best),
        lambda: ours.explain(images, 7),
        lambda: ours.explain(images),
        lambda: smooth.explain(images[:1], 7),
    )
    print(
        f"  {name:18} floor {1e3 * min(trials) / IMAGES:6.1f} ms at {best:2}   Gradient {given:.3f}   "
        f"of the top class {top:.3f}   SmoothGrad(samples={SAMPLES}) {averaged * IMAGES / SAMPLES:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    run()
