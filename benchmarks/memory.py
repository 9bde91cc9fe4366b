"""Peak memory of fresh processes: many samples and steps beside few, methods beside one gradient, calls in a loop."""

import subprocess
import sys

SMOOTHGRAD = """
import resource, sys
import tfsaliency as tfs
from tfsaliency import zoo
model, image = zoo.efficientnet_lite0(), zoo.preprocess(zoo.photographs()["coffee"])
tfs.SmoothGrad(model, samples=int(sys.argv[1])).explain(image)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""

INTEGRATED = """
import resource, sys, warnings
import tfsaliency as tfs
from tfsaliency import zoo
warnings.simplefilter("ignore")
model, image = zoo.efficientnet_lite0(), zoo.preprocess(zoo.photographs()["coffee"])
steps = int(sys.argv[1])
tfs.IntegratedGradients(model, steps=steps).explain(image)
tfs.IntegratedGradients(model, tolerance=0, budget=steps).explain(image)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""

RESNET = """
import resource, sys, warnings
import keras, numpy as np, tensorflow as tf, tfsaliency as tfs
from benchmarks.floor import bare_gradient
warnings.simplefilter("ignore")
keras.utils.set_random_seed(0)
model = keras.applications.ResNet50(weights=None)
images = np.random.default_rng(0).normal(size=(16, 224, 224, 3)).astype("float32")
methods = {
    "bare": lambda: bare_gradient(model)(tf.constant(images)),
    "Gradient": lambda: tfs.Gradient(model).explain(images, 7, batch_size=16),
    "SmoothGrad": lambda: tfs.SmoothGrad(model, samples=1000).explain(images[:1], 7, batch_size=16),
    "IntegratedGradients": lambda: tfs.IntegratedGradients(model).explain(images[:4], 7, batch_size=16),
    "LRP": lambda: tfs.LRP(model).explain(images, 7, batch_size=16),
}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
methods[sys.argv[1]]()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""

LOOP = """
import resource, sys
import keras, numpy as np, tfsaliency as tfs
layers = keras.layers
model = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(8, 3), layers.Flatten(), layers.Dense(5)])
explainer, images = tfs.SmoothGrad(model, samples=4), np.random.rand(4, 32, 32, 3)
for _ in range(int(sys.argv[1])):
    explainer.explain(images)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak(code: str, argument: int | str) -> float:
    """Peak resident memory of a fresh process, MiB."""
    done = subprocess.run([sys.executable, "-c", code, str(argument)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def run() -> None:
    print("\nmemory: peak of a fresh process, MiB")
    few, many = peak(SMOOTHGRAD, 50), peak(SMOOTHGRAD, 1000)
    print(f"  SmoothGrad, EfficientNet-Lite0: 50 samples {few:.0f}   1,000 samples {many:.0f}   ratio {many / few:.3f}")
    few, many = peak(INTEGRATED, 40), peak(INTEGRATED, 800)
    print(f"  IntegratedGradients, both ways: 40 steps {few:.0f}   800 steps {many:.0f}   ratio {many / few:.3f}")
    bare = peak(RESNET, "bare")
    print(f"  ResNet50, batches of 16, above the model and its inputs: one bare gradient {bare:.0f}")
    for name in ("Gradient", "SmoothGrad", "IntegratedGradients", "LRP"):
        ours = peak(RESNET, name)
        print(f"    {name:20} {ours:.0f}   ratio {ours / bare:.2f}")
    short, long = peak(LOOP, 200), peak(LOOP, 2200)
    print(f"  calls of one explainer: 200 {short:.0f}   2,200 {long:.0f}   growth {long - short:.1f}")


if __name__ == "__main__":
    run()
