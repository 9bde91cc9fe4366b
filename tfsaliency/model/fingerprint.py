"""Which model it is, and whether its layers or weights have changed."""

import hashlib
import weakref
from collections.abc import Hashable
from typing import NamedTuple

import keras
import tensorflow as tf

from tfsaliency.base.keys import SameObject

# Numbers per weight that enter the fingerprint: enough to tell any two states of training apart, and few enough to cost
# nothing.
SAMPLED = 64


def anatomy(model: keras.Model) -> Hashable:
    """A key that changes when a layer, variable or activation is added, removed or replaced, at any depth of models."""
    return tuple(map(SameObject, model.variables)), _parts(model)


def _parts(layer: keras.Layer) -> Hashable:
    inner = getattr(layer, "layers", None)
    activation = getattr(layer, "activation", None)
    return (
        SameObject(layer),
        None if activation is None else SameObject(activation),
        tuple(map(_parts, inner)) if isinstance(inner, list) else (),
    )


def fingerprint(model: keras.Model) -> str:
    """16 hexadecimal digits that differ between models, and between states of one model.

    They are a hash of the path, shape and type of every weight and of 64 numbers spread evenly over it. Every
    explanation pays for the fingerprint, so it does not read every number, and a change of single numbers can escape.
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
