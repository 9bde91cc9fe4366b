"""A Keras model, called as it is."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.base.calls import calls_replaced
from tfsaliency.base.structure import flatten, skeleton, unflatten
from tfsaliency.model.black_box import takes_each
from tfsaliency.model.foreign import ForeignModel


def call(model: keras.Model, x: Any) -> Any:
    """The model's outputs in inference mode, for floats also where it declares integers.

    A functional model rounds its inputs to the type that it declares, and a rounding has no gradient. Behind the
    rounding the network is a function of real numbers, and the gradient of that function is asked for: so the layers
    are run on the floats.
    """
    declared = declared_inputs(model)
    if isinstance(model, ForeignModel):
        return model(x, training=False)
    if declared is None:
        return model(*x, training=False) if takes_each(model.call, x) else model(x, training=False)
    x = _as_kept(model, x)
    if not _rounds(declared, x) or not type(model).call.__module__.startswith("keras."):
        return model(x, training=False)
    own = (model.inputs[0], model.outputs[0]) if isinstance(model, keras.Sequential) else (model.input, model.output)
    with calls_replaced([keras.Layer], _InInference()):
        return keras.Function(*own)(x)


class _InInference:
    """Tells the layers of a functional model that they do not train, as the model itself does when it is called."""

    def __init__(self) -> None:
        self._depth = 0

    def __call__(self, original: Callable[..., Any], layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        # What a layer tells the layers inside it is its own affair.
        told = {"training": False} if "training" in kwargs and not self._depth else {}
        self._depth += 1
        try:
            return original(layer, *args, **kwargs | told)
        finally:
            self._depth -= 1


def _as_kept(model: keras.Model, x: Any) -> Any:
    """A dict of inputs as Keras keeps the dict that the model was built of, which it takes for another structure."""
    kept = None if isinstance(model, keras.Sequential) else model.input
    return keras.tree.pack_sequence_as(kept, flatten(x)) if isinstance(kept, dict) and isinstance(x, dict) else x


def _rounds(declared: Any, x: Any) -> bool:
    """Whether any float meets a declared integer."""
    pairs = zip(flatten(declared), flatten(x), strict=False)
    return any(part.dtype.is_floating and not tf.as_dtype(wanted.dtype).is_floating for wanted, part in pairs)


# What to do with a model that takes a fixed number of rows.
FREE_BATCH = (
    "build it again with a free batch axis, keras.Input(shape), and stateful=False, and "
    "set_weights(model.get_weights())."
)


def has_fixed_batch(model: keras.Model) -> bool:
    """Whether a model declares its number of rows, or keeps a state for each of them."""
    declared = [] if isinstance(model, ForeignModel) else flatten(declared_inputs(model))
    layers: list[keras.Layer] = list(getattr(model, "_flatten_layers", list)())
    return any(part is not None and part.shape[:1] not in ((), (None,)) for part in declared) or any(
        getattr(layer, "stateful", False) for layer in layers
    )


def declared_inputs(model: keras.Model) -> Any:
    """The symbolic inputs in the model's own structure, None for a model that declares none."""
    if isinstance(model, ForeignModel):
        return model.declared
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.inputs else None
    try:
        declared = model.input
    except (AttributeError, ValueError):
        return None
    # Keras keeps a dict as one of its own.
    return unflatten(skeleton(declared), flatten(declared))
