"""Any Keras 3 model as a trace: its logits, and where its gradient stops.

The model is called once inside the graph that is being built, as it is; everything here reads the traced operations.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

# What turns logits into probabilities at the end of a network.
LINKS = ("Softmax", "LogSoftmax", "Sigmoid")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")


class Logits(NamedTuple):
    """What a model says before its softmax or sigmoid.

    Attributes:
        values: float32 tensors in the structure of the model's output.
        links: in the same structure, the operation that was found above each value
            (``"Softmax"``, ``"LogSoftmax"`` or ``"Sigmoid"``), or ``""`` where the value is the output itself.
        row_bytes: memory that the forward pass of one row writes, in bytes.
    """

    values: Any
    links: Any
    row_bytes: int

    def describe(self) -> str:
        """Says for each output whether its logits or the output itself is explained."""
        texts = [
            f"the logits under {link}" if link else "the output itself: no softmax or sigmoid at its end"
            for link in tf.nest.flatten(self.links)
        ]
        return texts[0] if len(set(texts)) == 1 else str(tf.nest.pack_sequence_as(self.links, texts))


def logits(model: keras.Model, x: Any) -> Logits:
    """Calls the model in inference mode and looks under the softmax or sigmoid at its end.

    Args:
        model: the user's model, left as it is.
        x: float tensors of the graph under construction, in the structure that the model takes.

    Returns:
        The logits, in the structure of the model's output.
    """
    try:
        outputs = call(model, x)
    except Exception as error:
        shapes = tf.nest.map_structure(lambda tensor: tuple(tensor.shape), x)
        raise ValueError(
            f"The model cannot be called on inputs of shape {shapes}, batch first. "
            f"If the batch axis is missing, pass x[None]. It said: {error}"
        ) from error
    flat = tf.nest.flatten(outputs)
    for output in flat:
        _warn_of_hidden_link(output)
    values, links = zip(*map(_under_link, flat), strict=True)
    return Logits(
        tf.nest.pack_sequence_as(outputs, [_as_float32(value) for value in values]),
        tf.nest.pack_sequence_as(outputs, links),
        sum(map(_row_bytes, ancestors(*flat))),
    )


def call(model: keras.Model, x: Any) -> Any:
    """The model's outputs for floats, also where it declares integers.

    A functional model rounds its inputs to the type that it declares, and nothing differentiates a rounding. Behind it
    the network is a function of real numbers, whose gradient is what is asked for: so its layers are run on the floats.
    """
    declared = declared_inputs(model)
    if declared is None or all(tf.as_dtype(part.dtype).is_floating for part in tf.nest.flatten(declared)):
        return model(x, training=False)
    outputs = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    return keras.Function(declared, outputs)(x)


def declared_inputs(model: keras.Model) -> Any:
    """The symbolic inputs in the model's own structure, None for a model that declares none."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.inputs else None
    try:
        return model.input
    except (AttributeError, ValueError):
        return None


def layer_names(model: keras.Model) -> set[str]:
    """The names of the layers of a model and of the models in it."""
    layers = list(getattr(model, "layers", []))
    return {layer.name for layer in layers}.union(*map(layer_names, layers))


def _as_float32(value: tf.Tensor) -> tf.Tensor:
    return tf.cast(value, tf.float32) if value.dtype.is_floating else value


def _under_link(output: tf.Tensor) -> tuple[tf.Tensor, str]:
    """The tensor under the last softmax or sigmoid, with what only moves values around applied again."""
    op = output.op
    if op.type in LINKS:
        return op.inputs[0], op.type
    if op.type in ("Identity", "Cast", *_MOVES) and output.dtype.is_floating and op.inputs[0].dtype.is_floating:
        value, link = _under_link(op.inputs[0])
        if link:
            return _MOVES.get(op.type, lambda op, value: value)(op, value), link
    return output, ""


_MOVES: dict[str, Callable[[tf.Operation, tf.Tensor], tf.Tensor]] = {
    "Reshape": lambda op, value: tf.reshape(value, op.inputs[1]),
    "Transpose": lambda op, value: tf.transpose(value, op.inputs[1]),
    "ExpandDims": lambda op, value: tf.expand_dims(value, op.inputs[1]),
    "Squeeze": lambda op, value: tf.squeeze(value, op.get_attr("squeeze_dims")),
}


def _warn_of_hidden_link(output: tf.Tensor) -> None:
    """Warns where the output comes out of a nested tf.function that ends in a softmax or sigmoid."""
    if output.op.type not in CALLS:
        return
    if link := _last_link(functions_of(output.graph), output.op.get_attr("f").name, output.value_index):
        warnings.warn(
            f"The model ends in a tf.function that hides its {link}: the output itself is explained, "
            "whose gradient vanishes where the model is sure. Take @tf.function off the model's call, "
            "or return logits from it.",
            stacklevel=2,
        )


def functions_of(graph: tf.Graph) -> dict[str, Any]:
    """The functions that a graph can call, by name."""
    return {function.signature.name: function for function in graph.as_graph_def().library.function}


def _last_link(library: dict[str, Any], name: str, place: int) -> str:
    """The softmax or sigmoid at the end of a function's output, also of functions that it calls; "" for none."""
    function = library[name]
    nodes = {node.name: node for node in function.node_def}
    # "node:output:place" or, for an argument of the function, "argument".
    source = function.ret[function.signature.output_arg[place].name]
    while (node := nodes.get(source.split(":")[0])) is not None:
        if node.op in LINKS:
            return node.op
        if node.op in CALLS:
            return _last_link(library, node.attr["f"].func.name, int(source.split(":")[-1]))
        if node.op not in ("Identity", "Cast"):
            break
        source = node.input[0]
    return ""


def _row_bytes(op: tf.Operation) -> int:
    """Bytes that an operation writes for one row, as far as the trace knows its shapes."""
    shapes = [(output.shape, output.dtype.size) for output in op.outputs if output.shape.rank]
    return sum(size * (shape[1:].num_elements() or 0) for shape, size in shapes if shape[0] is None)


def ancestors(*tensors: tf.Tensor) -> list[tf.Operation]:
    """The operations that the tensors depend on, each once, in the order in which they were traced."""
    seen: dict[str, tf.Operation] = {}
    stack = [tensor.op for tensor in tensors]
    while stack:
        op = stack.pop()
        if op.name not in seen:
            seen[op.name] = op
            stack += [tensor.op for tensor in op.inputs]
    order = {op.name: place for place, op in enumerate(tensors[0].graph.get_operations())}
    return sorted(seen.values(), key=lambda op: order[op.name])


def operations_between(outputs: list[tf.Tensor], inputs: list[tf.Tensor]) -> list[tf.Operation]:
    """The operations on the way from the inputs to the outputs, in the order in which they were traced."""
    dependent = {tensor.ref() for tensor in inputs}
    found = []
    for op in ancestors(*outputs):
        if any(source.ref() in dependent for source in op.inputs):
            found.append(op)
            dependent |= {result.ref() for result in op.outputs}
    return found


def first_without_gradient(y: tf.Tensor, x: tf.Tensor) -> tf.Operation | None:
    """The first operation from x to y that makes floats and no gradient, None if y does not depend on x."""
    dependent = {x.op.name}
    first_of_integers = None
    for op in ancestors(y):
        sources = [tensor for tensor in op.inputs if tensor.op.name in dependent]
        if not sources or op.type in ("Shape", "Size", "Rank"):
            continue
        if not any(output.dtype.is_floating for output in op.outputs):
            # Not to blame yet: what reads these integers is the operation that the user knows.
            first_of_integers = first_of_integers or op
        elif not any(_passes_gradient(op, source) for source in sources):
            return op
        dependent.add(op.name)
    return first_of_integers


def _passes_gradient(op: tf.Operation, source: tf.Tensor) -> bool:
    floats = [output for output in op.outputs if output.dtype.is_floating]
    try:
        return tf.gradients(floats, source)[0] is not None
    except LookupError:
        return False
