"""Gradients that a model defines with ``tf.custom_gradient``, traced as data like the model itself.

TensorFlow keeps such a gradient as a Python function over tensors of the graph in which the model was traced;
``tf.nn.silu`` has one. In any other graph that function fails. So each of these gradients is traced once, beside the
model, and imported where the gradient of an imported operation is asked for.
"""

import itertools
import weakref
from typing import Any

import tensorflow as tf

from tfsaliency.graph.grouped import GROUPED, is_grouped, set_apart

_GRADIENT = "TfsaliencyCustomGradient"
_NUMBER = "_tfsaliency_custom_gradient"
_numbers = itertools.count()


class CustomGradients:
    """The custom gradients of traced graphs. What they are made of is added to the graphs."""

    def __init__(self) -> None:
        self._of: dict[tf.Graph, dict[str, _CustomGradient]] = {}

    def attributes(self, op: tf.Operation) -> dict[str, Any]:
        """The attributes that let a copy of an operation have its traced gradient; none where it has TensorFlow's."""
        if is_grouped(op):
            return {"_gradient_op_type": tf.compat.v1.AttrValue(s=GROUPED.encode())}
        custom = self._of_operation(op)
        if custom is None:
            return {}
        return {
            "_gradient_op_type": tf.compat.v1.AttrValue(s=_GRADIENT.encode()),
            _NUMBER: tf.compat.v1.AttrValue(i=custom.number),
        }

    def beside(self, op: tf.Operation) -> list[tf.Tensor]:
        """The traced tensors that the gradient of an operation reads besides its sources, from a copy of the graph."""
        custom = self._of_operation(op)
        return [] if custom is None else custom.beside

    def sources(self, op: tf.Operation) -> list[tf.Tensor]:
        """The sources of an operation that its gradient may go to."""
        custom = self._of_operation(op)
        return [*op.inputs] if custom is None else custom.reached

    def ends(self, graph: tf.Graph) -> dict[str, list[tf.Tensor | None]]:
        """For each operation of a graph with a custom gradient, by name, the tensors where that begins and ends.

        What is between them is in the graph. A gradient that reads more, such as a variable itself, is left out.
        """
        return {name: each.ends for name, each in self._in(graph).items() if not each.reads_outside}

    def are_in(self, graph: tf.Graph) -> bool:
        """Whether a graph has an operation with a custom gradient."""
        return bool(self._in(graph))

    def redirect(self, operations: list[tf.Operation], definition: tf.compat.v1.GraphDef) -> None:
        """Lets the operations of a graph definition, once imported, have the traced gradients."""
        nodes = {node.name: node for node in definition.node}
        for op in operations:
            for name, value in self.attributes(op).items():
                nodes[op.name].attr[name].CopyFrom(value)
            if is_grouped(op):
                set_apart(op, definition, nodes[op.name])

    def _of_operation(self, op: tf.Operation) -> "_CustomGradient | None":
        return self._in(op.graph).get(op.name) if op.type == "IdentityN" else None

    def _in(self, graph: tf.Graph) -> "dict[str, _CustomGradient]":
        if graph not in self._of:
            identities = [op for op in graph.get_operations() if op.type == "IdentityN"]
            custom = [op for op in identities if "_gradient_op_type" in op.node_def.attr]
            found = {op.name: _CustomGradient(graph, op) for op in custom}
            self._of[graph] = found
            if found:
                # Described once for all of them: TensorFlow describes only whole graphs.
                whole = graph.as_graph_def()
                nodes = {node.name: node for node in whole.node}
                for each in found.values():
                    each.define(whole, nodes)
        return self._of[graph]


class _CustomGradient:
    """One custom gradient, from the gradients at the results of an operation to those at its sources."""

    def __init__(self, graph: tf.Graph, op: tf.Operation):
        self._op = op
        before = graph.version
        with graph.as_default():
            results = [result for result in op.outputs if result.dtype.is_floating]
            self._upstream = [tf.compat.v1.placeholder(result.dtype, result.shape) for result in results]
            sources = list(op.inputs)
            self._downstream = tf.gradients(results, sources, self._upstream, stop_gradients=sources)
        added = [each for each in graph.get_operations()[before:] if each.type != "Placeholder"]
        self._added = [each.name for each in added]
        names = set(self._added)
        read = {source.ref(): source for each in added for source in each.inputs if source.op.name not in names}
        self._read = list(read.values())
        used = {*read, *(flow.ref() for flow in self._downstream if flow is not None)}
        # What a body captures from the graph around it is an argument of the body.
        captured = ((outside, traced) for outside, traced in graph.captures if traced.ref() in used)
        self._captures = {traced.ref(): outside for outside, traced in captured if not tf.is_symbolic_tensor(outside)}
        given = {each.ref() for each in (*self._upstream, *sources)} | {*self._captures}
        self.beside = [each for each in self._read if each.ref() not in given]
        self.number = next(_numbers)
        _known[self.number] = self

    @property
    def reached(self) -> list[tf.Tensor]:
        """The sources of the operation that have a gradient."""
        return [each for each, flow in zip(self._op.inputs, self._downstream, strict=True) if flow is not None]

    @property
    def ends(self) -> list[tf.Tensor | None]:
        """What it computes from, and to."""
        return [*self._upstream, *self._downstream]

    @property
    def reads_outside(self) -> bool:
        return bool(self._captures)

    def define(self, whole: tf.compat.v1.GraphDef, nodes: dict[str, Any]) -> None:
        """Takes its operations from the definition of the whole graph, whose nodes are given by name too."""
        self._definition = tf.compat.v1.GraphDef(versions=whole.versions, library=whole.library)
        self._definition.node.extend(nodes[name] for name in self._added)
        for node in self._definition.node:
            # TensorFlow wants a gradient on the device of its operation, which is not imported again.
            node.attr.pop("_class", None)

    def of(self, op: tf.Operation, upstream: tuple[Any, ...]) -> list[tf.Tensor | None]:
        """The gradient of an imported copy of the operation."""
        arrived = [flow for flow, result in zip(upstream, self._op.outputs, strict=True) if result.dtype.is_floating]
        values = {traced.ref(): flow for traced, flow in zip(self._upstream, arrived, strict=True)}
        values |= {traced.ref(): source for traced, source in zip(self._op.inputs, op.inputs, strict=True)}
        values |= {ref: tf.convert_to_tensor(outside) for ref, outside in self._captures.items()}
        # The name of a copy is that of the operation behind a prefix.
        prefix = op.name.removesuffix(self._op.name)
        values |= {each.ref(): op.graph.get_tensor_by_name(prefix + each.name) for each in self.beside}
        # The identities are for tensors of a graph around the one under construction.
        given = {each.name: tf.identity(values[each.ref()]) for each in self._read}
        wanted = [flow for flow in self._downstream if flow is not None]
        direct = {flow.ref() for flow in wanted if flow.ref() in values}
        computed = [flow.name for flow in wanted if flow.ref() not in direct]
        made = iter(tf.graph_util.import_graph_def(self._definition, given, computed, name="gradient"))
        return [
            None if flow is None else values[flow.ref()] if flow.ref() in direct else next(made)
            for flow in self._downstream
        ]


_known: weakref.WeakValueDictionary[int, _CustomGradient] = weakref.WeakValueDictionary()


@tf.RegisterGradient(_GRADIENT)  # type: ignore[untyped-decorator]
def _gradient(op: tf.Operation, *upstream: Any) -> list[tf.Tensor | None]:
    return _known[op.get_attr(_NUMBER)].of(op, upstream)
