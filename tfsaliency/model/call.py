"""A Keras model, called as it is."""

from typing import Any

import keras
import tensorflow as tf

from tfsaliency.model.foreign import ForeignModel


def call(model: keras.Model, x: Any) -> Any:
    """The model's outputs in inference mode, for floats also where it declares integers.

    A functional model rounds its inputs to the type that it declares, and a rounding has no gradient. Behind the
    rounding the network is a function of real numbers, and the gradient of that function is asked for: so the layers
    are run on the floats.
    """
    declared = declared_inputs(model)
    if isinstance(model, ForeignModel) or declared is None:
        return model(x, training=False)
    if all(tf.as_dtype(part.dtype).is_floating for part in tf.nest.flatten(declared)):
        return model(x, training=False)
    outputs = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    return keras.Function(declared, outputs)(x)


def declared_inputs(model: keras.Model) -> Any:
    """The symbolic inputs in the model's own structure, None for a model that declares none."""
    if isinstance(model, ForeignModel):
        return model.declared
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.inputs else None
    try:
        return model.input
    except (AttributeError, ValueError):
        return None
