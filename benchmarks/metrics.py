"""What a metric costs over the forward passes that it asks for, at the best batch."""

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
    for metric, number in (
        (tfs.metrics.Deletion(model, tfs.baselines.mean(), steps=80), 80),
        (tfs.metrics.Insertion(model, tfs.baselines.mean(), steps=80), 80),
        (tfs.metrics.MuFidelity(model, tfs.baselines.mean(), masks=80), 80),
    ):
        (cost,) = ratios(5, lambda number=number: passes(number), lambda metric=metric: metric.measure(explanation))
        print(f"  {type(metric).__name__:12} {number} forward passes {cost:6.2f}", flush=True)
    twenty = tfs.metrics.Deletion(model, tfs.baselines.mean(), steps=20)
    (cost,) = ratios(5, lambda: passes(20), lambda: twenty.measure(explanation))
    print(
        f"  {'Deletion':12} 20 forward passes, of which it makes one more for the inputs as they are {cost:6.2f}",
        flush=True,
    )


if __name__ == "__main__":
    run()
