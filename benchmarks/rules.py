"""Methods with rules against as many bare gradients, in time and in peak memory."""

import keras
import numpy as np
import tensorflow as tf

import tfsaliency as tfs
from benchmarks.floor import MODELS, bare_gradient, medians
from benchmarks.memory import peak

METHODS = {
    "GuidedBackprop": tfs.GuidedBackprop,
    "DeconvNet": tfs.DeconvNet,
    "DeepLIFT": tfs.DeepLIFT,
    "LRP epsilon": lambda model: tfs.LRP(model, "epsilon"),
    "LRP epsilon_plus_flat": tfs.LRP,
    "DeepTaylor": tfs.DeepTaylor,
}

CALL = """
import resource, sys
import numpy as np, tfsaliency as tfs
from benchmarks.rules import METHODS
from tfsaliency import zoo
methods = [tfs.Gradient, *METHODS.values()]
model = zoo.efficientnet_lite0()
images = np.random.default_rng(0).normal(size=(16, 224, 224, 3)).astype("float32")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(3):
    methods[int(sys.argv[1])](model).explain(images, 7)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def run() -> None:
    print("\nrules: time over that of as many bare gradients at their best batch size (median of 5, in turns)")
    for name, build in MODELS.items():
        report(name, build())
    print("rules: peak memory on 16 images, over that of Gradient, both less what loading the model took")
    floor, *others = (peak(CALL, number) for number in range(1 + len(METHODS)))
    ratios = (f"{name} {memory / floor:.2f}" for name, memory in zip(METHODS, others, strict=True))
    print(f"  EfficientNet-Lite0 Gradient {floor:.0f} MiB   " + "   ".join(ratios))


def report(name: str, model: keras.Model) -> None:
    gradient = bare_gradient(model)
    images = np.random.default_rng(0).normal(size=(16, *model.input_shape[1:])).astype("float32")

    def floor(size: int) -> None:
        for first in range(0, len(images), size):
            gradient(tf.constant(images[first : first + size])).numpy()

    explainers = [method(model) for method in METHODS.values()]
    calls = [lambda explainer=explainer: explainer.explain(images, 7) for explainer in explainers]
    eight, sixteen, *times = medians(5, lambda: floor(8), lambda: floor(16), *calls)
    best = min(eight, sixteen)
    ratios = (f"{method} {seconds / best:.2f}" for method, seconds in zip(METHODS, times, strict=True))
    print(f"  {name:18} floor {1e3 * best / len(images):6.1f} ms   " + "   ".join(ratios), flush=True)


if __name__ == "__main__":
    run()
