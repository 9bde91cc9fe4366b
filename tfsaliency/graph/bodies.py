"""The bodies of functions, loops and conditions, as graphs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.operations import CALLS, NESTED


def body_of(op: tf.Operation, name: str) -> Any:
    """The traced graph that an attribute of an operation names."""
    return _traced(op, op.get_attr(name).name)


def bodies_of(op: tf.Operation, name: str) -> list[Any]:
    """The traced graphs that an attribute names, one for each branch."""
    return [_traced(op, function.name) for function in op.get_attr(name)]


def all_bodies(graph: Any, called: str = "") -> list[Any]:
    """The traced bodies of loops and conditions within a graph, at any depth, each once.

    Args:
        graph: the graph.
        called: the name of functions of Python whose calls count as well.
    """
    found: dict[int, Any] = {}
    graphs = [graph]
    # Grows while it is read.
    for outer in graphs:
        nested = [op for op in outer.get_operations() if op.type in NESTED]
        attributes = [(op, value) for op in nested for value in op.node_def.attr.values()]
        named = [(op, each.name) for op, value in attributes for each in (value.func, *value.list.func) if each.name]
        inner = {
            id(body): body
            for op, name in named
            if (body := _known(op, name)) is not None and (op.type not in CALLS or body.name == called)
        }
        graphs += [body for key, body in inner.items() if key not in found]
        found |= inner
    return [*found.values()]


def operations_of(graph: Any) -> list[tf.Operation]:
    """The operations of a body that its results need, and those that run for their effect, such as an assignment."""
    acting = {op.name for op in graph.control_outputs}
    read = [source for op in graph.control_outputs for source in op.inputs]
    needed = {op.name for op in ancestors(*graph.outputs, *read)} if graph.outputs or read else set()
    return [op for op in graph.get_operations() if op.name in needed | acting]


def captured(graph: Any, instead: Mapping[int, Any] = MappingProxyType({})) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Pairs of a traced placeholder and what it stands for outside of the graph, such as a variable.

    Args:
        graph: a traced graph.
        instead: what takes the place of what is outside, by its ``id``.
    """
    return [(traced, instead.get(id(outside), outside)) for outside, traced in graph.captures]


def _known(op: tf.Operation, name: str) -> Any:
    """The traced graph of a function that an operation calls; None where TensorFlow keeps no trace of it."""
    graph = op.graph
    while graph is not None:
        # TensorFlow has no public way from the name of a function to its graph.
        found = getattr(graph._get_function(name), "graph", None)
        if found is not None:
            return found
        graph = getattr(graph, "outer_graph", None)
    return None


def _traced(op: tf.Operation, name: str) -> Any:
    found = _known(op, name)
    if found is not None:
        return found
    raise ValueError(
        f"{op.name!r}, an operation of type {op.type}, calls the function {name!r}, of which TensorFlow keeps no "
        "trace. A SavedModel in the format of TensorFlow 1 has such functions: save it again with tf.saved_model.save."
    )
