"""What the stream of `explain_dataset` costs beside `explain` on an array in memory, and what a million pictures do."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import psutil
from PIL import Image

import tfsaliency as tfs
from benchmarks.floor import seconds_of
from tfsaliency import zoo
from tfsaliency.datasets.sources import Pictures

IMAGES = 500
ROUNDS = 5
ROWS = 100_000
MILLION = 10**6


def run() -> None:
    throughput()
    memory()
    million()


def throughput() -> None:
    explainer = tfs.Gradient(zoo.efficientnet_lite0())
    images = photographs(IMAGES)
    explainer.explain(images[:64], 7)
    shares = []
    for _ in range(ROUNDS):
        alone = seconds_of(lambda: explainer.explain(images, 7))
        with tempfile.TemporaryDirectory() as folder:
            shares.append(alone / seconds_of(lambda: tfs.explain_dataset(explainer, images, folder, 7, progress=False)))  # noqa: B023
    print(f"\ndatasets: {IMAGES} images of EfficientNet-Lite0, throughput over that of explain on the array")
    print(f"  median {np.median(shares):.3f} of {', '.join(f'{each:.3f}' for each in shares)}")


def memory() -> None:
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(2)])
    rng, process, resident = np.random.default_rng(0), psutil.Process(), []

    def rows() -> Iterator[dict[str, object]]:
        for number in range(ROWS):
            if number % 10_000 == 0:
                resident.append(process.memory_info().rss / 2**20)
            yield {"id": number, "inputs": rng.normal(size=16).astype("float32")}

    with tempfile.TemporaryDirectory() as folder:
        explainer = tfs.Gradient(model)
        seconds = seconds_of(lambda: tfs.explain_dataset(explainer, rows(), folder, 1, progress=False))
        array = np.zeros((ROWS, 16), "float32")
        tfs.explain_dataset(explainer, array, f"{folder}/array", 1, progress=False)
        again = seconds_of(lambda: tfs.explain_dataset(explainer, array, f"{folder}/array", 1, progress=False))
    slope = np.polyfit(np.arange(len(resident))[2:], resident[2:], 1)[0]
    print(f"  {ROWS:,} rows of a small model: {seconds:.1f} s; resident memory {slope:+.2f} MB for each 10,000 rows")
    print(f"  the same call again, with every row finished: {again:.2f} s")


def million() -> None:
    model = zoo.efficientnet_lite0()
    images = photographs(32)
    methods = {
        "SmoothGrad of 50": tfs.SmoothGrad(model, samples=50),
        "GradCAM": tfs.GradCAM(model),
        "LRP": tfs.LRP(model),
    }
    print(f"  {MILLION:,} pictures of 224 x 224, by EfficientNet-Lite0 on this machine:")
    for name, explainer in methods.items():
        some = images[:4] if "50" in name else images
        explainer.explain(some, 7)
        each = min(seconds_of(lambda: explainer.explain(some, 7)) for _ in range(3)) / len(some)  # noqa: B023
        size = explainer.explain(some[:1], 7).values.nbytes
        print(f"    {name:18} {each * MILLION / 3600:6.1f} hours, {size * MILLION / 1e9:4.0f} GB of values in float32")
    print(f"    reading a JPEG of 500 x 375: {1e3 * _reading():.1f} ms, beside the device")


def photographs(count: int) -> np.ndarray:
    four = np.concatenate([zoo.preprocess(photo) for photo in zoo.photographs().values()])
    return np.tile(four, (-(-count // 4), 1, 1, 1))[:count].astype("float32")


def _reading() -> float:
    pixels = np.asarray(Image.fromarray(zoo.photographs()["chelsea"]).resize((500, 375)))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.jpg" for number in range(64)]
        for path in paths:
            Image.fromarray(pixels).save(path)
        source = Pictures(Path(folder), paths, (224, 224), None)
        return min(seconds_of(lambda: source.read(0, 64)) for _ in range(3)) / 64


if __name__ == "__main__":
    run()
