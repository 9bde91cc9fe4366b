"""How many gradients a map takes, refined and by fixed rules, how far it then is from the integral, and what it says.

python -m benchmarks integrated_gradients
"""

import statistics
from collections.abc import Callable
from typing import NamedTuple

import cv2
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

import tfsaliency as tfs
from tfsaliency import zoo
from tfsaliency.tensors.blur import blur

TOLERANCES = (0.2, 0.1, 0.05, 0.02)
# Of the midpoint rule whose map counts as the integral's.
REFERENCE = 1024
RULES = ("midpoint", "trapezoid", "gauss_legendre")


class Network(NamedTuple):
    """A model of logits, inputs, and for each kind of baseline one per input."""

    model: keras.Model
    inputs: np.ndarray
    baselines: dict[str, np.ndarray]


class Found(NamedTuple):
    """What one way of integrating gave for all paths of a network, ``(paths,)`` each."""

    used: np.ndarray
    error: np.ndarray
    told: np.ndarray


def run() -> None:
    print(
        "\nintegrated_gradients: gradients, and error of the map (relative L2, from the midpoint rule of "
        f"{REFERENCE} steps),\n  each median (largest) over the paths; the error that the map tells over the true one, "
        "median (least to largest)"
    )
    for name, build in NETWORKS.items():
        report(name, build())


def report(name: str, network: Network) -> None:
    truth = _maps(network, steps=REFERENCE, tolerance=1.0)[0]
    print(f"  {name}, {len(truth)} paths", flush=True)
    for tolerance in TOLERANCES:
        found = _against(truth, network, tolerance=tolerance)
        print(f"    refined to {tolerance:4.0%}           {_text(found)}", flush=True)
        fewest = max(3, int(statistics.median(found.used)))
        for rule in RULES:
            of_rule = _against(truth, network, steps=fewest, quadrature=rule, tolerance=1.0)
            print(f"      {rule:14} of as many {_text(of_rule)}", flush=True)


def _against(truth: np.ndarray, network: Network, **options: object) -> Found:
    values, used, told = _maps(network, **options)
    size = np.linalg.norm(truth, axis=1)
    # What stands still has no map to be wrong about.
    moves = size > 0
    return Found(used[moves], (np.linalg.norm(values - truth, axis=1)[moves] / size[moves]), told[moves])


def _maps(network: Network, **options: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = [
        tfs.IntegratedGradients(network.model, tfs.baselines.per_sample(baseline), **options).explain(network.inputs)
        for baseline in network.baselines.values()
    ]
    return (
        np.concatenate([each.values.reshape(len(each), -1).astype("float64") for each in found]),
        np.concatenate([each.diagnostics["steps_used"] for each in found]),
        np.concatenate([each.diagnostics["relative_error"] for each in found]),
    )


def _text(found: Found) -> str:
    share = found.told / np.maximum(found.error, 1e-9)
    return (
        f"{np.median(found.used):4.0f} ({found.used.max():3.0f}) gradients   "
        f"{100 * np.median(found.error):5.2f} ({100 * found.error.max():5.2f}) %   "
        f"{np.median(share):5.2f} ({share.min():.2f} to {share.max():.2f}), "
        f"{np.mean((share >= 0.8) & (share <= 1.25)):.0%} within 0.8 to 1.25"
    )


def photographs() -> Network:
    model = zoo.efficientnet_lite0()
    # Its softmax is within the dense layer: what is left are the logits.
    model.layers[-1].activation = keras.activations.linear
    inputs = np.concatenate([zoo.preprocess(photo) for photo in zoo.photographs().values()])
    black = np.broadcast_to(zoo.preprocess(np.zeros((224, 224, 3), "uint8")), inputs.shape)
    blurred = blur(tf.constant(inputs), tf.fill([len(inputs)], 20.0)).numpy()
    return Network(model, inputs, {"mean colour": np.zeros_like(inputs), "black": black, "blurred": blurred})


def stripes(activation: str) -> Network:
    """A small network, trained to tell four directions of noisy stripes."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)

    def draw(number: int) -> tuple[np.ndarray, np.ndarray]:
        classes, places = generator.integers(0, 4, number), np.arange(24)
        angles = classes * np.pi / 4 + 0.15 * generator.normal(size=number)
        down, right = (np.multiply.outer(part, places) for part in (np.cos(angles), np.sin(angles)))
        phase = generator.uniform(0, 6.28, size=(number, 1, 1))
        waves = np.sin(0.6 * (down[:, :, None] + right[:, None]) + phase)
        noise = 0.15 * generator.normal(size=waves.shape)
        return (0.5 + 0.4 * waves + noise)[..., None].astype("float32"), classes

    convolutions = [layers.Conv2D(16, 5, activation=activation)]
    convolutions += [layers.Conv2D(filters, 3, strides=2, activation=activation) for filters in (24, 32)]
    head = [layers.GlobalAveragePooling2D(), layers.Dense(32, activation), layers.Dense(4)]
    model = keras.Sequential([keras.Input((24, 24, 1)), *convolutions, *head])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*draw(2000), epochs=6, batch_size=64, verbose=0)
    inputs, _ = draw(4)
    constants = {f"{value}": np.full_like(inputs, value) for value in (0.0, 0.5, 1.0)}
    return Network(model, inputs, constants)


def residual_digits() -> Network:
    """A small residual network with normalizations, trained on 1,400 digits."""
    keras.utils.set_random_seed(0)
    pictures, labels = load_digits(return_X_y=True)
    pictures = pictures.reshape(-1, 8, 8, 1).astype("float32") / 16

    def convolved(x: tf.Tensor) -> tf.Tensor:
        return layers.BatchNormalization()(layers.Conv2D(32, 3, padding="same", use_bias=False)(x))

    x = keras.Input((8, 8, 1))
    y = layers.ReLU()(convolved(x))
    for _ in range(3):
        y = layers.ReLU()(y + convolved(layers.ReLU()(convolved(y))))
    model = keras.Model(x, layers.Dense(10)(layers.GlobalAveragePooling2D()(y)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(pictures[:1400], labels[:1400], epochs=15, batch_size=32, verbose=0)
    inputs = pictures[1400:1404]
    constants = {f"{value}": np.full_like(inputs, value) for value in (0.0, 0.5, 1.0)}
    return Network(model, inputs, constants)


def mobilenet() -> Network:
    """MobileNetV2 with random weights, whose normalizations have the statistics of the photographs."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None, classifier_activation=None)
    inputs = np.stack([photo / 127.5 - 1 for photo in _squares()]).astype("float32")
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(inputs, training=True)
    black, grey = np.full_like(inputs, -1), np.zeros_like(inputs)
    blurred = blur(tf.constant(inputs), tf.fill([len(inputs)], 20.0)).numpy()
    return Network(model, inputs, {"black": black, "grey": grey, "blurred": blurred})


def _squares() -> list[np.ndarray]:
    return [cv2.resize(photo, (224, 224), interpolation=cv2.INTER_AREA) for photo in zoo.photographs().values()]


def saturating() -> Network:
    """The same behind a steep sigmoid: nearly all of the change lies on a short part of the way."""
    network = stripes("silu")
    x = keras.Input((24, 24, 1))
    steep = layers.Lambda(lambda z: 5 * keras.ops.tanh(z))
    return network._replace(model=keras.Model(x, steep(network.model(x))))


NETWORKS: dict[str, Callable[[], Network]] = {
    "EfficientNet-Lite0 (ReLU6)": photographs,
    "residual digits (ReLU)": residual_digits,
    "MobileNetV2, random weights (ReLU6)": mobilenet,
    "stripes, GELU": lambda: stripes("gelu"),
    "stripes, SiLU": lambda: stripes("silu"),
    "stripes, ReLU": lambda: stripes("relu"),
    "stripes, saturating": saturating,
}

if __name__ == "__main__":
    run()
