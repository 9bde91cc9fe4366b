"""The logits of a model: what it computes before the softmax or sigmoid at its end, found in its trace."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfsaliency.graph.operations import CALLS, IDENTITIES, LINKS
from tfsaliency.model.call import call


class Logits(NamedTuple):
    """What a model says before its softmax or sigmoid.

    Attributes:
        values: float32 tensors in the structure of the model's output.
        links: in the same structure, the operation that was found above each value
            (``"Softmax"``, ``"LogSoftmax"`` or ``"Sigmoid"``), or ``""`` where the value is the output itself.
    """

    values: Any
    links: Any

    @property
    def floats(self) -> list[tf.Tensor]:
        """The values that are floats, one after the other."""
        return [value for value in tf.nest.flatten(self.values) if value.dtype.is_floating]

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
        model: the user's model. It is left as it is.
        x: float tensors of the graph under construction, in the structure that the model takes.

    Returns:
        The logits, in the structure of the model's output.

    Raises:
        ValueError: the model cannot be called on such inputs.
    """
    try:
        outputs = call(model, x)
    except Exception as error:
        shapes = tf.nest.map_structure(lambda tensor: tuple(tensor.shape), x)
        raise ValueError(
            f"The model cannot be called on inputs of shape {shapes}, batch first. "
            f"If the batch axis is missing, pass x[None]. It said: {error}"
        ) from error
    values, links = zip(*map(_under_link, tf.nest.flatten(outputs)), strict=True)
    return Logits(
        tf.nest.pack_sequence_as(outputs, [_as_float32(value) for value in values]),
        tf.nest.pack_sequence_as(outputs, links),
    )


def hidden_link(output: tf.Tensor, functions: dict[str, Any]) -> str:
    """The softmax or sigmoid at the end of a nested ``tf.function`` that returned an output; "" for none.

    Args:
        output: a traced value of the logits.
        functions: the definitions of the functions in the graph, by name.
    """
    while output.op.type in IDENTITIES:
        output = output.op.inputs[0]
    if output.op.type not in CALLS:
        return ""
    return _last_link(functions, output.op.get_attr("f").name, output.value_index)


def _as_float32(value: tf.Tensor) -> tf.Tensor:
    return tf.cast(value, tf.float32) if value.dtype.is_floating else value


def _under_link(output: tf.Tensor) -> tuple[tf.Tensor, str]:
    """The tensor under the last softmax or sigmoid, with the moves above that applied again, and which it was."""
    op = output.op
    if op.type in LINKS:
        return op.inputs[0], op.type
    if op.type in (*IDENTITIES, *_AGAIN) and output.dtype.is_floating and op.inputs[0].dtype.is_floating:
        value, link = _under_link(op.inputs[0])
        if link:
            return _AGAIN.get(op.type, lambda op, value: value)(op, value), link
    return output, ""


# How a move is applied to another tensor.
_AGAIN: dict[str, Callable[[tf.Operation, tf.Tensor], tf.Tensor]] = {
    "Reshape": lambda op, value: tf.reshape(value, op.inputs[1]),
    "Transpose": lambda op, value: tf.transpose(value, op.inputs[1]),
    "ExpandDims": lambda op, value: tf.expand_dims(value, op.inputs[1]),
    "Squeeze": lambda op, value: tf.squeeze(value, op.get_attr("squeeze_dims")),
}


def _last_link(functions: dict[str, Any], name: str, place: int) -> str:
    """The softmax or sigmoid at the end of a function's output, also of functions that it calls; "" for none."""
    function = functions[name]
    nodes = {node.name: node for node in function.node_def}
    # "node:output:place" or, for an argument of the function, "argument".
    source = function.ret[function.signature.output_arg[place].name]
    while (node := nodes.get(source.split(":")[0])) is not None:
        if node.op in LINKS:
            return str(node.op)
        if node.op in CALLS:
            return _last_link(functions, node.attr["f"].func.name, int(source.split(":")[-1]))
        if node.op not in IDENTITIES:
            break
        source = node.input[0]
    return ""
