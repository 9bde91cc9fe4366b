"""Seconds of Xplique, tf-keras-vis, tf-explain and PAIR saliency over ours, on MobileNetV2.

In an environment of its own, with the TensorFlow and Keras that tfsaliency is tested with; ``--no-deps`` because some
pin years-old ones:

    pip install . tf_keras scipy==1.15.3 einops dm-tree decorator cloudpickle
    pip install --no-deps xplique==2.0.2 tf-keras-vis==0.8.7 tf-explain==0.3.1 saliency==0.2.1
    pip install --no-deps tensorflow-probability==0.25.0 deprecated imageio
    python -m benchmarks.peers.speed
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import saliency.core
import tensorflow as tf
import tf_explain.core
import tf_keras_vis.gradcam
import tf_keras_vis.saliency
import xplique.attributions
from tf_keras_vis.utils.scores import CategoricalScore

import tfsaliency as tfs
from benchmarks.floor import medians

IMAGES, CLASS, COPIES, PATCH, MASKS = 16, 7, 50, 32, 512
LAYER = "out_relu"
RUNS = 5

Task = Callable[[], object]


def run() -> None:
    keras.utils.set_random_seed(0)
    # Without a softmax: not all of them can look behind one.
    model = keras.applications.MobileNetV2(weights=None, classifier_activation=None)
    images = np.random.default_rng(0).normal(size=(IMAGES, 224, 224, 3)).astype("float32")
    rows = {
        f"gradient of {IMAGES} images": _gradient(model, images),
        f"SmoothGrad, {COPIES} copies of one image": _smoothgrad(model, images[:1]),
        f"Integrated Gradients, {COPIES} steps of one image": _integrated(model, images[:1]),
        f"Grad-CAM of {IMAGES} images": _gradcam(model, images),
        f"Occlusion by patches of {PATCH} pixels, one image": _occlusion(model, images[:1]),
        f"RISE, {MASKS} masks of one image": _rise(model, images[:1]),
    }
    names = ("Xplique", "tf-keras-vis", "tf-explain", "saliency")
    print("\npeers: times over ours, medians; no number where a library has no such method\n")
    print(f"| | ours, seconds | {' | '.join(names)} |\n| --- | --- | {' | '.join('---' for _ in names)} |")
    for what, tasks in rows.items():
        seconds = dict(zip(tasks, medians(RUNS, *tasks.values()), strict=True))
        ours = seconds["ours"]
        ratios = (f"{seconds[name] / ours:.2f}" if name in seconds else "-" for name in names)
        print(f"| {what} | {ours:.3f} | {' | '.join(ratios)} |", flush=True)


def _gradient(model: keras.Model, images: np.ndarray) -> dict[str, Task]:
    ours, score = tfs.Gradient(model), CategoricalScore([CLASS] * len(images))
    theirs = tf_keras_vis.saliency.Saliency(model, clone=False)
    xplique_ = xplique.attributions.Saliency(model)
    pair = saliency.core.GradientSaliency()
    call = _for_pair(model)
    return {
        "ours": lambda: ours.explain(images, CLASS),
        "Xplique": lambda: xplique_.explain(images, _one_hot(images)),
        "tf-keras-vis": lambda: theirs(score, images),
        "tf-explain": lambda: tf_explain.core.VanillaGradients().explain((images, None), model, CLASS),
        "saliency": lambda: [pair.GetMask(image, call) for image in images],
    }


def _smoothgrad(model: keras.Model, images: np.ndarray) -> dict[str, Task]:
    ours, score = tfs.SmoothGrad(model, samples=COPIES), CategoricalScore([CLASS])
    theirs = tf_keras_vis.saliency.Saliency(model, clone=False)
    xplique_ = xplique.attributions.SmoothGrad(model, nb_samples=COPIES)
    explain = tf_explain.core.SmoothGrad()
    pair = saliency.core.GradientSaliency()
    call = _for_pair(model)
    return {
        "ours": lambda: ours.explain(images, CLASS),
        "Xplique": lambda: xplique_.explain(images, _one_hot(images)),
        "tf-keras-vis": lambda: theirs(score, images, smooth_samples=COPIES, smooth_noise=0.15),
        "tf-explain": lambda: explain.explain((images, None), model, CLASS, num_samples=COPIES),
        "saliency": lambda: pair.GetSmoothedMask(images[0], call, nsamples=COPIES, magnitude=False),
    }


def _integrated(model: keras.Model, images: np.ndarray) -> dict[str, Task]:
    ours = tfs.IntegratedGradients(model, steps=COPIES)
    xplique_ = xplique.attributions.IntegratedGradients(model, steps=COPIES)
    explain = tf_explain.core.IntegratedGradients()
    pair = saliency.core.IntegratedGradients()
    call = _for_pair(model)
    black = np.zeros_like(images[0])
    return {
        "ours": lambda: ours.explain(images, CLASS),
        "Xplique": lambda: xplique_.explain(images, _one_hot(images)),
        "tf-explain": lambda: explain.explain((images, None), model, CLASS, n_steps=COPIES),
        "saliency": lambda: pair.GetMask(images[0], call, x_steps=COPIES, x_baseline=black, batch_size=32),
    }


def _gradcam(model: keras.Model, images: np.ndarray) -> dict[str, Task]:
    ours, score = tfs.GradCAM(model), CategoricalScore([CLASS] * len(images))
    theirs = tf_keras_vis.gradcam.Gradcam(model, clone=False)
    xplique_ = xplique.attributions.GradCAM(model, conv_layer=LAYER)
    explain = tf_explain.core.GradCAM()
    return {
        "ours": lambda: ours.explain(images, CLASS),
        "Xplique": lambda: xplique_.explain(images, _one_hot(images)),
        "tf-keras-vis": lambda: theirs(score, images, penultimate_layer=LAYER),
        "tf-explain": lambda: explain.explain((images, None), model, CLASS, layer_name=LAYER),
    }


def _occlusion(model: keras.Model, images: np.ndarray) -> dict[str, Task]:
    ours = tfs.Occlusion(model, window=PATCH, stride=PATCH)
    xplique_ = xplique.attributions.Occlusion(model, patch_size=PATCH, patch_stride=PATCH)
    explain = tf_explain.core.OcclusionSensitivity()
    return {
        "ours": lambda: ours.explain(images, CLASS),
        "Xplique": lambda: xplique_.explain(images, _one_hot(images)),
        "tf-explain": lambda: explain.explain((images, None), model, CLASS, PATCH),
    }


def _rise(model: keras.Model, images: np.ndarray) -> dict[str, Task]:
    ours = tfs.RISE(model, samples=MASKS)
    xplique_ = xplique.attributions.Rise(model, nb_samples=MASKS)
    return {
        "ours": lambda: ours.explain(images, CLASS),
        "Xplique": lambda: xplique_.explain(images, _one_hot(images)),
    }


def _for_pair(model: keras.Model) -> Callable[..., dict[str, np.ndarray]]:
    """What PAIR saliency asks its user to write, in its faster form."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))])
    def gradients(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = model(x, training=False)[:, CLASS]
        return tape.gradient(score, x)

    def call(x: Any, call_model_args: Any = None, expected_keys: Any = None) -> dict[str, np.ndarray]:
        return {saliency.core.INPUT_OUTPUT_GRADIENTS: gradients(tf.constant(np.asarray(x, "float32"))).numpy()}

    return call


def _one_hot(images: np.ndarray) -> np.ndarray:
    return np.eye(1000, dtype="float32")[[CLASS] * len(images)]


if __name__ == "__main__":
    run()
