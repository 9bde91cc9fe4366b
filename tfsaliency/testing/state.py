"""What a call must leave as it was: a model, and the random numbers of the process."""

import random
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# An attribute of such a type is compared by its value, any other one by being there.
_PLAIN = (bool, int, float, str, bytes, type(None))


def state_of_model(model: keras.Model) -> dict[str, Any]:
    """Name -> value, for everything of a model that a call could change."""
    state: dict[str, Any] = {"keras.Layer.__call__": keras.Layer.__call__, "is compiled": model.compiled}
    for number, weight in enumerate(model.weights):
        state[f"weight {number}, {weight.path}"] = np.asarray(weight.value).tobytes()
    optimizer = getattr(model, "optimizer", None)
    for each in optimizer.variables if optimizer else ():
        state[f"variable {each.path} of the optimizer"] = np.asarray(each.value).tobytes()
    for number, layer in enumerate(model._flatten_layers()):
        label = f"layer {number}, {layer.name}"
        state[f"trainable of {label}"] = layer.trainable
        state[f"call of {label}"] = layer.call
        for name, value in vars(layer).items():
            state[f"attribute {name} of {label}"] = value if isinstance(value, _PLAIN) else type(value)
    return state


def state_of_chance() -> dict[str, Any]:
    """Where the random numbers of Python, NumPy and TensorFlow stand."""
    kind, numbers, *place = np.random.get_state()
    return {
        "Python's random numbers": random.getstate(),
        "NumPy's random numbers": (kind, np.asarray(numbers).tobytes(), *place),
        # With a seed for the operation nothing is drawn from the global one.
        "TensorFlow's seed": tf.compat.v1.get_seed(1)[0],
        "TensorFlow's generator": tf.random.get_global_generator().state.numpy().tobytes(),
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The names of what differs between two states, "" for nothing."""
    names = [name for name in {**before, **after} if before.get(name, "missing") != after.get(name, "missing")]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
