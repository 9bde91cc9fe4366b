"""Which activations a class activation map is made of."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfsaliency.forward import ancestors
from tfsaliency.grid import Grid, grid_of
from tfsaliency.layers import LayerCall
from tfsaliency.rules.operations import CURVES
from tfsaliency.score import Trace

# What only moves values around, and what takes several places together.
MOVES = ("Reshape", "Squeeze", "ExpandDims", "Transpose", "Identity")
ELEMENTWISE = (*CURVES, "Add", "AddV2", "Sub", "Mul", "Maximum", "Minimum", "Identity", "IdentityN", "SelectV2")
POOLS = ("MaxPool", "MaxPoolV2", "MaxPool3D", "AvgPool", "AvgPool3D")


class Activation(NamedTuple):
    """A tensor within the model, and how its places lie over the inputs.

    Attributes:
        name: the path of the layer that returned it, with the number of the call where it is not the first.
        output: the tensor, ``(N, ..., K)``.
        grids: for each part of the inputs, in the order of `tf.nest.flatten`, how the places of the layer lie over it,
            None for a part that the layer does not see or that has other axes.
    """

    name: str
    output: tf.Tensor
    grids: list[Grid | None]

    @property
    def grid(self) -> Grid:
        """The layer's own grid."""
        return next(grid for grid in self.grids if grid is not None)

    def fold(self, values: tf.Tensor) -> tf.Tensor:
        """The output, or anything of its shape, over the grid: ``(N, *grid, K)`` float32."""
        return tf.cast(self.grid.fold(values), tf.float32)


def choose(layer: Any, calls: list[LayerCall], x: Any, traced: Trace) -> list[Activation]:
    """The activations that are meant.

    Args:
        layer: None for the last one with spatial extent before pooling; a layer; its name, or its path through models
            and layers (``"backbone/block5_conv3"``); a pair of these and the index of the call, for a layer that is
            called several times; or a list of all that.
        calls: of all layers, from the trace.
        x: the inputs.
        traced: the score of that trace.

    Raises:
        ValueError: there is no such layer, it could be several, or it has no places that lie over an input; the
            message lists those that would do.
    """
    usable = _Usable(calls, tf.nest.flatten(x), traced)
    if layer is None:
        return [usable.last()]
    return [usable.one(each) for each in (layer if isinstance(layer, list) else [layer])]


class _Usable:
    """The calls that an activation map can be made of."""

    def __init__(self, calls: list[LayerCall], parts: list[tf.Tensor], traced: Trace):
        self._parts, self._traced = parts, traced
        self._behind = ancestors(traced.score)
        behind = {op.name for op in self._behind}
        self._calls = calls
        self._usable = [call for call in calls if self._fits(call.output) and call.output.op.name in behind]

    def _fits(self, output: tf.Tensor) -> bool:
        same_graph = output.graph is self._traced.score.graph
        ranked = output.shape.rank is not None and output.dtype.is_floating
        return same_graph and ranked and any(grid_of(output.shape, part.shape) for part in self._parts)

    def last(self) -> Activation:
        logits = {logit.ref() for logit in self._traced.logits}
        seen = self._read_through_attention()
        for call in reversed(self._usable):
            inner = any(not isinstance(each, keras.Model) and _is_keras(each) for each in call.inside)
            output = self._activated(call.output)
            if inner or output.ref() in logits or _is_pooled(output) or not _is_learned(output):
                continue
            if seen is not None and output.op.name not in seen:
                continue
            # A dropout hands on what it gets: the layer that made it has the better name.
            makers = [each for each in self._usable if each.output is output]
            name = _name(makers[0]) if makers else f"{output.op.type} after {_name(call)}"
            activation = self._over_inputs(name, output)
            if any(activation.grids):
                return activation
        raise ValueError(
            "The model has no layer with places that lie over its input, so there is nothing to map. A class "
            "activation map needs a convolution, a sequence or tokens of a picture; use a gradient method."
        )

    def _activated(self, output: tf.Tensor) -> tf.Tensor:
        """What functions of single numbers and sums outside of layers make of a layer's output before anything else."""
        reached = {output.ref()}
        for op in self._behind:
            same = op.type in ELEMENTWISE and op.outputs[0].shape == output.shape
            if same and any(source.ref() in reached for source in op.inputs):
                output = op.outputs[0]
                reached.add(output.ref())
        return output

    def _read_through_attention(self) -> set[str] | None:
        """Where a class token is read out, the operations that it has seen the other tokens of; None elsewhere."""
        for place, op in enumerate(self._behind):
            sliced = op.type == "StridedSlice" and op.inputs[0].shape.rank == 3 and op.outputs[0].shape.rank == 2
            if sliced and any(grid_of(op.inputs[0].shape, part.shape) for part in self._parts):
                attention = [each for each in self._behind[:place] if each.type == "Softmax"]
                return {each.name for each in ancestors(attention[-1].outputs[0])} if attention else None
        return None

    def one(self, layer: Any) -> Activation:
        wanted, index = layer if isinstance(layer, tuple) else (layer, None)
        found = self._matching(wanted)
        if not found:
            raise ValueError(f"The model calls no layer {_text(wanted)}. {self._offer()}")
        paths = sorted({call.path for call in found})
        if len(paths) > 1:
            raise ValueError(f"The name {wanted!r} is that of several layers. Pass the path of one: {', '.join(paths)}")
        if index is None and len(found) > 1:
            raise ValueError(
                f"The layer {paths[0]!r} is called {len(found)} times. Say which call, from 0: layer=({paths[0]!r}, 0)"
            )
        try:
            call = found[index or 0]
        except IndexError:
            raise ValueError(f"The layer {paths[0]!r} is called {len(found)} times. Received: call {index}") from None
        usable = any(each is call for each in self._usable)
        activation = self._over_inputs(_name(call), call.output) if usable else None
        if activation is None or not any(activation.grids):
            raise ValueError(
                f"The layer {call.path!r} returns {tuple(call.output.shape)}, whose places do not lie over an input, "
                f"or what is explained does not depend on it. {self._offer()}"
            )
        return activation

    def _matching(self, wanted: Any) -> list[LayerCall]:
        if isinstance(wanted, keras.Layer):
            return [call for call in self._calls if call.layer is wanted]
        exact = [call for call in self._calls if call.path == wanted]
        return exact or [call for call in self._calls if call.path.endswith(f"/{wanted}")]

    def _over_inputs(self, name: str, output: tf.Tensor) -> Activation:
        seen = {op.name for op in ancestors(output)}
        return Activation(
            name,
            output,
            [grid_of(output.shape, part.shape) if part.op.name in seen else None for part in self._parts],
        )

    def _offer(self) -> str:
        paths = list(dict.fromkeys(call.path for call in self._usable))
        if not paths:
            return "None of its layers has places that lie over an input; use a gradient method."
        return f"These would do: {', '.join(paths)}"


def check_layer(layer: Any) -> None:
    """Raises where an option does not say a layer."""
    several = layer if isinstance(layer, list) else [layer]
    if layer is not None and not (several and all(map(_says_a_layer, several))):
        raise ValueError(
            "layer is None, a layer, its name or path, a pair of one of these and the index of its call, or a list of "
            f"them. Received: {layer!r}"
        )


def _says_a_layer(option: Any) -> bool:
    wanted, index = option if isinstance(option, tuple) and len(option) == 2 else (option, 0)
    return isinstance(wanted, str | keras.Layer) and isinstance(index, int)


def _is_keras(layer: keras.Layer) -> bool:
    """Whether Keras itself made the layer, whose inner layers are nobody's activations."""
    return type(layer).__module__.partition(".")[0] == "keras"


def _is_pooled(tensor: tf.Tensor) -> bool:
    op = tensor.op
    while op.type in MOVES:
        op = op.inputs[0].op
    return op.type in POOLS


def _is_learned(tensor: tf.Tensor) -> bool:
    """Whether weights took part: a rescaled input is no activation."""
    return any(output.dtype == tf.resource for op in ancestors(tensor) for output in op.outputs)


def _name(call: LayerCall) -> str:
    return f"{call.path}, call {call.number}" if call.number else call.path


def _text(wanted: Any) -> str:
    return repr(wanted.name if isinstance(wanted, keras.Layer) else wanted)
