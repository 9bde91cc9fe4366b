"""Affine maps: a convolution or matrix product with all that scales and shifts it, as one map with effective weights.

A trace shows a convolution, its bias and the batch normalization after it as four operations or more. A rule that looks
at the signs of weights needs the weights of all of them together.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple, Self

import tensorflow as tf

from tfsaliency.graph.operations import CONVOLUTIONS, MATRIX_PRODUCTS, TRANSPOSED_CONVOLUTIONS
from tfsaliency.graph.step import Step
from tfsaliency.graph.trace import Values

CONVOLUTION, DENSE, NORMALIZATION = "convolution", "dense", "normalization"

# The kind of map that an operation with weights makes.
KINDS = {
    **dict.fromkeys((*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS), CONVOLUTION),
    **dict.fromkeys(MATRIX_PRODUCTS, DENSE),
}


def signal_place(type: str) -> int:
    """Which source of an operation with weights is the signal, as layers use it."""
    return 2 if type in TRANSPOSED_CONVOLUTIONS else 0


# --- scales and shifts ---


class Extent(IntEnum):
    """How many numbers a scale or a shift has."""

    NONE = 0
    ONE = 1
    PER_CHANNEL = 2
    PER_PLACE = 3


class ScaleAndShift(NamedTuple):
    """How many numbers ``scale * x + shift`` has, as the trace shows it. No scale is a scale of one."""

    scale: Extent
    shift: Extent


class Scale(NamedTuple):
    """``scale * x + shift`` number by number; each a number or a tensor."""

    scale: tf.Tensor | float
    shift: tf.Tensor | float


def scale_and_shift(step: Step) -> ScaleAndShift | None:
    """What an elementwise affine operation does, None for any other operation."""
    if step.depends.count(True) != 1:
        return None
    place = step.depends.index(True)
    if repr(step.results[0].shape) != repr(step.sources[place].shape):
        # The operation spreads its operand over more places.
        return None
    if step.type == "Neg":
        return ScaleAndShift(Extent.ONE, Extent.NONE)
    if step.type == "FusedBatchNormV3":
        has_weights = not step.attribute("is_training") and not _channels_in_front(step)
        return None if not has_weights else ScaleAndShift(Extent.PER_CHANNEL, Extent.PER_CHANNEL)
    if step.type not in _ARITHMETIC or (step.type == "RealDiv" and place):
        return None
    shape = _without_leading_ones(step.sources[1 - place].shape)
    if not shape.is_fully_defined():
        # A number of each sample, such as a mask or a count, is no weight.
        return None
    in_front = step.type == "BiasAdd" and _channels_in_front(step)
    extent = Extent(1 + shape.rank) if shape.rank < 2 and not in_front else Extent.PER_PLACE
    if step.type in ("Mul", "RealDiv"):
        return ScaleAndShift(extent, Extent.NONE)
    return ScaleAndShift(Extent.ONE if step.type == "Sub" and place else Extent.NONE, extent)


def _channels_in_front(step: Step) -> bool:
    return bool(step.attribute("data_format").startswith(b"NC"))


def _scale_of(step: Step) -> Scale:
    """The numbers of an elementwise affine operation with values."""
    if step.type == "Neg":
        return Scale(-1.0, 0.0)
    if step.type == "FusedBatchNormV3":
        gamma, beta, mean, variance = map(step.precise, step.sources[1:])
        scale = gamma * tf.math.rsqrt(variance + step.attribute("epsilon"))
        return Scale(scale, beta - mean * scale)
    place = step.depends.index(True)
    other = step.precise(step.sources[1 - place])
    if other.shape.rank and other.shape[0] == 1:
        other = tf.reshape(other, _without_leading_ones(other.shape))
    if step.type == "BiasAdd" and _channels_in_front(step):
        other = tf.reshape(other, [-1, *[1] * (step.results[0].shape.rank - 2)])
    return _ARITHMETIC[step.type](other, bool(place))


_ARITHMETIC: dict[str, Callable[[tf.Tensor, bool], Scale]] = {
    "Add": lambda other, second: Scale(1.0, other),
    "AddV2": lambda other, second: Scale(1.0, other),
    "BiasAdd": lambda other, second: Scale(1.0, other),
    "Mul": lambda other, second: Scale(other, 0.0),
    "RealDiv": lambda other, second: Scale(1 / other, 0.0),
    "Sub": lambda other, second: Scale(-1.0, other) if second else Scale(1.0, -other),
}


def _without_leading_ones(shape: tf.TensorShape) -> tf.TensorShape:
    """The same for broadcasting, also where the other operand has fewer axes."""
    while shape.rank and shape[0] == 1:
        shape = shape[1:]
    return shape


def rounds(step: Step) -> bool:
    """Whether a step hands on numbers in another precision, as mixed precision does around a normalization."""
    dtypes = {step.sources[0].dtype, step.results[0].dtype}
    return step.type == "Cast" and dtypes <= {tf.float16, tf.bfloat16, tf.float32}


def extents_through(steps: Sequence[Step]) -> ScaleAndShift:
    """What elementwise affine operations do one after the other, as the trace shows it."""
    found = [each for each in map(scale_and_shift, steps) if each is not None]
    return ScaleAndShift(
        max((each.scale for each in found), default=Extent.NONE),
        max((max(each) if any(other.shift for other in found) else Extent.NONE for each in found), default=Extent.NONE),
    )


def _through(steps: Sequence[Step]) -> Scale:
    """The numbers of elementwise affine operations with values, one after the other."""
    whole = Scale(1.0, 0.0)
    for step in steps:
        if scale_and_shift(step) is not None:
            scale = _scale_of(step)
            whole = Scale(_times(whole.scale, scale.scale), _plus(_times(whole.shift, scale.scale), scale.shift))
    return whole


# Each operation of a graph takes time when it is traced, and a large model has hundreds of scales.
def _times(a: tf.Tensor | float, b: tf.Tensor | float) -> tf.Tensor | float:
    if _is_number(a, 0.0) or _is_number(b, 1.0):
        return a
    return b if _is_number(a, 1.0) else a * b


def _plus(a: tf.Tensor | float, b: tf.Tensor | float) -> tf.Tensor | float:
    if _is_number(b, 0.0):
        return a
    return b if _is_number(a, 0.0) else a + b


def _is_number(a: tf.Tensor | float, number: float) -> bool:
    return isinstance(a, float) and a == number


# --- affine maps ---


class Affine(Step):
    """``z = L(x; w) + b`` as one step, from the tensor before its first operation to the tensor after its last.

    Attributes:
        type: ``"convolution"``, ``"dense"``, or ``"normalization"`` for a scale and shift without a convolution or
            matrix product that they could belong to.
        x: what the map reads, ``(N, ...)``.
        z: what it makes, ``(N, ...)``.
        weights: the effective weights ``w``, in the layout of the operation.
        bias: ``b``, of a shape that broadcasts to that of ``z``.
        never_negative: whether the trace shows that ``x`` is not negative anywhere, as after a ReLU.
    """

    never_negative = False

    def __init__(self, kind: str, steps: list[Step], main: Step):
        super().__init__(kind, main.name, [steps[0].source], [steps[-1].results[0]], [True])
        self.operations, self.names = [step.type for step in steps], [step.name for step in steps]

    @property
    def x(self) -> tf.Tensor:
        return self.input

    @property
    def z(self) -> tf.Tensor:
        return self.output

    @property
    def weights(self) -> tf.Tensor:
        raise NotImplementedError

    @property
    def bias(self) -> tf.Tensor:
        raise NotImplementedError

    def linear(self, x: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """``L(x; w)`` for any signal and weights of the same shapes, without the bias."""
        raise NotImplementedError

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        return [self.linear(*inputs) + self.bias]


class Weighted(Affine):
    """The map of an operation with weights, and of the scales, shifts and moves around it.

    Args:
        before: the scales, shifts and moves that the operation reads.
        head: the operation with weights.
        after: the scales, shifts and moves of its result.

    Attributes:
        kernel: which source of the operation the weights are.
    """

    def __init__(self, before: list[Step], head: Step, after: list[Step]):
        super().__init__(KINDS[head.type], [*before, head, *after], head)
        self.before, self.head, self.after = before, head, after
        self._signal = head.depends.index(True)
        self.kernel = next(
            place
            for place, source in enumerate(head.sources)
            if place != self._signal and (source.dtype.is_floating or source.dtype == tf.resource)
        )

    def at(self, values: Values) -> Self:
        bound = super().at(values)
        bound.head = self.head.at(values)
        bound.before, bound.after = ([step.at(values) for step in steps] for steps in (self.before, self.after))
        return bound

    @property
    def steps(self) -> list[Step]:
        """What the map is made of, in order."""
        return [*self.before, self.head, *self.after]

    @property
    def reads_all(self) -> bool:
        """Whether each number that the map makes for a sample is made of all numbers of that sample, each once."""
        signal, result = (
            each.shape[1:].num_elements() for each in (self.head.sources[self._signal], self.head.results[0])
        )
        weights = self.head.sources[self.kernel].shape.num_elements()
        return None not in (signal, result) and weights == signal * result

    @property
    def shifts_before(self) -> bool:
        """Whether a shift comes before the weights."""
        return extents_through(self.before).shift != Extent.NONE

    @property
    def shifts_after(self) -> bool:
        """Whether a shift comes after them."""
        return extents_through(self.after).shift != Extent.NONE

    @property
    def weights(self) -> tf.Tensor:
        return self._once("weights", self._effective_weights)

    def _effective_weights(self) -> tf.Tensor:
        head = self.head
        w = head.precise(head.sources[self.kernel])
        scaled = _scaled(w, _through(self.before).scale, lambda scale: _per_signal(head, w, scale))
        return _scaled(scaled, self._scale_after().scale, lambda scale: _per_result(head, w, scale))

    def _scale_after(self) -> Scale:
        scale: Scale = self._once("after", lambda: _through(self.after))
        return scale

    @property
    def shift_after(self) -> tf.Tensor:
        """What the steps after the weights add to the result."""
        return tf.convert_to_tensor(self._scale_after().shift, self.weights.dtype)

    @property
    def bias(self) -> tf.Tensor:
        if not self.shifts_before:
            return self.shift_after
        # A shift in front of a padded convolution adds less at the border: the rest is the bias at each place.
        return self.z - self.linear(self.x)

    def linear(self, x: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        inputs = list(self.head.inputs)
        inputs[self._signal] = _moved(x, self.before)
        inputs[self.kernel] = self.weights if weights is None else weights
        return _moved(self.head.run(*inputs)[0], self.after)


class Normalization(Affine):
    """The map of scales and shifts alone."""

    def __init__(self, steps: list[Step]):
        super().__init__(NORMALIZATION, steps, steps[0])
        self._steps = steps

    def at(self, values: Values) -> Self:
        bound = super().at(values)
        bound._steps = [step.at(values) for step in self._steps]
        return bound

    @property
    def weights(self) -> tf.Tensor:
        return tf.convert_to_tensor(_through(self._steps).scale, self.z.dtype)

    @property
    def bias(self) -> tf.Tensor:
        return tf.convert_to_tensor(_through(self._steps).shift, self.z.dtype)

    def linear(self, x: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        return x * (self.weights if weights is None else weights)


class ShiftedSum(Normalization):
    """``z = (a + c) + b``, written ``a + (c + b)``.

    A normalization of each sample, ``(x - m) s + b``, is often written ``x s + (b - m s)``. Its shift ``b`` is that of
    the sum, as in the first form, and not of one of the two signals.

    Args:
        shift: makes ``c + b``, or ``b - c``.
        addition: adds ``a`` to it.

    Attributes:
        sum: the step ``a + c``, or ``a - c``, which makes ``x``.
    """

    def __init__(self, shift: Step, addition: Step):
        super().__init__([shift, addition])
        self.sum = _Sum(shift, addition)
        self.sources, self.depends = self.sum.sources, self.sum.depends

    def at(self, values: Values) -> Self:
        bound = super().at(values)
        bound.sum = self.sum.at(values)
        return bound

    @property
    def x(self) -> tf.Tensor:
        return self._once("x", lambda: self.sum.run(*self.inputs)[0])

    @property
    def weights(self) -> tf.Tensor:
        return tf.ones([], self.z.dtype)

    @property
    def bias(self) -> tf.Tensor:
        # One that spreads over the channels is no scale and shift elsewhere.
        return tf.convert_to_tensor(_scale_of(self._steps[0]).shift, self.z.dtype)

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        return [self.sum.run(*inputs)[0] + self.bias]


class _Sum(Step):
    """The sum in a `ShiftedSum`. The trace has no tensor for it."""

    def __init__(self, shift: Step, addition: Step):
        other = next(source for source in addition.sources if source is not shift.results[0])
        super().__init__("AddV2", addition.name, [other, shift.source], addition.results, [True, True])
        self._is_difference = shift.type == "Sub" and shift.depends[1]

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        a, c = inputs
        return [a - c if self._is_difference else a + c]


def _moved(x: tf.Tensor, steps: list[Step]) -> tf.Tensor:
    """``x`` through those of the steps that move numbers. A map computes in one precision."""
    for step in steps:
        if scale_and_shift(step) is None and not rounds(step):
            x = step.with_input(x)
    return x


def _scaled(w: tf.Tensor, scale: tf.Tensor | float, spread: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Weights times a scale: one number, or one per channel, spread over the weights."""
    if _is_number(scale, 1.0):
        return w
    scale = tf.convert_to_tensor(scale, w.dtype)
    return w * (spread(scale) if scale.shape.rank else scale)


def _per_result(head: Step, w: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """One number per channel of the result, where the weights have that channel."""
    if head.type == "DepthwiseConv2dNative":
        return tf.reshape(scale, w.shape[2:])
    return scale[:, None] if _transposed(head) else scale


def _per_signal(head: Step, w: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """One number per channel of the signal, where the weights have that channel."""
    if head.type == "Conv2D" and w.shape[2] != scale.shape[0]:
        groups = scale.shape[0] // w.shape[2]
        in_groups = tf.transpose(tf.reshape(scale, [groups, w.shape[2]]))
        return tf.repeat(in_groups, w.shape[3] // groups, axis=1)
    return scale if _transposed(head) else scale[:, None]


def is_flipped(head: Step) -> bool:
    """Whether a matrix product transposes its first operand, the signal."""
    if head.type == "MatMul":
        return bool(head.attribute("transpose_a"))
    return head.type.startswith("BatchMatMul") and bool(head.attribute("adj_x"))


def _transposed(head: Step) -> bool:
    """Whether the weights have the channels of the result before those of the signal."""
    if head.type == "MatMul":
        return bool(head.attribute("transpose_b"))
    if head.type.startswith("BatchMatMul"):
        return bool(head.attribute("adj_y"))
    return head.type in TRANSPOSED_CONVOLUTIONS
