"""Affine maps: a convolution or matrix product with all that scales and shifts it, as one map with effective weights.

A trace shows a convolution, its bias and the batch normalization after it as four operations or more. A rule that looks
at the signs of weights needs the weights of all of them together.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfsaliency.rules.step import Step, precise

CONVOLUTION, DENSE, NORMALIZATION = "convolution", "dense", "normalization"

# Operations with weights: their kind, and which of their sources is the signal as layers use them.
HEADS = {
    "Conv2D": (CONVOLUTION, 0),
    "Conv3D": (CONVOLUTION, 0),
    "DepthwiseConv2dNative": (CONVOLUTION, 0),
    "Conv2DBackpropInput": (CONVOLUTION, 2),
    "Conv3DBackpropInputV2": (CONVOLUTION, 2),
    "MatMul": (DENSE, 0),
    "BatchMatMulV2": (DENSE, 0),
    "BatchMatMulV3": (DENSE, 0),
    "Einsum": (DENSE, 0),
}


class Affine(Step):
    """``z = L(x; w) + b`` as one step, from the tensor before its first operation to the one after its last.

    Attributes:
        type: ``"convolution"``, ``"dense"``, or ``"normalization"`` for a scale and shift without a convolution or
            matrix product that they could belong to.
        x: what it reads, ``(N, ...)``.
        z: what it makes, ``(N, ...)``.
        weights: the effective weights ``w``, in the layout of the operation.
        never_negative: whether the trace shows that ``x`` is not negative anywhere, as after a ReLU.
    """

    never_negative = False

    def __init__(
        self, kind: str, steps: list[Step], weights: Callable[[], tf.Tensor], linear: Callable, bias: Callable
    ):
        first, last, head = steps[0], steps[-1], next((step for step in steps if step.type in HEADS), steps[0])
        place = first.depends.index(True)
        super().__init__(kind, head.name, [first.sources[place]], [last.results[0]], [True], lambda x: [self.linear(x)])
        self.operations = [step.type for step in steps]
        self.names = [step.name for step in steps]
        self._weights, self._linear, self._bias = weights, linear, bias

    @property
    def x(self) -> tf.Tensor:
        return self.input

    @property
    def z(self) -> tf.Tensor:
        return self.output

    @property
    def weights(self) -> tf.Tensor:
        return self._weights()

    def linear(self, x: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """``L(x; w)`` for any signal and weights of the same shapes, without the bias."""
        return self._linear(x, self.weights if weights is None else weights)

    @property
    def bias(self) -> tf.Tensor:
        """``b``, of a shape that broadcasts to that of ``z``."""
        return self._bias(self)


class Scale(NamedTuple):
    """``scale * x + shift`` number by number; each a number or a tensor."""

    scale: tf.Tensor | float
    shift: tf.Tensor | float


def scale_and_shift(step: Step) -> Scale | None:
    """What an elementwise affine operation does, None for any other."""
    if step.depends.count(True) != 1:
        return None
    place = step.depends.index(True)
    if repr(step.results[0].shape) != repr(step.sources[place].shape):
        # It spreads its operand over more places.
        return None
    if step.type == "Neg":
        return Scale(-1.0, 0.0)
    if step.type == "FusedBatchNormV3":
        return _fused_normalization(step)
    if step.type not in ARITHMETIC or (step.type == "RealDiv" and place):
        return None
    other = _without_leading_ones(step.inputs[1 - place])
    if not other.shape.is_fully_defined():
        # Something of each sample, as a mask or a count, is no weight.
        return None
    return ARITHMETIC[step.type](other, bool(place))


ARITHMETIC: dict[str, Callable[[tf.Tensor, bool], Scale]] = {
    "Add": lambda other, second: Scale(1.0, other),
    "AddV2": lambda other, second: Scale(1.0, other),
    "BiasAdd": lambda other, second: Scale(1.0, other),
    "Mul": lambda other, second: Scale(other, 0.0),
    "RealDiv": lambda other, second: Scale(1 / other, 0.0),
    "Sub": lambda other, second: Scale(-1.0, other) if second else Scale(1.0, -other),
}


def _fused_normalization(step: Step) -> Scale | None:
    if step.attribute("is_training"):
        return None
    _, gamma, beta, mean, variance = step.inputs
    scale = gamma * tf.math.rsqrt(variance + step.attribute("epsilon"))
    return Scale(scale, beta - mean * scale)


def _without_leading_ones(tensor: tf.Tensor) -> tf.Tensor:
    """The same for broadcasting, also where the other operand has fewer axes."""
    shape = tensor.shape.as_list()
    while shape and shape[0] == 1:
        shape = shape[1:]
    return tf.reshape(tensor, shape) if None not in shape and len(shape) != tensor.shape.rank else tensor


def per_channel(value: tf.Tensor | float) -> bool:
    """Whether there is at most one number per position of the last axis."""
    return isinstance(value, float) or value.shape.rank in (0, 1)


def is_one(value: tf.Tensor | float) -> bool:
    """Whether a scale is known to change nothing."""
    return isinstance(value, float) and value == 1.0


def is_zero(value: tf.Tensor | float) -> bool:
    """Whether a shift is known to change nothing."""
    return isinstance(value, float) and value == 0.0


def through(steps: list[Step]) -> Scale:
    """What elementwise affine operations do one after the other."""
    total = Scale(1.0, 0.0)
    for scale in filter(None, map(scale_and_shift, steps)):
        total = Scale(total.scale * scale.scale, total.shift * scale.scale + scale.shift)
    return total


def _moved(x: tf.Tensor, steps: list[Step]) -> tf.Tensor:
    for step in steps:
        if scale_and_shift(step) is None:
            x = step.with_input(x)
    return x


def with_head(before: list[Step], head: Step, after: list[Step]) -> Affine:
    """The map of an operation with weights, and of the scales, shifts and moves around it."""
    kind, _ = HEADS[head.type]
    signal = head.depends.index(True)
    kernel = next(
        place for place in range(len(head.sources)) if place != signal and head.sources[place].dtype.is_floating
    )

    def weights() -> tf.Tensor:
        w = head.inputs[kernel]
        scaled = _scaled(w, through(before).scale, lambda scale: _per_signal(head, w, scale))
        return _scaled(scaled, through(after).scale, lambda scale: _per_result(head, w, scale))

    def linear(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        inputs = list(head.inputs)
        inputs[signal], inputs[kernel] = _moved(x, before), w
        return _moved(head.run(*inputs)[0], after)

    def bias(affine: Affine) -> tf.Tensor:
        if is_zero(through(before).shift):
            return tf.convert_to_tensor(through(after).shift, affine.z.dtype)
        # A shift under a padded convolution adds less at the border: what is left over is the bias at each place.
        return affine.z - affine.linear(affine.x)

    return Affine(kind, [*before, head, *after], weights, linear, bias)


def without_head(steps: list[Step]) -> Affine:
    """The map of scales and shifts alone."""
    return Affine(
        NORMALIZATION,
        steps,
        lambda: tf.convert_to_tensor(through(steps).scale, precise(steps[0].results[0]).dtype),
        lambda x, w: x * w,
        lambda affine: tf.convert_to_tensor(through(steps).shift, affine.z.dtype),
    )


def _scaled(w: tf.Tensor, scale: tf.Tensor | float, spread: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Weights so many times larger: by one number, or by one per channel, spread over them."""
    if is_one(scale):
        return w
    scale = tf.convert_to_tensor(scale, w.dtype)
    return w * (spread(scale) if scale.shape.rank else scale)


def _per_result(head: Step, w: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """A number per channel of the result, where the weights have that channel."""
    if head.type == "DepthwiseConv2dNative":
        return tf.reshape(scale, w.shape[2:])
    return scale[:, None] if _transposed(head) else scale


def _per_signal(head: Step, w: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """A number per channel of the signal, where the weights have that channel."""
    if head.type == "Conv2D" and w.shape[2] != scale.shape[0]:
        groups = scale.shape[0] // w.shape[2]
        in_groups = tf.transpose(tf.reshape(scale, [groups, w.shape[2]]))
        return tf.repeat(in_groups, w.shape[3] // groups, axis=1)
    return scale if _transposed(head) else scale[:, None]


def _transposed(head: Step) -> bool:
    """Whether the weights have the channels of the result before those of the signal."""
    if head.type == "MatMul":
        return bool(head.attribute("transpose_b"))
    if head.type.startswith("BatchMatMul"):
        return bool(head.attribute("adj_y"))
    return head.type.startswith(("Conv2DBackprop", "Conv3DBackprop"))
