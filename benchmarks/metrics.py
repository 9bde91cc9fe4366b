"""What a metric costs over the forward passes that it asks for, at the best batch."""

from functools import partial

import numpy as np
import tensorflow as tf

import tfsaliency as tfs
from benchmarks.floor import ratios
from tfsaliency import zoo

# Copies of photographs that go through the model at once, for the floor.
BATCH = 32


def run() -> None:
    model = zoo.efficientnet_lite0()
    four = np.concatenate([zoo.preprocess(photo) for photo in zoo.photographs().values()])
    photos = np.concatenate([four, four[:, :, ::-1]])
    explanation = tfs.Gradient(model).explain(photos)
    infer = tf.function(lambda x: model(x, training=False))
    batch = tf.constant(np.tile(photos, (BATCH // len(photos), 1, 1, 1)))

    def passes(number: int) -> None:
        for _ in range(number * len(photos) // BATCH):
            infer(batch).numpy()

    print(f"\nmetrics: EfficientNet-Lite0, {len(photos)} photographs, time over forward passes in batches of {BATCH}")
    for number in (20, 80):
        for metric in (
            tfs.metrics.Deletion(model, tfs.baselines.mean(), steps=number),
            tfs.metrics.Insertion(model, tfs.baselines.mean(), steps=number),
            tfs.metrics.MuFidelity(model, tfs.baselines.mean(), masks=number),
        ):
            (cost,) = ratios(7, partial(passes, number), partial(metric.measure, explanation))
            print(
                f"  {type(metric).__name__:12} {number} forward passes, and one for the inputs {cost:6.2f}", flush=True
            )


if __name__ == "__main__":
    run()
