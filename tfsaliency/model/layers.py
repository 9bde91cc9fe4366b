"""The layers that a model calls while it is traced: which, at what depth, what each made, and what it returned.

A layer is known by having been called, never by the name of an operation. Nothing is attached to the model: for the
time of one trace, and in this thread only, the ``__call__`` that all layers share is watched.
"""

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfsaliency.base.calls import calls_replaced


class LayerCall(NamedTuple):
    """One call of a layer.

    Attributes:
        layer: the layer, as a weak reference: a trace does not keep a model alive.
        path: the names of the layers that it was called in, below the model, and its own: ``"backbone/block5_conv3"``.
        number: which of the layer's calls it is, from 0.
        in_builtin: whether it was called by a layer that Keras itself defines, as the dense layers of an attention are.
        output: what it returned, ``(N, ...)``, without states or scores beside it; None where that is not one tensor.
        graph: the graph that it was traced in.
        operations: the positions in that graph of the operations that the call added.
    """

    layer: weakref.ref[Any]
    path: str
    number: int
    in_builtin: bool
    output: tf.Tensor | None
    graph: tf.Graph
    operations: range

    @property
    def name(self) -> str:
        """The path, with the number of the call where it is not the first."""
        return f"{self.path}, call {self.number}" if self.number else self.path


@contextmanager
def watched_layers(model: Any) -> Iterator[list[LayerCall]]:
    """Records each call of a layer in this thread, in the order in which the calls end: inner ones first.

    Args:
        model: the model that is going to be called. Its own call is not recorded.
    """
    own = model, getattr(model, "source", None)
    calls: list[LayerCall] = []
    stack: list[Any] = []
    counts: Counter[int] = Counter()

    def watching(original: Callable[..., Any], layer: Any, *args: Any, **kwargs: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        # The version of a graph is the number of its operations.
        first = graph.version
        stack.append(layer)
        try:
            output = original(layer, *args, **kwargs)
        finally:
            stack.pop()
        if not any(layer is each for each in own):
            around = [each for each in stack if not any(each is other for other in own)]
            path = "/".join(each.name for each in (*around, layer))
            in_builtin = any(_is_builtin(each) for each in around)
            returned, operations = _main(output, layer), range(first, graph.version)
            calls.append(
                LayerCall(weakref.ref(layer), path, counts[id(layer)], in_builtin, returned, graph, operations)
            )
            counts[id(layer)] += 1
        return output

    with calls_replaced(_layer_classes(), watching):
        yield calls


def is_layer(value: Any) -> bool:
    """Whether something is a layer or a model, of Keras 3 or of tf_keras."""
    return isinstance(value, _layer_classes())


def _layer_classes() -> tuple[Any, ...]:
    # Whoever has a layer of tf_keras has imported it.
    legacy = sys.modules.get("tf_keras")
    return (keras.Layer,) if legacy is None else (keras.Layer, legacy.layers.Layer)


def _main(output: Any, layer: Any) -> tf.Tensor | None:
    """The tensor that a layer returns; None for several of the same rank, and for those of a model."""
    if isinstance(output, tuple | list) and output and all(map(tf.is_tensor, output)) and not hasattr(layer, "predict"):
        # Recurrent layers return their states behind the series, and attention its scores behind the values.
        output, *beside = output
        if any(each.shape.rank == output.shape.rank for each in beside):
            return None
    return output if tf.is_tensor(output) else None


def _is_builtin(layer: Any) -> bool:
    """Whether Keras defines the layer: its inner layers are details of its own. Those of a model or lambda are not."""
    of_keras = type(layer).__module__.partition(".")[0] in ("keras", "tf_keras")
    return of_keras and not hasattr(layer, "predict") and type(layer).__name__ != "Lambda"


def calls_of(wanted: Any, calls: Sequence[LayerCall]) -> list[LayerCall]:
    """The calls of a layer that is given as an object, by its name, or by its path or the end of it."""
    if is_layer(wanted):
        return [call for call in calls if call.layer() is wanted]
    exact = [call for call in calls if call.path == wanted]
    return exact or [call for call in calls if call.path.endswith(f"/{wanted}")]
