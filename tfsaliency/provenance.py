import hashlib
import weakref
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.state import SameObject
from tfsaliency.target import Target
from tfsaliency.version import __version__

# Numbers per weight that enter the fingerprint: enough to tell any two states of training apart, few enough to cost
# nothing.
SAMPLED = 64


def provenance(model: keras.Model, target: Target, seconds: float) -> dict[str, Any]:
    """What someone needs to know to make the same values again, as JSON would hold it."""
    return {
        "tfsaliency": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "model": model.name,
        "fingerprint": fingerprint(model),
        "target": str(target),
        "seconds": seconds,
    }


def fingerprint(model: keras.Model) -> str:
    """16 hexadecimal digits that differ between models, and between states of one model.

    A hash of the path, shape and type of every weight and of 64 numbers spread evenly over it: an explanation pays for
    it at each call, so it does not read every number, and a change of single numbers can escape it.
    """
    weights = model.weights
    known = tuple(map(SameObject, weights))
    if model not in _readers or _readers[model].weights != known:
        _readers[model] = _Reader(known, _describe(weights), _sampler(weights))
    reader = _readers[model]
    return hashlib.sha256(reader.description + reader.sample().numpy().tobytes()).hexdigest()[:16]


class _Reader(NamedTuple):
    """What does not change between two states of the same weights."""

    weights: tuple[SameObject, ...]
    description: bytes
    sample: tf.types.experimental.ConcreteFunction


_readers: weakref.WeakKeyDictionary[keras.Model, _Reader] = weakref.WeakKeyDictionary()


def _describe(weights: list[keras.Variable]) -> bytes:
    return "\n".join(f"{weight.path} {tuple(weight.shape)} {weight.dtype}" for weight in weights).encode()


def _sampler(weights: list[keras.Variable]) -> tf.types.experimental.ConcreteFunction:
    """Reads all samples in one compiled call: one by one, hundreds of weights would take tens of milliseconds."""
    variables = [weight.value for weight in weights if tf.as_dtype(weight.dtype).is_numeric]

    def sample() -> tf.Tensor:
        return tf.concat([tf.zeros([0], tf.float64), *map(_spread, variables)], axis=0)

    return tf.function(sample, autograph=False).get_concrete_function()


def _spread(variable: tf.Variable) -> tf.Tensor:
    flat = tf.reshape(variable, [-1])
    return tf.cast(flat[:: max(1, variable.shape.num_elements() // SAMPLED)], tf.float64)
