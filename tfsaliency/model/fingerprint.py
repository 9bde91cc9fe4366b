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
    """A key that changes when a layer, variable, activation or dtype policy is replaced, added or removed.

    Layers are looked for at any depth of models.
    """
    return tuple(map(SameObject, model.variables)), _parts(model)


def _parts(layer: keras.Layer) -> Hashable:
    inner = getattr(layer, "layers", None)
    replaceable = (getattr(layer, "activation", None), getattr(layer, "dtype_policy", None))
    return (
        SameObject(layer),
        *(None if each is None else SameObject(each) for each in replaceable),
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
        numeric = [weight.value for weight in weights if tf.as_dtype(weight.dtype).is_numeric]
        _readers[model] = _Reader(known, _describe(weights), [(each.handle, each.dtype) for each in numeric])
    digest = hashlib.sha256(_readers[model].description)
    for handle, dtype in _readers[model].handles:
        # Three times as fast as Variable.numpy(). A compiled function would be faster still, and would take longer to
        # trace than the gradient of the model.
        flat = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype).numpy().reshape(-1)
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


def _describe(weights: list[keras.Variable]) -> bytes:
    return "\n".join(f"{weight.path} {tuple(weight.shape)} {weight.dtype}" for weight in weights).encode()
