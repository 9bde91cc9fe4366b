"""SmoothGrad and Integrated Gradients of token ids, over a bare gradient at the vectors that are looked up for them."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from benchmarks.floor import ratios

GRADIENTS, RUNS = 256, 9
# Of the floor, the best size is taken.
BATCHES = (32, 64, 128)


def lstm() -> tuple[int, int, list[keras.Layer]]:
    """The sizes of a sentiment classifier: 100 words, vectors of 50."""
    return 100, 50, [layers.LSTM(64, return_sequences=True), layers.LSTM(32), layers.Dense(64, "relu"), layers.Dense(3)]


class Block(layers.Layer):
    """A block of a transformer, normalized behind each half, as BERT has it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.first, self.second = layers.LayerNormalization(), layers.LayerNormalization()
        self.inner, self.outer = layers.Dense(4 * width, "gelu"), layers.Dense(width)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = self.first(x + self.attention(x, x))
        return self.second(x + self.outer(self.inner(x)))


def bert_tiny() -> tuple[int, int, list[keras.Layer]]:
    """Two blocks of 128 numbers with two heads, over 128 tokens."""
    return 128, 128, [Block(128, 2), Block(128, 2), layers.GlobalAveragePooling1D(), layers.Dense(3)]


def run() -> None:
    print(f"\ntokens: time per gradient over a bare one at the vectors, {GRADIENTS} gradients, one text")
    for build in (lstm, bert_tiny):
        report(build.__name__, *build())


def report(name: str, length: int, width: int, rest: list[keras.Layer]) -> None:
    table = layers.Embedding(5000, width)
    ids, vectors = keras.Input((length,), dtype="int32"), keras.Input((length, width))
    model = keras.Model(ids, keras.Sequential(rest)(table(ids)))
    below = keras.Model(vectors, model.layers[-1](vectors))
    text = np.random.default_rng(0).integers(1, 5000, (1, length))

    @tf.function(autograph=False)
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = below(x, training=False)[:, 1]
        return tape.gradient(score, x)

    def floor_of(batch: int) -> Callable[[], object]:
        x = tf.repeat(table(text), batch, axis=0)
        return lambda: [gradient(x) for _ in range(GRADIENTS // batch)]

    floors = {batch: floor_of(batch) for batch in BATCHES}
    seconds = dict(zip(BATCHES, ratios(3, floors[BATCHES[0]], *floors.values()), strict=True))
    best = min(seconds, key=seconds.get)
    methods = {
        "SmoothGrad": tfs.SmoothGrad(model, samples=GRADIENTS),
        "IntegratedGradients": tfs.IntegratedGradients(model, steps=GRADIENTS, tolerance=1.0),
    }
    tasks = [lambda method=method: method.explain(text, 1) for method in methods.values()]
    for method, ratio in zip(methods, ratios(RUNS, floors[best], *tasks), strict=True):
        print(f"  {name:10} {method:20} {ratio:.3f}   (floor at {best} rows)")


if __name__ == "__main__":
    run()
