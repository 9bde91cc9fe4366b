"""What a call costs beyond the bare function on a tiny network, and what the import costs."""

import statistics
import subprocess
import sys
import time

import keras
import numpy as np
import tensorflow as tf

import tfsaliency as tfs
from benchmarks.floor import medians


def run() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(5, "softmax")])
    x = np.random.default_rng(0).normal(size=(1, 20)).astype("float32")

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, 20))])
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = model(x, training=False).op.inputs[0][:, 2]
        return tape.gradient(score, x)

    explainer = tfs.Gradient(model)
    bare, ours = medians(300, lambda: gradient(tf.constant(x)).numpy(), lambda: explainer.explain(x, 2))
    print("\noverhead: milliseconds of one call on a tiny network, seconds of the import")
    print(f"  bare {1e3 * bare:.2f}   explain {1e3 * ours:.2f}   more {1e3 * (ours - bare):.2f}")

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return time.perf_counter() - start

    pairs = [(seconds("import tensorflow, keras"), seconds("import tensorflow, keras, tfsaliency")) for _ in range(7)]
    theirs, with_ours = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(
        f"  import tensorflow, keras {theirs:.2f} s, with tfsaliency {with_ours:.2f} s, more {with_ours - theirs:.2f} s"
    )


if __name__ == "__main__":
    run()
