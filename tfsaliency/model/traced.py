"""A Keras model, called once for each kind of input; what was traced serves every explainer of the model."""

import bisect
import copy
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.fused import FusedTrace, FusedWeights, fusible
from tfsaliency.graph.nameless import digest
from tfsaliency.graph.network import Network
from tfsaliency.graph.operations import NESTED
from tfsaliency.graph.trace import Pairs, Trace, Values
from tfsaliency.graph.unrolled import Unrolled
from tfsaliency.model.fingerprint import anatomy
from tfsaliency.model.kept import keep
from tfsaliency.model.layers import LayerCall, watched_layers
from tfsaliency.model.logits import Logits, logits

# Traces kept per model: one for each kind of input, and for each state of its layers.
KEPT = 8


class Structure(NamedTuple):
    """What a model computes from weights.

    Attributes:
        computation: equal for models that compute the same from weights of the same shapes.
        names: of the operations and the calls of layers.
        layers: the names of the layers.
    """

    computation: Hashable
    names: tuple[str, ...]
    layers: frozenset[str]

    def is_named_in(self, texts: Iterable[str]) -> bool:
        """Whether one of some texts has the name of a layer."""
        return any(name in text for text in texts for name in self.layers)


class Traced:
    """The trace of a model, for any batch size.

    Attributes:
        trace: the traced graph, from inputs to logits.
        inputs: what is explained, as traced tensors: the inputs, in the structure that the model takes, or a `Point`.
        logits: the traced logits.
        held: what else the model reads of its inputs, as traced tensors.
        calls: the layers that were called, inner calls first.
        reorders: whether methods see the numbers of ``inputs`` in another order or shape.
    """

    trace: Trace
    inputs: Any
    held: Sequence[tf.Tensor] = ()
    logits: Logits
    calls: list[LayerCall]
    reorders: bool = False

    @property
    def shown(self) -> Any:
        """What methods see of ``inputs``: specs, for any number of rows."""
        return tf.nest.map_structure(lambda each: tf.TensorSpec([None, *each.shape[1:]], each.dtype), self.inputs)

    def pairs(self, x: Any, held: Sequence[tf.Tensor] = ()) -> Pairs:
        """Pairs of a traced tensor and its value, for what is explained and for what is held fixed."""
        explained = zip(tf.nest.flatten(self.inputs), tf.nest.flatten(x), strict=True)
        return [*explained, *zip(self.held, held, strict=True)]

    def run(self, x: Any, held: Sequence[tf.Tensor] = ()) -> Values:
        """Runs the model again, in the graph under construction: the value of every traced tensor that may be read.

        Args:
            x: the numbers that are explained, in the structure of ``inputs``.
            held: what else the model was given.
        """
        return self.trace.run(self.pairs(x, held), self._wanted)

    def run_again(self, x: Any, held: Sequence[tf.Tensor], known: Values) -> Values:
        """Runs what depends on the inputs for other ones, in the graph that knows the values for some."""
        return self.trace.run_from(self.pairs(x, held), known, self._wanted)

    @property
    def _wanted(self) -> list[tf.Tensor] | None:
        """The traced tensors that a run gives the values of; None for all."""
        return None

    def reading(self, instead: dict[int, tf.Tensor]) -> "Traced":
        """The same model, which reads other variables; see `Trace.reading`."""
        other = copy.copy(self)
        other.trace = self.trace.reading(instead)
        for derived in ("network", "_fused", "_unrolled"):
            other.__dict__.pop(derived, None)
        return other

    def unrolled(self, turns: int) -> "Traced":
        """The same model with loops of no more turns than that unrolled, and without conditions; see `Unrolled`."""
        if not (self.reorders or any(op.type in NESTED for op in ancestors(*self.logits.floats))):
            return self
        if turns not in self._unrolled:
            self._unrolled[turns] = _UnrolledModel(self, turns)
        return self._unrolled[turns]

    def fused(self, graph: tf.Graph) -> "Traced":
        """The same model with scales and shifts fused into weights, of which the logits alone can be read.

        Args:
            graph: where weights are fused, once for all runs in this graph and in the loops of it.
        """
        if self._fused is None:
            return self
        with graph.as_default():
            return _FusedModel(self, self._fused, self._fused.weights())

    @cached_property
    def row_bytes(self) -> int:
        """How many bytes the forward pass of one row writes."""
        return sum(map(_row_bytes, ancestors(*tf.nest.flatten(self.logits.values))))

    @cached_property
    def network(self) -> Network:
        """The steps from the inputs to the logits."""
        return Network(self.trace, tf.nest.flatten(self.inputs), self.logits.floats)

    def layers_of(self, operation: str) -> list[LayerCall]:
        """The calls that added an operation of that name to the trace, the innermost first."""
        raise NotImplementedError

    @cached_property
    def _fused(self) -> FusedTrace | None:
        """None where nothing can be fused."""
        wanted = tf.nest.flatten((self.logits.values, self.logits.outputs))
        fusions = fusible(self.network, wanted) if self.trace.is_flat else []
        return FusedTrace(self.trace, fusions, wanted) if fusions else None

    @cached_property
    def _unrolled(self) -> "dict[int, _UnrolledModel]":
        return {}

    @cached_property
    def positions(self) -> dict[str, int]:
        """The place of each operation in the trace, by its name."""
        return {op.name: position for position, op in enumerate(self.trace.graph.get_operations())}


class TracedModel(Traced):
    """The trace of a model that was called. It does not keep the model alive.

    Attributes:
        anatomy: of the model as it was traced.
        is_restless: whether tracing changed what the model reads from Python.
        cautions: what a user is warned of before trusting a map, by the names of the outputs that are explained.
        point: what is explained, see `tfsaliency.model.point`; None until it is found out.
    """

    def __init__(self, model: keras.Model, specs: Any):
        # All traces of a model write to the same variables: one call at a time.
        self._writing = _writing.setdefault(model, threading.RLock())
        # Some layers complete themselves when they are called for the first time: only the second call tells.
        for _ in range(2):
            self.anatomy = anatomy(model)
            with watched_layers(model) as self.calls:
                self.trace = Trace(lambda x: logits(model, x), specs)
            self.is_restless = anatomy(model) != self.anatomy
            if not self.is_restless:
                break
        self.cautions: dict[tuple[str, ...], list[str]] = {}
        self.point: Any = None
        (self.inputs,) = self.trace.inputs
        self.logits = self.trace.outputs.doubted(self.trace.definition)

    @cached_property
    def structure(self) -> "Structure":
        """What the model computes, and the names that it has for it."""
        tensors = tf.nest.flatten((self.inputs, self.logits.values, self.logits.outputs))
        calls = [(call.number, call.in_builtin, call.operations, call.output is None) for call in self.calls]
        # These are traced into the graph first. TensorFlow gives each a name that no other process and model has.
        gradients = self.trace.gradients.ends(self.trace.graph)
        names = [op.name for op in self.trace.graph.get_operations()]
        positions = {name: position for position, name in enumerate(names)}

        def places(ends: list[tf.Tensor | None]) -> list[tuple[int, int] | None]:
            return [None if each is None else (positions[each.op.name], each.value_index) for each in ends]

        # The shapes of weights show in what is read of them alone.
        definition = self.trace.graph.as_graph_def(add_shapes=True)
        for node in definition.node:
            if node.name in gradients:
                node.attr["_gradient_op_type"].s = repr(places(gradients[node.name])).encode()
        computed = digest(definition), repr((places(tensors), calls, self.logits.links))
        layers = frozenset(name for call in self.calls for name in call.path.split("/"))
        return Structure(computed, (*names, *(call.name for call in self.calls)), layers)

    @contextmanager
    def state_put_back(self) -> Iterator[None]:
        """Puts back the variables that a call of the model changes, such as the state of a recurrent layer."""
        if not self.trace.written:
            yield
            return
        with self._writing:
            state = [(each, each.numpy()) for each in self.trace.written]
            try:
                yield
            finally:
                for variable, value in state:
                    variable.assign(value)

    def answering(self, wanted: list[tf.Tensor]) -> Callable[..., list[np.ndarray]]:
        """What gives the values of traced tensors for a batch of some rows, in the structure of the inputs."""

        def run(rows: Any) -> list[tf.Tensor]:
            values = self.run(rows)
            return [values[each] for each in wanted]

        function = tf.function(run, autograph=False, input_signature=[self.shown]).get_concrete_function()

        def answer(*rows: Any) -> list[np.ndarray]:
            batch = tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *rows)
            with self.state_put_back():
                return [each.numpy() for each in function(batch)]

        return answer

    def layers_of(self, operation: str) -> list[LayerCall]:
        position = self.positions[operation]
        return [call for call in self.calls if call.graph is self.trace.graph and position in call.operations]


class _FusedModel(Traced):
    """A traced model with scales and shifts fused into weights."""

    def __init__(self, model: Traced, fused: FusedTrace, weights: FusedWeights):
        self._model, self._trace, self._weights = model, fused, weights
        self.trace, self.inputs, self.held, self.logits = model.trace, model.inputs, model.held, model.logits
        dropped = map(model.trace.graph.get_operation_by_name, fused.dropped)
        self.row_bytes = model.row_bytes - sum(map(_row_bytes, dropped))

    def run(self, x: Any, held: Sequence[tf.Tensor] = ()) -> Values:
        return self._trace.run(self._model.pairs(x, held), self._weights)

    def run_again(self, x: Any, held: Sequence[tf.Tensor], known: Values) -> Values:
        # What depends on the weights alone is fused before.
        return self.run(x, held)


class _UnrolledModel(Traced):
    """A traced model with its loops unrolled."""

    def __init__(self, model: Traced, turns: int):
        self._model, self.calls = model, model.calls
        # Batches are as large as those of the model itself.
        self.row_bytes = model.row_bytes
        # Which operation of the model each one comes from: the first places, and the names.
        self._places: list[int] = []
        self._origins: list[str] = []
        wanted = model.logits.values, model.logits.outputs

        def again(x: Any, held: Sequence[tf.Tensor]) -> Any:
            graph = tf.compat.v1.get_default_graph()
            given = [*model.pairs(x, held), *model.trace.captured]
            unrolled = Unrolled(model.trace.gradients, given, turns)
            for op in ancestors(*tf.nest.flatten(wanted), known=[traced for traced, _ in given]):
                self._places.append(graph.version)
                self._origins.append(op.name)
                unrolled.run([op])
            return tf.nest.map_structure(unrolled.__getitem__, wanted)

        held = [tf.TensorSpec([None, *each.shape[1:]], each.dtype) for each in model.held]
        self.trace = Trace(again, model.shown, held)
        self.inputs, self.held = self.trace.inputs
        values, outputs = self.trace.outputs
        self.logits = model.logits._replace(values=values, outputs=outputs)

    def layers_of(self, operation: str) -> list[LayerCall]:
        origin = bisect.bisect_right(self._places, self.positions[operation]) - 1
        return self._model.layers_of(self._origins[origin])


_writing: weakref.WeakKeyDictionary[keras.Model, Any] = weakref.WeakKeyDictionary()
_kept: weakref.WeakKeyDictionary[keras.Model, OrderedDict[Hashable, TracedModel]] = weakref.WeakKeyDictionary()


def traced_model(model: keras.Model, specs: Any) -> TracedModel:
    """The trace of a model for inputs of these specs; made now if it is the first time, or if the model has changed."""
    traces = _kept.setdefault(model, OrderedDict())
    structure = repr(tf.nest.map_structure(lambda spec: 0, specs))
    kind = structure, tuple(tf.nest.flatten(specs))
    key = (*kind, anatomy(model))
    found = traces.get(key)
    if found is None:
        found = TracedModel(model, specs)
        key = (*kind, found.anatomy)
    keep(traces, key, found, KEPT)
    return found


def forget_trace(model: keras.Model) -> None:
    """Drops the traces of a model."""
    _kept.pop(model, None)


def _row_bytes(op: tf.Operation) -> int:
    """How many bytes an operation writes for one row, as far as the trace knows its shapes."""
    shapes = [(output.shape, output.dtype.size) for output in op.outputs if output.shape.rank]
    return sum(size * (shape[1:].num_elements() or 0) for shape, size in shapes if shape[0] is None)
