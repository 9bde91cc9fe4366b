"""Peak memory of fresh processes: SmoothGrad and Integrated Gradients of few and many steps, and calls in a loop."""

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


def peak(code: str, argument: int) -> float:
    """Peak resident memory of a fresh process, MiB."""
    done = subprocess.run([sys.executable, "-c", code, str(argument)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def run() -> None:
    print("\nmemory: peak of a fresh process, MiB")
    few, many = peak(SMOOTHGRAD, 50), peak(SMOOTHGRAD, 1000)
    print(f"  SmoothGrad, EfficientNet-Lite0: 50 samples {few:.0f}   1,000 samples {many:.0f}   ratio {many / few:.3f}")
    few, many = peak(INTEGRATED, 40), peak(INTEGRATED, 800)
    print(f"  IntegratedGradients, both ways: 40 steps {few:.0f}   800 steps {many:.0f}   ratio {many / few:.3f}")
    short, long = peak(LOOP, 200), peak(LOOP, 2200)
    print(f"  calls of one explainer: 200 {short:.0f}   2,200 {long:.0f}   growth {long - short:.1f}")


if __name__ == "__main__":
    run()
