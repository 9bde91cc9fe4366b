"""What a metric costs over the forward passes that it asks for, at the best batch; and what a table costs."""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

import tfsaliency as tfs
from benchmarks.datasets import photographs
from benchmarks.floor import ratios, seconds_of
from tfsaliency import zoo

# Copies of photographs that go through the model at once, for the floor.
BATCH = 32
# Of the table: photographs, and the methods that explain them with their defaults.
PHOTOGRAPHS = 20
COMPARED = (
    tfs.Gradient,
    tfs.GradientTimesInput,
    tfs.SmoothGrad,
    tfs.IntegratedGradients,
    tfs.GuidedBackprop,
    tfs.LRP,
    tfs.DeepLIFT,
    tfs.GradCAM,
    tfs.HiResCAM,
    tfs.Occlusion,
)


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
    _table(model)


def _table(model: keras.Model) -> None:
    # Copies of four, each with noise of its own: no two explanations are the same.
    inputs = photographs(PHOTOGRAPHS) + np.random.default_rng(0).normal(0, 0.05, (PHOTOGRAPHS, 224, 224, 3))
    blur, mean = tfs.metrics.blur_for(224), tfs.baselines.mean()
    asked = [metric(model, fill) for fill in (blur, mean) for metric in (tfs.metrics.Deletion, tfs.metrics.Insertion)]
    asked += [tfs.metrics.MuFidelity(model, blur), tfs.metrics.SingleDeletion(model, blur)]
    methods = [method(model) for method in COMPARED]
    minutes = seconds_of(lambda: tfs.metrics.compare(methods, inputs, metrics=asked)) / 60
    print(
        f"  a table of {PHOTOGRAPHS} photographs, {len(COMPARED)} methods, the controls and {len(asked)} metrics: "
        f"{minutes:.1f} minutes"
    )


if __name__ == "__main__":
    run()
