"""A score in float64: the graph of a traced model with every float in double precision, whatever the model is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.model.traced import TracedModel
from tfsaliency.target.base import Target

_FLOATS = (tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum, tf.float32.as_datatype_enum)
_DOUBLE = tf.float64.as_datatype_enum


def score_in_float64(model: TracedModel, target: Target, chosen: dict[str, np.ndarray]) -> Callable[[Any], np.ndarray]:
    """``(N,)`` scores of inputs in float64, which differences of two near points need.

    Args:
        model: the traced model.
        target: what is scored.
        chosen: what the target chose for each row, such as its class.

    Raises:
        ValueError: an operation of the model exists in single precision only, or reads something else than variables.
    """
    definition = _doubled(model.trace.graph.as_graph_def())
    given = _variables(model)
    wanted = tf.nest.flatten(model.logits.values)
    specs = [tf.TensorSpec([None, *each.shape[1:]], tf.float64) for each in tf.nest.flatten(model.inputs)]

    def scored(*parts: tf.Tensor) -> tf.Tensor:
        names = [each.name for each in tf.nest.flatten(model.inputs)]
        known = dict(zip(names, parts, strict=True)) | {name: tf.constant(value) for name, value in given.items()}
        found = tf.graph_util.import_graph_def(definition, known, [each.name for each in wanted], name="")
        values = tf.nest.pack_sequence_as(model.logits.values, found)
        return target.score(model.logits._replace(values=values), tf.nest.map_structure(tf.constant, chosen), None)

    function = tf.function(scored, autograph=False, input_signature=specs).get_concrete_function()
    return lambda x: np.asarray(function(*(tf.constant(part, tf.float64) for part in tf.nest.flatten(x))))


def _variables(model: TracedModel) -> dict[str, np.ndarray]:
    """Name of a traced tensor -> what it stands for, in float64: every variable that is read, and what is captured."""
    graph = model.trace.graph
    variables = {id(each.handle): each for each in graph.variables}
    found = {}
    for outside, traced in graph.captures:
        if id(outside) not in variables:
            found[traced.name] = _double(outside.numpy())
            continue
        readers = traced.consumers()
        if {op.type for op in readers} - {"ReadVariableOp"}:
            raise ValueError(f"{sorted({op.type for op in readers})} read the variable {variables[id(outside)].name}.")
        value = _double(variables[id(outside)].numpy())
        found |= {op.outputs[0].name: value for op in readers}
    return found


def _double(value: np.ndarray) -> np.ndarray:
    value = np.asarray(value)
    return value.astype("float64") if tf.as_dtype(value.dtype).is_floating else value


def _doubled(definition: Any) -> Any:
    """The graph with every float in double precision."""
    for node in (*definition.node, *(node for each in definition.library.function for node in each.node_def)):
        for attribute in node.attr.values():
            _double_attribute(attribute)
    return definition


def _double_attribute(attribute: Any) -> None:
    # Only the value that there is may be looked at: asking for another one puts it in.
    kind = attribute.WhichOneof("value")
    if kind == "type" and attribute.type in _FLOATS:
        attribute.type = _DOUBLE
    elif kind == "list" and attribute.list.type:
        attribute.list.type[:] = [_DOUBLE if each in _FLOATS else each for each in attribute.list.type]
    elif kind == "tensor" and attribute.tensor.dtype in _FLOATS:
        attribute.tensor.CopyFrom(tf.make_tensor_proto(_double(tf.make_ndarray(attribute.tensor))))
