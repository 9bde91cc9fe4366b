"""What Quantus and Xplique say about fixed cases, for ``tests/metrics/test_against_others.py``.

In an environment of its own, with the TensorFlow and Keras that tfsaliency is tested with:

    pip install quantus==0.6.0 xplique==2.0.2 tensorflow keras
    python -m benchmarks.peers.metrics

Both are asked through what they compute with, batch by batch. Quantus would divide maps by the largest number of a
batch before, and Xplique would return one mean of all samples.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
import quantus
import tensorflow as tf
import xplique.metrics
from quantus.functions.similarity_func import correlation_spearman

from tests.metrics import others

QUIET = {"disable_warnings": True, "display_progressbar": False}


class Predictor:
    """A NumPy function as Quantus asks a model."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]):
        self.predict = function

    def shape_input(self, x: np.ndarray, shape: tuple[int, ...], **options: Any) -> np.ndarray:
        return x.reshape(shape)


class SameMasks(xplique.metrics.MuFidelity):
    """With the sets of `tests.metrics.others` in the place of random ones."""

    def _perturb_samples(self, inputs: tf.Tensor, nb_perturbations: int) -> tuple[tf.Tensor, tf.Tensor]:
        hidden = others.HIDDEN[others.ACROSS**2].reshape(-1, others.ACROSS, others.ACROSS)
        kept = 1 - np.kron(hidden, np.ones((1, others.PIXELS, others.PIXELS)))[None, ..., None].astype("float32")
        seen = inputs[:, None] * kept + self.baseline_mode * (1 - kept)
        return tf.reshape(seen, [-1, *inputs.shape[1:]]), tf.repeat(kept, len(inputs), axis=0)


def of_quantus() -> dict[str, Any]:
    """The metrics of Quantus that are right."""
    network, maps, masks = Predictor(others.logits), others.POSITIVE, others.MASKS
    of_network = {"x_batch": others.TABLE, "y_batch": others.CLASSES, "a_batch": others.MAPS}
    hidden = others.HIDDEN[others.COLUMNS]
    # One set for each run, the same for each sample.
    drawn = [np.flatnonzero(each) for each in hidden for _ in range(others.ROWS)]
    options = {"similarity_func": correlation_spearman, "perturb_baseline": others.FILL, **QUIET}
    with mock.patch("numpy.random.choice", side_effect=drawn):
        correlation = quantus.FaithfulnessCorrelation(
            nr_runs=len(hidden), subset_size=int(hidden[0].sum()), return_aggregate=False, **options
        ).evaluate_batch(network, **of_network)
    sizes = masks.sum(axis=1)
    top = [
        quantus.TopKIntersection(k=int(size), **QUIET).evaluate_batch(a_batch=maps, s_batch=masks)[row]
        for row, size in enumerate(sizes)
        if size
    ]
    return {
        "Sparseness": quantus.Sparseness(**QUIET).evaluate_batch(x_batch=None, a_batch=maps.copy()),
        "Complexity": quantus.Complexity(**QUIET).evaluate_batch(x_batch=None, a_batch=maps.copy()),
        "RelevanceMassAccuracy": quantus.RelevanceMassAccuracy(**QUIET).evaluate_batch(a_batch=maps, s_batch=masks),
        "RelevanceRankAccuracy": quantus.RelevanceRankAccuracy(**QUIET).evaluate_batch(a_batch=maps, s_batch=masks),
        "TopKIntersection": top,
        "FaithfulnessCorrelation": correlation,
        "FaithfulnessEstimate": quantus.FaithfulnessEstimate(**options).evaluate_batch(network, **of_network),
    }


def defects_of_quantus() -> dict[str, Any]:
    """What it says where it is wrong."""
    linear, few = Predictor(lambda x: x @ others.LINEAR), {"features_in_step": 2, **QUIET}
    exact = {"x_batch": others.TABLE, "y_batch": others.CLASSES, "a_batch": others.EXACT}
    beside = np.concatenate([others.POSITIVE[:1], 1000 * others.POSITIVE[1:2]])
    complexity = quantus.EffectiveComplexity(eps=0.01, **QUIET)
    return {
        "Completeness of exact maps": quantus.Completeness(perturb_baseline=0.0, **QUIET).evaluate_batch(
            linear, **exact
        ),
        "Monotonicity of exact maps": quantus.Monotonicity(**few).evaluate_batch(linear, **exact),
        "Monotonicity of their inverse": quantus.Monotonicity(**few).evaluate_batch(
            linear, **(exact | {"a_batch": -others.EXACT})
        ),
        "PointingGame, the last mask is empty": quantus.PointingGame(**QUIET).evaluate_batch(
            a_batch=others.POSITIVE, s_batch=others.MASKS
        ),
        "EffectiveComplexity of the first map, alone and beside one of large numbers": [
            complexity.evaluate_batch(a_batch=quantus.normalise_by_max(maps))[0] for maps in (beside[:1], beside)
        ],
    }


def network(last: str | None) -> keras.Model:
    """The network of `tests.metrics.others` for pictures."""
    model = keras.Sequential([keras.Input(others.PICTURES.shape[1:]), keras.layers.Flatten()])
    model.add(keras.layers.Dense(5, "tanh"))
    model.add(keras.layers.Dense(3, last))
    model.set_weights(others.weights(others.PICTURES[0].size))
    return model


def of_xplique() -> dict[str, Any]:
    """The metrics of Xplique, sample by sample."""
    maps, labels = others.PICTURE_MAPS, np.eye(3, dtype="float32")[others.CLASSES]

    def each(metric: Callable[..., Any], model: keras.Model, **options: Any) -> list[float]:
        rows = [slice(row, row + 1) for row in range(others.ROWS)]
        options["baseline_mode"] = others.FILL
        return [metric(model, others.PICTURES[row], labels[row], **options).evaluate(maps[row]) for row in rows]

    logits, probabilities = network(None), network("softmax")
    return {
        "Sparseness": xplique.metrics.Sparseness().detailed_evaluate(maps),
        "Complexity": xplique.metrics.Complexity().detailed_evaluate(maps),
        "MuFidelity": each(SameMasks, logits, nb_samples=others.SETS),
        "Deletion": each(xplique.metrics.Deletion, probabilities, steps=others.STEPS),
        "Insertion": each(xplique.metrics.Insertion, probabilities, steps=others.STEPS),
    }


if __name__ == "__main__":
    for library, told in (
        ("Quantus", of_quantus()),
        ("Quantus, where it is wrong", defects_of_quantus()),
        ("Xplique", of_xplique()),
    ):
        print(library)
        for name, values in told.items():
            said = np.asarray(values)
            print(f"    {name!r}: {(said if said.dtype == bool else said.astype('float64').round(7)).tolist()},")
