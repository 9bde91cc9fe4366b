"""Which tensors inside the model a class activation map is made of."""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.engine.score import Forward
from tfsaliency.graph.ancestry import ancestors, before, descendants
from tfsaliency.graph.axes import first_that_scatters, followed_axes
from tfsaliency.graph.layouts import FRONT, layouts
from tfsaliency.graph.numbers_read import read_as_numbers
from tfsaliency.graph.operations import AVERAGE_POOLS, ELEMENTWISE, IDENTITIES, MAX_POOLS, REORDERS
from tfsaliency.methods.activations.grid import Grid, grid_of
from tfsaliency.model.layers import LayerCall, calls_of, is_layer


class Activation(NamedTuple):
    """A tensor inside the model, and how its places lie over the inputs.

    Attributes:
        name: the path of the layer that returned it, with the number of the call where it is not the first.
        traced: the tensor in the trace of the model.
        output: its value, ``(N, ..., K)``.
        grids: for each part of the inputs, in the order of `tf.nest.flatten`, how the places of the layer lie over it;
            None for a part that the layer does not see or that has other axes.
    """

    name: str
    traced: tf.Tensor
    output: tf.Tensor
    grids: list[Grid | None]

    @property
    def grid(self) -> Grid:
        """The layer's own grid."""
        return next(grid for grid in self.grids if grid is not None)

    def over(self, parts: set[int]) -> "Activation":
        """The same activation, over some parts of the inputs alone."""
        return self._replace(grids=[grid if part in parts else None for part, grid in enumerate(self.grids)])

    def fold(self, values: tf.Tensor) -> tf.Tensor:
        """The output, or anything of its shape, over the grid: ``(N, *grid, K)`` float32."""
        return tf.cast(self.grid.fold(values), tf.float32)


def choose(layer: Any, forward: Forward) -> list[Activation]:
    """The activations that the option ``layer`` asks for.

    Args:
        layer: None for the last one with spatial extent before pooling, on each way to the score and for each part of
            the inputs; a layer; its name, or its path through models and layers (``"backbone/block5_conv3"``); a pair
            of these and the index of the call, for a layer that is called several times; or a list of all that.
        forward: the score, with the model inside.

    Raises:
        ValueError: there is no such layer, the name is that of several, or the layer has no places that lie over an
            input; the message lists those that have.
    """
    usable = _Usable(forward)
    if layer is None:
        return usable.last()
    return [usable.one(each) for each in (layer if isinstance(layer, list) else [layer])]


def _seen(grids: list[Grid | None]) -> set[int]:
    """The parts of the inputs that a layer of such grids sees."""
    return {part for part, grid in enumerate(grids) if grid}


class _Usable:
    """The calls that an activation map can be made of."""

    def __init__(self, forward: Forward):
        self._forward, model = forward, forward.model
        self._parts = tf.nest.flatten(model.inputs)
        self._graph = model.trace.graph
        # The score may depend on one of several outputs only.
        reached = {op.name for op in ancestors(forward.score)}
        pairs = zip(model.logits.floats, forward.logits.floats, strict=True)
        self._logits = [traced for traced, value in pairs if value.op.name in reached]
        self._behind = ancestors(*self._logits)
        self._layouts = layouts(self._behind)
        self._names = {op.name for op in self._behind}
        self._axes = [followed_axes(part, self._behind) for part in self._parts]
        self._calls = model.calls
        self._usable = [call for call in model.calls if self._fits(call)]

    def _fits(self, call: LayerCall) -> bool:
        output = call.output
        if not isinstance(output, tf.Tensor) or call.graph is not self._graph or output.graph is not self._graph:
            return False
        if output.shape.rank is None or not output.dtype.is_floating or output.op.name not in self._names:
            return False
        return any(self._grids(output))

    def last(self) -> list[Activation]:
        # A model for each step of a series shows what it has pooled alone.
        chosen = self._last() or self._last(pooled=True)
        if chosen:
            return chosen
        if not self._calls:
            raise ValueError(
                "The model calls no Keras layer, as a function or a SavedModel does not: there is no layer to map. "
                "Explain the Keras model that it was made from, or use a gradient method."
            )
        raise ValueError(
            "The model has no layer with places that lie over its input, so there is nothing to map. A class "
            "activation map needs a convolution, a sequence or tokens of a picture that is the input: where the model "
            "makes a picture of it first, as a spectrogram of a sound, explain the model behind that. Or use a "
            f"gradient method.{self._lost()}"
        )

    def _lost(self) -> str:
        """Names the operation behind which the places of the inputs are not known, where there is one."""
        found = (first_that_scatters(part, self._behind) for part in self._parts)
        op = next((each for each in found if each is not None), None)
        return "" if op is None else f" Where {op.name!r}, an operation of type {op.type}, puts places is not known."

    def _last(self, *, pooled: bool = False) -> list[Activation]:
        """The last activations on each way to the score and for each part of the inputs; of pooled ones if asked."""
        chosen: list[Activation] = []
        unseen = {part for call in self._usable for part in _seen(self._grids(call.output))}
        behind: set[str] = set()
        for call in reversed(self._usable):
            # Layers on another way to the score are chosen too: branches that are pooled before they are joined.
            if not unseen and call.output is not None and call.output.op.name in behind:
                continue
            activation = self._at_the_end(call)
            if activation is None or _is_pooled(activation.traced) is not pooled:
                continue
            if activation.traced.op.name in behind or not self._is_apart(activation, chosen):
                # A part of the inputs that a later layer sees has the map of that one.
                activation = activation.over(unseen)
            if any(activation.grids):
                chosen.append(activation)
                unseen -= _seen(activation.grids)
                behind |= {op.name for op in ancestors(activation.traced)}
        return chosen

    def _is_apart(self, activation: Activation, others: list[Activation]) -> bool:
        """Whether an activation goes another way to the score than others, and meets them behind its places alone."""
        further = {op.name for op in descendants(self._behind, [each.traced for each in others])}
        met = next((op for op in descendants(self._behind, [activation.traced]) if op.name in further), None)
        return met is None or not any(any(self._grids(result)) for result in met.outputs)

    def _at_the_end(self, call: LayerCall) -> Activation | None:
        """What a layer returns, with the activations behind it; None where that is no activation to map."""
        seen, output = self._read_through_attention, self._activated(call.output)
        if seen is not None and output.op.name not in seen:
            # A sum with what the class token has seen comes too late.
            output = call.output
        if call.in_builtin or any(output is each for each in self._logits) or not _is_learned(output):
            return None
        if output.ref() not in self._numbers or (seen is not None and output.op.name not in seen):
            return None
        # A dropout hands on what it gets: the layer that made the tensor has the better name.
        makers = [each for each in self._usable if each.output is output]
        name = makers[0].name if makers else f"{output.op.type} after {call.name}"
        return self._over_inputs(name, output)

    @cached_property
    def _numbers(self) -> set[Any]:
        return read_as_numbers(*self._logits)

    def _activated(self, output: tf.Tensor) -> tf.Tensor:
        """A layer's output after the activations, sums, products and joins of channels outside of layers behind it.

        They come before anything else, and leave the places as they are.
        """
        reached = {output.ref()}
        for op in self._behind:
            keeps = op.type in (*ELEMENTWISE, "ConcatV2") and op.outputs[0].shape[:-1] == output.shape[:-1]
            if keeps and any(source.ref() in reached for source in op.inputs):
                output = op.outputs[0]
                reached.add(output.ref())
        return output

    @cached_property
    def _read_through_attention(self) -> set[str] | None:
        """Where a class token is read out, the operations that it has seen the other tokens by; None elsewhere."""
        for place, op in enumerate(self._behind):
            sliced = op.type == "StridedSlice" and op.inputs[0].shape.rank == 3 and op.outputs[0].shape.rank == 2
            if sliced and any(self._grids(op.inputs[0])):
                attention = [each for each in self._behind[:place] if each.type == "Softmax"]
                return {each.name for each in ancestors(attention[-1].outputs[0])} if attention else None
        return None

    def one(self, layer: Any) -> Activation:
        wanted, index = layer if isinstance(layer, tuple) else (layer, None)
        called = calls_of(wanted, self._calls)
        found = [call for call in called if call.output is not None]
        if not found:
            reason = (
                f"The layer {called[0].path!r} returns several tensors, none of which is known to be its activation"
                if called
                else f"The model calls no layer {_text(wanted)}"
            )
            raise ValueError(f"{reason}. {self._offer()}")
        paths = sorted({call.path for call in found})
        if len(paths) > 1:
            raise ValueError(f"The name {wanted!r} is that of several layers. Pass the path of one: {', '.join(paths)}")
        if index is None and len(found) > 1 and any(map(self._is_usable, found)):
            raise ValueError(
                f"The layer {paths[0]!r} is called {len(found)} times. Say which call, from 0: "
                f"layer=({paths[0]!r}, 0), or a list of such pairs."
            )
        try:
            call = found[index or 0]
        except IndexError:
            raise ValueError(f"The layer {paths[0]!r} is called {len(found)} times. Received: call {index}") from None
        assert call.output is not None
        activation = self._over_inputs(call.name, call.output) if self._is_usable(call) else None
        if activation is None or not any(activation.grids):
            raise ValueError(
                f"The layer {call.path!r} returns {tuple(call.output.shape)}, whose places do not lie over an input, "
                f"or what is explained does not depend on it. {self._offer()}"
            )
        return activation

    def _is_usable(self, call: LayerCall) -> bool:
        return any(each is call for each in self._usable)

    def _over_inputs(self, name: str, output: tf.Tensor) -> Activation:
        return Activation(name, output, self._forward.values[output], self._grids(output))

    def _grids(self, output: tf.Tensor) -> list[Grid | None]:
        """How a tensor lies over each part of the inputs."""
        found = self._layouts.get(output.op.name, set())
        if len(found) > 1:
            # What was joined of both has its channels nowhere.
            return [None] * len(self._parts)
        parts = zip(self._axes, self._parts, tf.nest.flatten(self._forward.inputs), strict=True)
        return [
            grid_of(
                output.shape,
                axes.get(output.ref()),
                part.shape,
                in_front=FRONT in found,
                is_grey=seen.shape.rank > part.shape.rank,
                is_looked_up=part.op.type != "Placeholder",
            )
            for axes, part, seen in parts
        ]

    def _offer(self) -> str:
        paths = list(dict.fromkeys(call.path for call in self._usable))
        if not paths:
            return "None of its layers has places that lie over an input; use a gradient method."
        return f"These would do: {', '.join(paths)}"


def check_layer(layer: Any) -> None:
    """Raises where the option ``layer`` names no layer."""
    several = layer if isinstance(layer, list) else [layer]
    if layer is not None and not (several and all(map(_names_a_layer, several))):
        raise ValueError(
            "layer is None, a layer, its name or path, a pair of one of these and the index of its call, or a list of "
            f"them. Received: {layer!r}"
        )


def _names_a_layer(option: Any) -> bool:
    wanted, index = option if isinstance(option, tuple) and len(option) == 2 else (option, 0)
    return (isinstance(wanted, str) or is_layer(wanted)) and isinstance(index, int)


def _is_pooled(traced: tf.Tensor) -> bool:
    # A layer that is called for each step of a series has its results packed.
    op = before(traced, (*REORDERS, *IDENTITIES, "Pack")).op
    if op.type not in ("Max", "Mean"):
        return op.type in (*MAX_POOLS, *AVERAGE_POOLS)
    # The largest or mean of several channels is no pooling.
    along, rank = tf.get_static_value(op.inputs[1]), op.inputs[0].shape.rank
    return along is not None and bool({int(axis) % rank for axis in np.ravel(along)} - {rank - 1})


def _is_learned(traced: tf.Tensor) -> bool:
    """Whether weights took part: an input that was only rescaled is no activation."""
    return any(output.dtype == tf.resource for op in ancestors(traced) for output in op.outputs)


def _text(wanted: Any) -> str:
    return repr(wanted.name if is_layer(wanted) else wanted)
