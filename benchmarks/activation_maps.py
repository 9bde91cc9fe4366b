"""`GradCAM` against one forward pass and the backward pass of what lies above its layer."""

import keras
import numpy as np
import tensorflow as tf

import tfsaliency as tfs
from benchmarks.floor import MODELS, ratios

IMAGES = 16
LAYERS = {"EfficientNet-Lite0": "head_relu6", "MobileNetV2": "out_relu", "ResNet50": "conv5_block3_out"}


def run() -> None:
    print(f"\nactivation_maps: time of {IMAGES} images over that of a forward pass and the head's backward pass")
    for name, build in MODELS.items():
        report(name, build())


def report(name: str, model: keras.Model) -> None:
    images = np.random.default_rng(0).normal(size=(IMAGES, *model.input_shape[1:])).astype("float32")
    below = keras.Model(model.input, model.get_layer(LAYERS[name]).output)
    above = keras.Model(model.get_layer(LAYERS[name]).output, model.output)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))])
    def floor(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        activations = below(x, training=False)
        with tf.GradientTape() as tape:
            tape.watch(activations)
            score = above(activations, training=False).op.inputs[0][:, 7]
        return activations, tape.gradient(score, activations)

    explainer = tfs.GradCAM(model)
    gradient = tfs.Gradient(model)
    ours, whole = ratios(
        15,
        lambda: [each.numpy() for each in floor(tf.constant(images))],
        lambda: explainer.explain(images, 7),
        lambda: gradient.explain(images, 7),
    )
    print(f"  {name:18} GradCAM {ours:.3f}   for comparison Gradient {whole:.3f}", flush=True)


if __name__ == "__main__":
    run()
