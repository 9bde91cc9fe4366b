"""Rectifying activations: found in a trace by what they do to numbers, however they are written."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import RECTIFIERS
from tfsaliency.graph.readers import Readers
from tfsaliency.graph.sampled import OF_SINGLE_NUMBERS, Part, Parts
from tfsaliency.graph.sign import never_negative
from tfsaliency.graph.step import CustomGradient, Step

RECTIFIER = "Rectifier"
# The numbers that a function is asked for; the next ones where it is flat on these, as a threshold at 20 is.
REACHES = (8.0, 128.0, 2048.0)
NUMBERS = 4001
# A rectifier changes at most this many times as much over negative numbers as over positive ones. A SELU, whose
# negative part is the largest of those in use, has 0.21; ``x + relu(x)`` has 0.5.
MOST_BELOW = 0.4
# Where it passes positive numbers its slope is the same, up to this factor: hard SiLU has 1.5, a square 2.
MOST_CURVED = 1.6
# Slopes that differ by less are the same.
SAME_SLOPE = 0.03


class Rectifier(Step):
    """A rectifying activation, of one operation or several.

    Args:
        part: the operations.
    """

    def __init__(self, part: Part):
        super().__init__(RECTIFIER, part.operations[-1].name, [part.source], [part.result], [True])
        self.operations, self.names = [op.type for op in part.operations], [op.name for op in part.operations]
        self._part = part

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        return [self._part.run(inputs[0], self._other)]

    def _other(self, traced: tf.Tensor) -> tf.Tensor:
        return self.precise(traced) if traced.dtype.is_floating else self.value(traced)


def with_rectifiers(steps: list[Step], functions: Parts, readers: Readers) -> list[Step]:
    """The steps, with a `Rectifier` in place of the last operation of each rectifying activation.

    A rectifier passes positive numbers at one slope, maybe up to a cap, and suppresses negative ones. That of several
    operations ends where its slope is nearest to 1: the half of ``(x + |x|) / 2`` and the cap of ``minimum(relu(x),
    2)`` belong to it, the factor of ``3 * relu(x)`` does not. In ``x + relu(x)`` the second term is one, and not the
    sum. What else reads a rectifier reads its end: after ``h = relu(x)`` that is read twice, ``h + 1`` is none.

    The steps in between stay where they are for other readers; without any, a walk passes them by.
    """
    return _Search(functions, readers, never_negative(steps)).through(steps)


class _Search:
    """The search through one network, from the inputs on.

    Args:
        functions: the functions of single numbers in its trace.
        readers: of the steps.
        not_negative: the traced tensors, as ``ref()``, that cannot be negative.
    """

    def __init__(self, functions: Parts, readers: Readers, not_negative: set[Any]):
        self._functions, self._readers, self._not_negative = functions, readers, not_negative
        self._found: dict[Any, _Unit] = {}
        self._known: dict[Any, _Shape] = {}

    def through(self, steps: list[Step]) -> list[Step]:
        for step in steps:
            if step.type in RECTIFIERS:
                part = Part(step.source, step.results[0], [step.results[0].op], {})
                self._found[part.result.ref()] = _Unit(part, distance=0.0)
            elif step.type in OF_SINGLE_NUMBERS and step.results[0].dtype.is_floating:
                self._judge(step.results[0])
        return [self._replaced(step) for step in steps]

    def _judge(self, result: tf.Tensor) -> None:
        """Looks for a rectifier that ends in a tensor: the shortest one, with all caps before it."""
        unit: _Unit | None = None
        for part in self._functions.below(result):
            shape = self._shape(part)
            if unit is None:
                inner = [self._found[ref] for op in part.operations[:-1] for ref in _results(op) if ref in self._found]
                self._cap(part, shape, inner)
                if (
                    shape.is_rectifier
                    and not self._is_floor(part, shape)
                    and all(
                        shape.distance <= each.distance + SAME_SLOPE and self._goes_on(each, part) for each in inner
                    )
                ):
                    unit = _Unit(part, shape.distance)
                continue
            before = self._shape(_before(unit.part, part))
            if before.is_shift:
                # A bias: a rectifier may begin at any number. With a cap it is a hard sigmoid.
                break
            if before.is_cap:
                if not shape.is_rectifier:
                    return
                unit = _Unit(part, shape.distance)
        if unit is not None:
            self._found[result.ref()] = unit

    def _goes_on(self, unit: "_Unit", part: Part) -> bool:
        """Whether a part that a rectifier is in still is this rectifier: a scaled, shifted or capped one."""
        after = _after(unit.part, part)
        is_straight = after is None or self._shape(after).is_straight
        readers = {result.op for step in self._readers.of(unit.part.result) for result in step.results}
        return is_straight and readers <= set(part.operations)

    def _is_floor(self, part: Part, shape: "_Shape") -> bool:
        """Whether a part keeps numbers that are never negative away from zero, for a root or a logarithm of them."""
        return part.source.ref() in self._not_negative and shape.is_cap and part.at(np.zeros([1]))[0] > 0

    def _cap(self, part: Part, whole: "_Shape", inner: "list[_Unit]") -> None:
        """Forgets a rectifier that a cap makes symmetric, as ``minimum(maximum(x, -1), 1)`` does."""
        for unit in inner:
            after = _after(unit.part, part)
            if after is not None and not whole.is_rectifier and self._shape(after).is_cap:
                del self._found[unit.part.result.ref()]

    def _shape(self, part: Part) -> "_Shape":
        key = part.spelling
        if key not in self._known:
            self._known[key] = shape_of(part.at)
        return self._known[key]

    def _replaced(self, step: Step) -> Step:
        if isinstance(step, CustomGradient):
            return step.without_gradient() if self._is_plain(step) else step
        unit = self._found.get(step.results[0].ref())
        return Rectifier(unit.part) if unit else step

    def _is_plain(self, step: CustomGradient) -> bool:
        """Whether a custom gradient is the one that its operations have anyway, with a rectifier among them.

        ``tf.nn.silu`` has one to save memory, and so has whatever is in ``tf.recompute_grad``.
        """
        body = set(step.body)
        made = [self._found[ref] for op in step.body for ref in _results(op) if ref in self._found]
        # What only goes on in the body, from a rectifier that it is applied to, is none of its own.
        own = [unit for unit in made if not any(map(self._is_rectifier, set(unit.part.operations) - body))]
        ends = {source.ref() for source in step.sources}
        return any(unit.part.result.ref() in ends for unit in own) or (bool(own) and step.repeats_body)

    def _is_rectifier(self, op: tf.Operation) -> bool:
        """Whether a rectifier ends in an operation."""
        return any(ref in self._found for ref in _results(op))


class _Unit(NamedTuple):
    """A rectifier.

    Attributes:
        part: its operations.
        distance: of its slope from 1.
    """

    part: Part
    distance: float


class _Shape(NamedTuple):
    """What a function does.

    Attributes:
        is_rectifier: whether it passes positive numbers and suppresses negative ones.
        distance: of a rectifier's slope from 1.
        is_straight: whether it passes numbers at one slope, and cuts off others.
        is_cap: whether that slope is 1.
        is_shift: whether it passes all numbers at the slope 1.
    """

    is_rectifier: bool
    distance: float
    is_straight: bool
    is_cap: bool
    is_shift: bool


def shape_of(function: Callable[[np.ndarray], np.ndarray]) -> _Shape:
    """What a function does to single numbers.

    Args:
        function: of an array, number by number.
    """
    for reach, further in zip(REACHES, (*REACHES[1:], None), strict=True):
        slopes = _slopes(function, reach)
        if slopes is None:
            break
        if slopes.any():
            shape = _shape(slopes)
            # A polynomial bends once near zero, as a rectifier does, and goes on to bend.
            far = _slopes(function, further) if shape.is_rectifier and further else None
            bends_on = far is not None and np.abs(far[: NUMBERS // 2]).max() > np.abs(slopes).max() + SAME_SLOPE
            return shape._replace(is_rectifier=False) if bends_on else shape
    return _Shape(False, np.inf, False, False, False)


def _slopes(function: Callable[[np.ndarray], np.ndarray], reach: float) -> np.ndarray | None:
    """The slopes of a function from one number to the next, None where it is not finite."""
    x = np.linspace(-reach, reach, NUMBERS).astype("float32")
    y = function(x)
    return np.diff(y) / np.diff(x) if np.isfinite(y).all() else None


def _shape(slopes: np.ndarray) -> _Shape:
    """What a function of these slopes does; the middle one is at zero."""
    below, above = slopes[: NUMBERS // 2], slopes[NUMBERS // 2 :]
    # Not the largest, which may be that of a jump.
    steepest = float(np.quantile(np.abs(slopes), 0.99)) or 1.0
    is_straight, is_cap = _has_one_slope(slopes / steepest), _has_one_slope(slopes)
    # A jump at a threshold is one slope of its own.
    passed = above[above > SAME_SLOPE * np.quantile(above, 0.995)]
    slope = float(np.median(passed)) if passed.size else 0.0
    rises = slope > 0 and np.quantile(passed, 0.975) <= MOST_CURVED * slope
    is_rectifier = bool(rises and np.abs(below).sum() <= MOST_BELOW * np.abs(above).sum())
    is_shift = bool(np.all(np.abs(slopes - 1) < SAME_SLOPE))
    return _Shape(is_rectifier, abs(slope - 1), is_straight, is_cap, is_shift)


def _has_one_slope(slopes: np.ndarray) -> bool:
    """Whether a function is flat, or has the slope 1, apart from kinks."""
    return bool(np.all((np.abs(slopes) < SAME_SLOPE) | (np.abs(slopes - 1) < SAME_SLOPE) | _at_kinks(slopes)))


def _at_kinks(slopes: np.ndarray) -> np.ndarray:
    """Which slopes are between two numbers of which a kink lies: they differ from one neighbour or from both."""
    differs = np.abs(np.diff(slopes, prepend=slopes[0])) > SAME_SLOPE
    return differs & np.roll(differs, -1)


def _results(op: tf.Operation) -> list[Any]:
    return [output.ref() for output in op.outputs]


def _before(part: Part, longer: Part) -> Part:
    """What a longer part does before another one that ends where it does."""
    return Part(longer.source, part.source, _rest(part, longer), longer.others)


def _after(part: Part, longer: Part) -> Part | None:
    """What a longer part does after another one that begins where it does; None where it does more than that."""
    operations = _rest(part, longer)
    made = {part.result.ref(), *longer.others, *(ref for op in operations for ref in _results(op))}
    is_all = part.source is longer.source and all(each.ref() in made for op in operations for each in op.inputs)
    return Part(part.result, longer.result, operations, longer.others) if is_all else None


def _rest(part: Part, longer: Part) -> list[tf.Operation]:
    """The operations that a longer part has more."""
    ours = set(part.operations)
    return [op for op in longer.operations if op not in ours]
