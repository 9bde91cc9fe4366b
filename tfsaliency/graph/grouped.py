"""Keras runs a grouped convolution in a compiled function of its own. Rules need the convolution that is in it."""

from typing import Any

import tensorflow as tf

from tfsaliency.graph.operations import IDENTITIES
from tfsaliency.graph.step import Step


class GroupedConvolution(Step):
    """A convolution of ``(N, H, W, groups * C)`` with weights ``(h, w, C, groups * K)``.

    Args:
        op: the call of the function.
        sources: the image and the weights, or the variable that holds these.
        depends: for each of the two, whether it depends on the inputs.
        attributes: of the convolution in the function.
        read_as: the type of the variable.
    """

    def __init__(
        self,
        op: tf.Operation,
        sources: list[tf.Tensor],
        depends: list[bool],
        attributes: dict[str, Any],
        read_as: tf.DType,
    ):
        result = next(output for output in op.outputs if output.dtype.is_floating)
        super().__init__("Conv2D", op.name, sources, [result], depends)
        self._attributes, self._read_as = attributes, read_as

    def value(self, traced: tf.Tensor) -> tf.Tensor:
        value = super().value(traced)
        is_variable = traced.dtype == tf.resource
        return tf.raw_ops.ReadVariableOp(resource=value, dtype=self._read_as) if is_variable else value

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        return [_grouped(*inputs, **self._attributes)]


def grouped_convolution(op: tf.Operation, depends: list[bool], functions: dict[str, Any]) -> Step | None:
    """The convolution that a call of a function is, None where it is anything else."""
    body = functions[op.get_attr("f").name]
    arguments = [argument.name for argument in body.signature.input_arg]
    nodes = {node.name: node for node in body.node_def if node.op != "NoOp"}
    convolutions = [node for node in nodes.values() if node.op == "Conv2D"]
    rest = {node.op for node in nodes.values()} - {"Conv2D", "ReadVariableOp", *IDENTITIES}
    if len(convolutions) != 1 or rest:
        return None
    attr = convolutions[0].attr
    if attr["explicit_paddings"].list.i or attr["data_format"].s not in (b"", b"NHWC"):
        return None
    attributes = {
        "strides": list(attr["strides"].list.i),
        "padding": attr["padding"].s.decode(),
        "dilations": list(attr["dilations"].list.i),
    }
    image, kernel = (arguments.index(_argument(nodes, name)) for name in convolutions[0].input)
    reads = [tf.as_dtype(node.attr["dtype"].type) for node in nodes.values() if node.op == "ReadVariableOp"]
    sources = [op.inputs[image], op.inputs[kernel]]
    return GroupedConvolution(op, sources, [depends[image], False], attributes, (*reads, tf.float32)[0])


def _argument(nodes: dict[str, Any], name: str) -> str:
    """The argument of the function that a tensor in its body is, up to reading and casting."""
    source = name.split(":")[0]
    return _argument(nodes, nodes[source].input[0]) if source in nodes else source


def _grouped(x: tf.Tensor, w: tf.Tensor, strides: list[int], padding: str, dilations: list[int]) -> tf.Tensor:
    """The convolution in a form that has a gradient on every device."""
    w = tf.cast(w, x.dtype)
    groups = x.shape[-1] // w.shape[2]
    if w.shape[2] == 1 and strides[1] == strides[2]:
        kernel = tf.reshape(w, [*w.shape[:2], groups, w.shape[3] // groups])
        return tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=dilations[1:3])
    parts = zip(tf.split(x, groups, axis=-1), tf.split(w, groups, axis=-1), strict=True)
    return tf.concat([tf.nn.conv2d(part, kernel, strides, padding, dilations=dilations) for part, kernel in parts], -1)
