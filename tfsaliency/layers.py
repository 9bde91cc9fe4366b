"""The layers that a model calls while it is traced: which, at what depth, and what each returned.

Nothing is hung on the model. For the time of one trace the call that all layers share is watched, in this thread only.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import tensorflow as tf

# Whoever watches holds it: what is watched belongs to the class that all layers share.
_watching = threading.RLock()


class LayerCall(NamedTuple):
    """One call of a layer.

    Attributes:
        layer: the layer.
        path: the names of the layers it was called in, below the model, and its own: ``"backbone/block5_conv3"``.
        number: which of the layer's calls it is, from 0.
        inside: the layers it was called in, below the model.
        output: what it returned, ``(N, ...)``.
    """

    layer: keras.Layer
    path: str
    number: int
    inside: tuple[keras.Layer, ...]
    output: tf.Tensor


@contextmanager
def watched_layers(model: keras.Model) -> Iterator[list[LayerCall]]:
    """Writes down each call of a layer that returns one tensor, in the order in which the calls end.

    Args:
        model: the model that is going to be called; its own call is not one of them.
    """
    calls: list[LayerCall] = []
    stack: list[keras.Layer] = []
    thread = threading.get_ident()
    original = keras.Layer.__call__

    def watching(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return original(layer, *args, **kwargs)
        stack.append(layer)
        try:
            output = original(layer, *args, **kwargs)
        finally:
            stack.pop()
        if layer is model or not tf.is_tensor(output):
            return output
        inside = tuple(each for each in stack if each is not model)
        path = "/".join(each.name for each in (*inside, layer))
        number = sum(call.layer is layer for call in calls)
        calls.append(LayerCall(layer, path, number, inside, output))
        return output

    with _watching:
        keras.Layer.__call__ = watching
        try:
            yield calls
        finally:
            keras.Layer.__call__ = original
