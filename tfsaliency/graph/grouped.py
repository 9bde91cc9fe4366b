"""Convolutions in groups of channels: some devices have no gradient of one, and some no kernel for one with a bias.

The gradient is that of one convolution for each group. TensorFlow fuses a convolution with what follows it, for which
it has no kernel in groups where it does not use oneDNN: on processors without AVX-512. It fuses nothing across a check
of the shape, so there is one behind each of them.
"""

from typing import Any

import tensorflow as tf

# The name of the gradient below.
GROUPED = "TfsaliencyGroupedConvolution"
# Behind the name of its operation, in a graph definition.
IN_GROUPS = "/in_groups"


def is_grouped(op: tf.Operation) -> bool:
    """Whether an operation is a convolution whose weights read a part of the channels each."""
    if op.type != "Conv2D" or op.get_attr("data_format") != b"NHWC":
        return False
    channels, read = op.inputs[0].shape, op.inputs[1].shape
    return bool(channels.rank and read.rank and channels[-1] and read[2] and channels[-1] != read[2])


def grouped_convolution(op: tf.Operation, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
    """The result of a grouped convolution of ``x``, ``(N, H, W, groups * C)``, by ``w``, ``(h, w, C, groups * K)``."""
    groups = x.shape[-1] // w.shape[2]
    strides, dilations = op.get_attr("strides"), op.get_attr("dilations")
    padding = op.get_attr("padding").decode()
    if padding == "EXPLICIT":
        ends = op.get_attr("explicit_paddings")
        padding = [ends[place : place + 2] for place in range(0, len(ends), 2)]
    elif w.shape[2] == 1 and strides[1] == strides[2]:
        kernel = tf.reshape(w, [*w.shape[:2], groups, w.shape[3] // groups])
        return tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=dilations[1:3])
    parts = zip(tf.split(x, groups, axis=-1), tf.split(w, groups, axis=-1), strict=True)
    return tf.concat([tf.nn.conv2d(part, kernel, strides, padding, dilations=dilations) for part, kernel in parts], -1)


def apart(y: tf.Tensor) -> tf.Tensor:
    """The result of a grouped convolution, not to be fused with what reads it."""
    return tf.ensure_shape(y, y.shape)


def set_apart(op: tf.Operation, definition: tf.compat.v1.GraphDef, node: tf.compat.v1.NodeDef) -> None:
    """The same in a graph definition: a check of the shape takes the name of the node of the operation."""
    checked = definition.node.add()
    checked.op, checked.name, checked.device = "EnsureShape", node.name, node.device
    node.name += IN_GROUPS
    checked.input.append(node.name)
    checked.attr["T"].type = op.outputs[0].dtype.as_datatype_enum
    checked.attr["shape"].shape.CopyFrom(op.outputs[0].shape.as_proto())


@tf.RegisterGradient(GROUPED)  # type: ignore[untyped-decorator]
def _gradient(op: tf.Operation, upstream: tf.Tensor) -> list[Any]:
    x, w = map(tf.identity, op.inputs)
    gradients: list[Any] = tf.gradients(grouped_convolution(op, x, w), [x, w], upstream)
    return gradients
