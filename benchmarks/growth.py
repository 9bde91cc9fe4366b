"""How time and memory grow with the batch, the side of the pictures, the samples of SmoothGrad and the layers.

``python -m benchmarks.growth FILE.svg`` also draws it.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import keras
import matplotlib.pyplot as plt
import numpy as np
import psutil

import tfsaliency as tfs
from benchmarks.floor import bare_gradient, medians

RUNS = 5
# What the axis of memory is marked at, in MiB.
MEMORY = (25, 50, 100, 200, 400)


class Setting(NamedTuple):
    """What is explained: a plain network of convolutions with 16 channels, by `SmoothGrad` where samples are given."""

    batch: int = 1
    side: int = 64
    samples: int = 0
    layers: int = 10


class Measured(NamedTuple):
    """Seconds of the first call, a later one and as many bare gradients in one batch; MiB of the peak above before."""

    first: float
    later: float
    bare: float
    memory: float


# What grows, from small to large, with everything else as in `Setting`.
SERIES = {
    "batch": [Setting(batch=batch) for batch in (1, 4, 16, 64, 256)],
    "side": [Setting(side=side) for side in (64, 128, 256, 512)],
    "samples": [Setting(samples=samples) for samples in (1, 10, 100, 1000)],
    "layers": [Setting(layers=layers) for layers in (10, 50, 200, 500)],
}


def run(drawing: str | None = None) -> None:
    print(
        "\ngrowth: a network of 10 convolutions with 16 channels, one picture of 64 x 64, a fresh process for each row"
    )
    print("  what        first call s   later call s   bare gradients s   ratio   peak memory MiB")
    found: dict[str, list[tuple[int, Measured]]] = {}
    for what, settings in SERIES.items():
        for setting in settings:
            measured = _in_a_process(setting)
            number = getattr(setting, what)
            found.setdefault(what, []).append((number, measured))
            print(
                f"  {what:8}{number:5}{measured.first:12.2f}{measured.later:15.4f}{measured.bare:17.4f}"
                f"{measured.later / measured.bare:11.2f}{measured.memory:14.0f}",
                flush=True,
            )
    if drawing is not None:
        _draw(found, drawing)


def _in_a_process(setting: Setting) -> Measured:
    command = [sys.executable, "-m", "benchmarks.growth", json.dumps(setting)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def measure(setting: Setting) -> Measured:
    """Measures one setting in this process."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((setting.side, setting.side, 3))
    for _ in range(setting.layers):
        x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    outputs = keras.layers.Dense(10, "softmax")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    images = np.random.default_rng(0).normal(size=(setting.batch, *model.input_shape[1:])).astype("float32")
    explainer = tfs.SmoothGrad(model, samples=setting.samples) if setting.samples else tfs.Gradient(model)
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    explainer.explain(images, 7)
    first = time.perf_counter() - start
    (later,) = medians(RUNS, lambda: explainer.explain(images, 7))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    gradient = bare_gradient(model)
    copies = images if not setting.samples else np.repeat(images, min(setting.samples, 100), axis=0)
    (bare,) = medians(RUNS, lambda: gradient(copies))
    return Measured(first, later, bare * max(1, setting.samples / len(copies)), memory / 2**20)


def _draw(found: dict[str, list[tuple[int, Measured]]], path: str) -> None:
    figure, axes = plt.subplots(2, len(found), figsize=(10, 5), sharey="row", layout="constrained")
    for column, (what, rows) in zip(axes.T, found.items(), strict=True):
        numbers = [number for number, _ in rows]
        column[0].loglog(numbers, [each.later for _, each in rows], "o-", label="explain")
        column[0].loglog(numbers, [each.bare for _, each in rows], "--", color="gray", label="bare gradients")
        column[1].loglog(numbers, [each.memory for _, each in rows], "o-")
        column[1].set_xlabel(what)
        for axis in column:
            axis.set_xticks(numbers, labels=map(str, numbers))
            axis.minorticks_off()
        column[1].set_yticks(MEMORY, labels=map(str, MEMORY))
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, MiB")
    axes[0, 0].legend()
    figure.savefig(Path(path))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("["):
        print(json.dumps(measure(Setting(*json.loads(sys.argv[1])))))
    else:
        run(*sys.argv[1:])
