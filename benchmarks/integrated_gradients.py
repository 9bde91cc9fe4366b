"""How many gradients a gap of 1 % takes, refined and by fixed rules; and how far the maps then are from the truth."""

import statistics
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tfsaliency import zoo
from tfsaliency.methods.paths.quadrature import RULES
from tfsaliency.tensors.blur import blur

TOLERANCE = 0.01
STEPS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# Of the midpoint rule whose map counts as the integral's.
REFERENCE = 512
BLOCK = 32


class Network(NamedTuple):
    """A model of logits, inputs, and for each kind of baseline one per input."""

    model: keras.Model
    inputs: np.ndarray
    baselines: dict[str, np.ndarray]


def run() -> None:
    print(
        f"\nintegrated_gradients: gradients until the completeness gap is within {TOLERANCE:.0%}, median (largest)\n"
        f"  over the paths. Of a fixed rule of {STEPS[0]} to {STEPS[-1]} steps: the fewest that meet it, and the\n"
        "  fewest from which on all do, which is what one takes who does not know better; - where all are too few.\n"
        f"  Error: of the map, relative L2, from the midpoint rule of {REFERENCE} steps."
    )
    for name, build in NETWORKS.items():
        report(name, build())


def report(name: str, network: Network) -> None:
    met: dict[str, list[float]] = {rule: [] for rule in RULES}
    stays: dict[str, list[float]] = {rule: [] for rule in RULES}
    errors: dict[str, list[float]] = {"refined": [], "midpoint of as many": [], "gauss_legendre of 50": []}
    used: list[float] = []
    integral = along(network.model)
    for baseline in network.baselines.values():
        refined = tfs.IntegratedGradients(network.model, tfs.baselines.per_sample(baseline))
        explanation = refined.explain(network.inputs)
        for x, x0, index, steps, values in zip(
            network.inputs,
            baseline,
            explanation.target,
            explanation.diagnostics["steps_used"],
            explanation.values,
            strict=True,
        ):
            if not np.isfinite(integral(x, x0, index, "midpoint", 1)[1]):
                # The score is the same at both ends of the way: there is nothing to be complete about.
                continue
            used.append(float(steps))
            exact, _ = integral(x, x0, index, "midpoint", REFERENCE)
            for rule in RULES:
                within = [integral(x, x0, index, rule, n)[1] <= TOLERANCE for n in STEPS]
                met[rule].append(next((n for n, each in zip(STEPS, within, strict=True) if each), np.inf))
                wrong = [place for place, each in enumerate(within) if not each]
                last = wrong[-1] + 1 if wrong else 0
                stays[rule].append(STEPS[last] if last < len(STEPS) else np.inf)
            maps = (
                values,
                integral(x, x0, index, "midpoint", int(steps))[0],
                integral(x, x0, index, "gauss_legendre", 50)[0],
            )
            for key, each in zip(errors, maps, strict=True):
                errors[key].append(np.linalg.norm(each - exact) / np.linalg.norm(exact))
    print(f"  {name}, {len(used)} paths: refined {_text(used)}")
    for rule in RULES:
        print(f"    {rule:16} met {_text(met[rule]):12} stays {_text(stays[rule])}")
    print("    error: " + ", ".join(f"{key} {statistics.median(each):.3f}" for key, each in errors.items()), flush=True)


def _text(numbers: list[float]) -> str:
    median, most = statistics.median(numbers), max(numbers)
    return f"{median:.0f} ({most:.0f})".replace("inf", "-")


def along(model: keras.Model) -> Callable[[np.ndarray, np.ndarray, int, str, int], tuple[np.ndarray, float]]:
    """A function that integrates by a fixed rule, written by hand: the map, and its relative gap."""

    @tf.function(autograph=False, reduce_retracing=True)
    def block(x: tf.Tensor, x0: tf.Tensor, index: tf.Tensor, t: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        points = x0 + tf.reshape(t, [-1] + [1] * (x.shape.rank)) * (x - x0)
        with tf.GradientTape() as tape:
            tape.watch(points)
            score = tf.gather(model(points, training=False), index, axis=1)
        return tf.einsum("n,n...->...", w, tape.gradient(score, points)) * (x - x0)

    def integral(x: np.ndarray, x0: np.ndarray, index: int, rule: str, steps: int) -> tuple[np.ndarray, float]:
        nodes, edges = RULES[rule](steps)
        weights = np.diff(edges)
        values = sum(
            block(
                tf.constant(x),
                tf.constant(x0),
                tf.constant(index),
                tf.constant(nodes[first : first + BLOCK], tf.float32),
                tf.constant(weights[first : first + BLOCK], tf.float32),
            ).numpy()
            for first in range(0, steps, BLOCK)
        )
        ends = model(np.stack([x0, x]), training=False).numpy()[:, index]
        change = float(ends[1] - ends[0])
        return values, abs(float(values.sum()) - change) / abs(change) if change else np.inf

    return integral


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


def saturating() -> Network:
    """The same behind a steep sigmoid: nearly all of the change lies on a short part of the way."""
    network = stripes("silu")
    x = keras.Input((24, 24, 1))
    steep = layers.Lambda(lambda z: 5 * keras.ops.tanh(z))
    return network._replace(model=keras.Model(x, steep(network.model(x))))


NETWORKS: dict[str, Callable[[], Network]] = {
    "EfficientNet-Lite0 (ReLU6)": photographs,
    "stripes, GELU": lambda: stripes("gelu"),
    "stripes, SiLU": lambda: stripes("silu"),
    "stripes, ReLU": lambda: stripes("relu"),
    "stripes, saturating": saturating,
}

if __name__ == "__main__":
    run()
