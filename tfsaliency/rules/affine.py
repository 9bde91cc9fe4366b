"""Affine maps: a convolution or matrix product with all that scales and shifts it, as one map with effective weights.

A trace shows a convolution, its bias and the batch normalization after it as four operations or more. A rule that looks
at the signs of weights needs the weights of all of them together.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfsaliency.rules.step import Step, precise

CONVOLUTION, DENSE, NORMALIZATION = "convolution", "dense", "normalization"

# Operations with weights: their kind, and which source is the signal and which the weights as layers use them.
HEADS = {
    "Conv2D": (CONVOLUTION, 0, 1),
    "Conv3D": (CONVOLUTION, 0, 1),
    "DepthwiseConv2dNative": (CONVOLUTION, 0, 1),
    "Conv2DBackpropInput": (CONVOLUTION, 2, 1),
    "Conv3DBackpropInputV2": (CONVOLUTION, 2, 1),
    "MatMul": (DENSE, 0, 1),
    "BatchMatMulV2": (DENSE, 0, 1),
    "BatchMatMulV3": (DENSE, 0, 1),
    "Einsum": (DENSE, 0, 1),
}
# What only moves or pads, and may stand between an affine operation and what belongs to it.
MOVES_AFTER = ("BatchToSpaceND", "Squeeze", "Reshape", "Identity")
MOVES_BEFORE = ("Pad", "SpaceToBatchND", "ExpandDims", "Identity")


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


def joined_affine(steps: list[Step], outputs: list[tf.Tensor]) -> list[Step]:
    """The steps, with each affine map as one step in the place of its last operation.

    Scales and shifts belong to the affine operation whose result they are applied to, else to the one that reads them,
    else they are a map of their own.
    """
    graph = _Readers(steps, outputs)
    free = {step.name: step for step in steps}
    joined = [*_maps_with_weights(steps, graph, free), *_maps_without(steps, graph, free)]
    not_negative = _never_negative(steps)
    for affine in joined:
        affine.never_negative = affine.sources[0].ref() in not_negative
    last = {affine.names[-1]: affine for affine in joined}
    inside = {name for affine in joined for name in affine.names}
    return [last.get(step.name, step) for step in steps if step.name in last or step.name not in inside]


def _maps_with_weights(steps: list[Step], graph: "_Readers", free: dict[str, Step]) -> list[Affine]:
    """The maps of convolutions and matrix products; takes their steps from the free ones."""
    heads = [step for step in steps if step.type in HEADS and step.depends.count(True) == 1 and len(step.sources) > 1]
    after = {}
    for head in heads:
        after[head.name] = _after(head, graph, free)
        _take([head, *after[head.name]], free)
    joined = []
    for head in heads:
        before = _before(head, graph, free)
        _take(before, free)
        joined.append(_with_head(before, head, after[head.name]))
    return joined


def _maps_without(steps: list[Step], graph: "_Readers", free: dict[str, Step]) -> list[Affine]:
    """The maps that the scales and shifts which are still free make, one after the other; takes their steps."""
    joined = []
    for step in steps:
        if not _is_free_scale(step, free):
            continue
        run = [step]
        while (after := graph.only_reader(run[-1])) is not None and _is_free_scale(after, free):
            run.append(after)
        _take(run, free)
        joined.append(_without_head(run))
    return joined


def _take(steps: list[Step], free: dict[str, Step]) -> None:
    for step in steps:
        free.pop(step.name)


class _Readers:
    """Who reads what in a network."""

    def __init__(self, steps: list[Step], outputs: list[tf.Tensor]):
        self._outputs = {output.ref() for output in outputs}
        self._readers: dict = {}
        self._made_by = {result.ref(): step for step in steps for result in step.results}
        for step in steps:
            for source in step.sources:
                self._readers.setdefault(source.ref(), []).append(step)

    def only_reader(self, step: Step) -> Step | None:
        """The step that alone reads what this one makes; None where there are more, or where it is an output."""
        result = step.results[0].ref()
        readers = self._readers.get(result, [])
        return readers[0] if len(readers) == 1 and result not in self._outputs else None

    def maker(self, step: Step) -> Step | None:
        """The step that makes what this one reads, if nothing else reads it."""
        maker = self._made_by.get(step.sources[step.depends.index(True)].ref())
        return maker if maker is not None and self.only_reader(maker) is step else None


class _Scale(NamedTuple):
    """``scale * x + shift`` number by number; each a number or a tensor."""

    scale: tf.Tensor | float
    shift: tf.Tensor | float


def _scale_and_shift(step: Step) -> _Scale | None:
    """What an elementwise affine operation does, None for any other."""
    if step.depends.count(True) != 1:
        return None
    place = step.depends.index(True)
    if repr(step.results[0].shape) != repr(step.sources[place].shape):
        # It spreads its operand over more places.
        return None
    if step.type == "Neg":
        return _Scale(-1.0, 0.0)
    if step.type == "FusedBatchNormV3":
        return _fused_normalization(step)
    if step.type not in ARITHMETIC or (step.type == "RealDiv" and place):
        return None
    other = _without_leading_ones(step.inputs[1 - place])
    return ARITHMETIC[step.type](other, bool(place))


ARITHMETIC: dict[str, Callable[[tf.Tensor, bool], _Scale]] = {
    "Add": lambda other, second: _Scale(1.0, other),
    "AddV2": lambda other, second: _Scale(1.0, other),
    "BiasAdd": lambda other, second: _Scale(1.0, other),
    "Mul": lambda other, second: _Scale(other, 0.0),
    "RealDiv": lambda other, second: _Scale(1 / other, 0.0),
    "Sub": lambda other, second: _Scale(-1.0, other) if second else _Scale(1.0, -other),
}


def _fused_normalization(step: Step) -> _Scale | None:
    if step.attribute("is_training"):
        return None
    _, gamma, beta, mean, variance = step.inputs
    scale = gamma * tf.math.rsqrt(variance + step.attribute("epsilon"))
    return _Scale(scale, beta - mean * scale)


def _without_leading_ones(tensor: tf.Tensor) -> tf.Tensor:
    """The same for broadcasting, also where the other operand has fewer axes."""
    shape = tensor.shape.as_list()
    while shape and shape[0] == 1:
        shape = shape[1:]
    return tf.reshape(tensor, shape) if None not in shape and len(shape) != tensor.shape.rank else tensor


def _is_free_scale(step: Step, free: dict[str, Step]) -> bool:
    return step.name in free and _scale_and_shift(step) is not None


def _per_channel(value: tf.Tensor | float) -> bool:
    """Whether there is at most one number per position of the last axis."""
    return isinstance(value, float) or value.shape.rank in (0, 1)


def _after(head: Step, graph: _Readers, free: dict[str, Step]) -> list[Step]:
    """The scales, shifts and moves that follow an affine operation and can be part of it."""
    steps: list[Step] = []
    keep = 0
    channels, shift, last = head.results[0].shape[-1], _Scale(1.0, 0.0), head
    # Weights say which numbers of the result they make only where the signal comes first.
    scalable = head.depends[0] or "Conv" in head.type
    while (step := graph.only_reader(last)) is not None and step.name in free:
        scale = _scale_and_shift(step)
        if scale is not None and step.results[0].shape[-1] == last.results[0].shape[-1]:
            if not _is_one(scale.scale) and not (
                scalable
                and _per_channel(scale.scale)
                and last.results[0].shape[-1] == channels
                and head.type != "Einsum"
            ):
                break
            steps.append(step)
            shift = _through(steps)
            keep = len(steps)
        elif step.type in MOVES_AFTER:
            same = step.results[0].shape[-1] == last.results[0].shape[-1]
            if not _is_zero(shift.shift) and not (same and _per_channel(shift.shift)):
                break
            steps.append(step)
        else:
            break
        last = step
    return steps[:keep]


def _before(head: Step, graph: _Readers, free: dict[str, Step]) -> list[Step]:
    """The scales, shifts and pads that an affine operation reads and that can be part of it."""
    steps: list[Step] = []
    keep = 0
    if head.type == "Einsum" or head.depends.index(True) != HEADS[head.type][1]:
        return []
    last = head
    while (step := graph.maker(last)) is not None and step.name in free:
        scale = _scale_and_shift(step)
        if scale is not None:
            if not (_per_channel(scale.scale) and _per_channel(scale.shift)):
                break
            steps.insert(0, step)
            keep = len(steps)
        elif step.type in MOVES_BEFORE and "Conv" in head.type:
            steps.insert(0, step)
            keep = len(steps) if step.type == "Pad" else keep
        else:
            break
        last = step
    return steps[len(steps) - keep :]


def _is_one(value: tf.Tensor | float) -> bool:
    return isinstance(value, float) and value == 1.0


def _is_zero(value: tf.Tensor | float) -> bool:
    return isinstance(value, float) and value == 0.0


def _through(steps: list[Step]) -> _Scale:
    """What elementwise affine operations do one after the other."""
    total = _Scale(1.0, 0.0)
    for scale in filter(None, map(_scale_and_shift, steps)):
        total = _Scale(total.scale * scale.scale, total.shift * scale.scale + scale.shift)
    return total


# What is never negative, whatever it reads, and what is not where nothing that it reads is.
NOT_NEGATIVE = ("Abs", "Exp", "Relu", "Relu6", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Square")
KEEP_SIGN = (
    "Add",
    "AddN",
    "AddV2",
    "AvgPool",
    "AvgPool3D",
    "BatchToSpaceND",
    "ConcatV2",
    "ExpandDims",
    "Identity",
    "Max",
    "MaxPool",
    "MaxPool3D",
    "Mean",
    "Pad",
    "Reshape",
    "SpaceToBatchND",
    "Squeeze",
    "Sum",
    "Transpose",
)


def _never_negative(steps: list[Step]) -> set:
    """The tensors that cannot be negative."""
    found = set()
    for step in steps:
        read = [source for source in step.sources if source.dtype.is_floating]
        if step.type in NOT_NEGATIVE or (step.type in KEEP_SIGN and all(source.ref() in found for source in read)):
            found |= {result.ref() for result in step.results}
    return found


def _moved(x: tf.Tensor, steps: list[Step]) -> tf.Tensor:
    for step in steps:
        if _scale_and_shift(step) is None:
            x = step.with_input(x)
    return x


def _with_head(before: list[Step], head: Step, after: list[Step]) -> Affine:
    kind, _, _ = HEADS[head.type]
    signal = head.depends.index(True)
    kernel = next(
        place for place in range(len(head.sources)) if place != signal and head.sources[place].dtype.is_floating
    )

    def weights() -> tf.Tensor:
        scaled = _scaled_in(head, head.inputs[kernel], _through(before).scale)
        return _scaled_out(head, scaled, _through(after).scale)

    def linear(x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        inputs = list(head.inputs)
        inputs[signal], inputs[kernel] = _moved(x, before), w
        return _moved(head.run(*inputs)[0], after)

    def bias(affine: Affine) -> tf.Tensor:
        if _is_zero(_through(before).shift):
            return tf.convert_to_tensor(_through(after).shift, affine.z.dtype)
        # A shift under a padded convolution adds less at the border: what is left over is the bias at each place.
        return affine.z - affine.linear(affine.x)

    return Affine(kind, [*before, head, *after], weights, linear, bias)


def _without_head(steps: list[Step]) -> Affine:
    return Affine(
        NORMALIZATION,
        steps,
        lambda: tf.convert_to_tensor(_through(steps).scale, precise(steps[0].results[0]).dtype),
        lambda x, w: x * w,
        lambda affine: tf.convert_to_tensor(_through(steps).shift, affine.z.dtype),
    )


def _scaled_out(head: Step, w: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Weights that make each channel of the result so many times larger."""
    if _is_one(scale):
        return w
    scale = tf.convert_to_tensor(scale, w.dtype)
    if scale.shape.rank == 0:
        return w * scale
    if head.type == "DepthwiseConv2dNative":
        return w * tf.reshape(scale, w.shape[2:])
    transposed = head.type.startswith(("Conv2DBackprop", "Conv3DBackprop")) or _swapped(head)
    return w * (scale[:, None] if transposed else scale)


def _scaled_in(head: Step, w: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Weights that take each channel of the signal so many times larger."""
    if _is_one(scale):
        return w
    scale = tf.convert_to_tensor(scale, w.dtype)
    if scale.shape.rank == 0:
        return w * scale
    if head.type == "Conv2D" and w.shape[2] != scale.shape[0]:
        groups = scale.shape[0] // w.shape[2]
        per_group = tf.repeat(tf.transpose(tf.reshape(scale, [groups, w.shape[2]])), w.shape[3] // groups, axis=1)
        return w * per_group
    transposed = head.type.startswith(("Conv2DBackprop", "Conv3DBackprop")) or _swapped(head)
    return w * (scale if transposed else scale[:, None])


def _swapped(head: Step) -> bool:
    """Whether a matrix product takes its weights transposed."""
    if head.type == "MatMul":
        return bool(head.attribute("transpose_b"))
    return head.type.startswith("BatchMatMul") and bool(head.attribute("adj_y"))
