"""What every method costs as it comes, in forward passes of the model: the column of the page "Which method?"."""

import numpy as np
import tensorflow as tf

from benchmarks.floor import ratios
from tfsaliency import zoo
from tfsaliency.methods import METHODS

# Of methods that take less than so many forward passes, more than one measurement is taken.
CHEAP = 100


def run() -> None:
    model = zoo.efficientnet_lite0()
    photos = np.concatenate([zoo.preprocess(photo) for photo in zoo.photographs().values()])
    print(f"\ncost: EfficientNet-Lite0, {len(photos)} photographs, time over that of a forward pass of as many")
    print("  median of 1 run, or of 7 where that is less than 100 forward passes")

    infer = tf.function(lambda x: model(x, training=False))

    def forward() -> None:
        infer(tf.constant(photos)).numpy()

    for name, method in METHODS.items():
        explainer = method(model)  # type: ignore[call-arg]
        (cost,) = ratios(1, forward, lambda explainer=explainer: explainer.explain(photos))
        if cost < CHEAP:
            (cost,) = ratios(7, forward, lambda explainer=explainer: explainer.explain(photos))
        print(f"  {name:28} {cost:8.1f}", flush=True)


if __name__ == "__main__":
    run()
