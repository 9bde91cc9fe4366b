"""Which model it is, and whether its layers or weights have changed."""

import hashlib
import weakref
from collections.abc import Hashable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.model.keys import SameObject, key_of, same_object

# Numbers per weight that enter the fingerprint: enough to tell any two states of training apart, and few enough to cost
# nothing.
SAMPLED = 64


class Anatomy:
    """All that Python says about a model, as a key whose hash is computed once."""

    def __init__(self, key: Hashable):
        self._key, self._hash = key, hash(key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Anatomy) and self.is_of(other._key)

    def is_of(self, key: Hashable) -> bool:
        """Whether it was made from an equal key."""
        return self._key == key


_last: weakref.WeakKeyDictionary[keras.Model, Anatomy] = weakref.WeakKeyDictionary()


def anatomy(model: keras.Model) -> Anatomy:
    """A key that changes when a trace of the model becomes stale.

    It changes with any attribute of a layer, at any depth, and with all that the code of the user's own layers reads
    from outside. New values of variables do not change it.
    """
    key = key_of(model)
    last = _last.get(model)
    if last is None or not last.is_of(key):
        last = _last[model] = Anatomy(key)
    return last


def fingerprint(model: keras.Model) -> str:
    """16 hexadecimal digits that differ between models, and between states of one model.

    They are a hash of the path, shape and type of every weight and of 64 numbers spread evenly over it. Every
    explanation pays for the fingerprint, so it does not read every number, and a change of single numbers can escape.
    """
    weights = model.weights
    known = tuple(map(same_object, weights))
    if model not in _readers or _readers[model].weights != known:
        # The variables of Keras 3 hold those of TensorFlow.
        held = (weight.value if isinstance(weight, keras.Variable) else weight for weight in weights)
        # A vocabulary of tf_keras is a weight without a type.
        typed = (variable for variable in held if hasattr(variable, "dtype"))
        numeric = [variable for variable in typed if tf.as_dtype(variable.dtype).is_numeric]
        _readers[model] = _Reader(known, _describe(weights), [(each.handle, each.dtype) for each in numeric])
    digest = hashlib.sha256(_readers[model].description)
    for handle, dtype in _readers[model].handles:
        # Unlike Variable.numpy(), asarray does not copy: half a second for VGG16. A compiled function would take longer
        # to trace than the gradient of the model.
        flat = np.asarray(tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)).reshape(-1)
        digest.update(flat[:: max(1, flat.size // SAMPLED)].tobytes())
    return digest.hexdigest()[:16]


class _Reader(NamedTuple):
    """What does not change between two states of the same weights.

    Attributes:
        weights: the weights, for comparison.
        description: their paths, shapes and types.
        handles: the handle and type of each weight that is a number.
    """

    weights: tuple[SameObject, ...]
    description: bytes
    handles: list[tuple[tf.Tensor, tf.DType]]


_readers: weakref.WeakKeyDictionary[keras.Model, _Reader] = weakref.WeakKeyDictionary()


def _describe(weights: list[Any]) -> bytes:
    names = [weight.path if isinstance(weight, keras.Variable) else getattr(weight, "name", "") for weight in weights]
    pairs = zip(names, weights, strict=True)
    return "\n".join(
        f"{name} {tuple(getattr(weight, 'shape', ()))} {getattr(weight, 'dtype', '')}" for name, weight in pairs
    ).encode()
