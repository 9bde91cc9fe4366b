"""Keras runs a grouped convolution in a compiled function of its own, where it must be found and done without it."""

from typing import Any

import tensorflow as tf

from tfsaliency.forward import CALLS
from tfsaliency.rules.step import Step

PASSES = ("Identity", "Cast")


def grouped_convolution(op: tf.Operation, depends: list[bool], functions: dict[str, Any]) -> Step | None:
    """The convolution that a call of a function is, None where it is anything else."""
    if op.type not in CALLS:
        return None
    body = functions[op.get_attr("f").name]
    arguments = [argument.name for argument in body.signature.input_arg]
    nodes = {node.name: node for node in body.node_def if node.op != "NoOp"}
    convolutions = [node for node in nodes.values() if node.op == "Conv2D"]
    rest = {node.op for node in nodes.values()} - {"Conv2D", "ReadVariableOp", *PASSES}
    if len(convolutions) != 1 or rest:
        return None
    convolution = convolutions[0]
    image, kernel = (_argument(nodes, name) for name in convolution.input)
    places = arguments.index(image), arguments.index(kernel)
    x, w = (op.inputs[place] for place in places)
    if w.dtype == tf.resource:
        w = tf.raw_ops.ReadVariableOp(resource=w, dtype=_read_type(nodes))
    attributes = {
        "strides": list(convolution.attr["strides"].list.i),
        "padding": convolution.attr["padding"].s.decode(),
        "dilations": list(convolution.attr["dilations"].list.i),
    }
    if "explicit_paddings" in convolution.attr and convolution.attr["explicit_paddings"].list.i:
        return None
    if convolution.attr["data_format"].s not in (b"", b"NHWC"):
        return None
    result = next(output for output in op.outputs if output.dtype.is_floating)
    return Step(
        "Conv2D",
        op.name,
        [x, w],
        [result],
        [depends[places[0]], False],
        lambda x, w: [_grouped(x, w, **attributes)],
    )


def _argument(nodes: dict, name: str) -> str:
    """The argument of the function that a tensor in its body is, up to reading and casting."""
    source = name.split(":")[0]
    return _argument(nodes, nodes[source].input[0]) if source in nodes else source


def _read_type(nodes: dict) -> tf.DType:
    return next(tf.as_dtype(node.attr["dtype"].type) for node in nodes.values() if node.op == "ReadVariableOp")


def _grouped(x: tf.Tensor, w: tf.Tensor, strides: list[int], padding: str, dilations: list[int]) -> tf.Tensor:
    """A convolution of ``(N, H, W, groups * C)`` with ``(h, w, C, groups * K)`` that has a gradient on every device."""
    w = tf.cast(w, x.dtype)
    groups = x.shape[-1] // w.shape[2]
    if w.shape[2] == 1 and strides[1] == strides[2]:
        kernel = tf.reshape(w, [*w.shape[:2], groups, w.shape[3] // groups])
        return tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=dilations[1:3])
    parts = zip(tf.split(x, groups, axis=-1), tf.split(w, groups, axis=-1), strict=True)
    return tf.concat([tf.nn.conv2d(part, kernel, strides, padding, dilations=dilations) for part, kernel in parts], -1)
