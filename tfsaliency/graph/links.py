"""The softmax or sigmoid at the end of a network, found in its trace; and what comes before it, the logits."""

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import (
    BENDS,
    IDENTITIES,
    LINKS,
    NESTED,
    PRODUCTS,
    REARRANGEMENTS,
    TRANSPOSED_CONVOLUTIONS,
)
from tfsaliency.graph.sampled import Part, Parts
from tfsaliency.graph.softmax import without_common
from tfsaliency.graph.step import replay

# Rounding in float32, as a share of a function's range; where part of it computes in 16 bits, the other one.
ROUNDING, ROUNDING_COARSE = 1e-5, 1e-2
# What is added to probabilities so that their logarithm exists takes them this far out of 0 to 1.
SLACK = 1e-3
# A function of fewer different values than this share of the numbers it was asked for is a step, such as an argmax.
FEWEST_VALUES = 0.1


class Link(NamedTuple):
    """A softmax or sigmoid.

    Attributes:
        logits: what it is applied to, in the shape and order of the output.
        type: ``"Softmax"``, ``"LogSoftmax"`` or ``"Sigmoid"``.
    """

    logits: tf.Tensor
    type: str


def link_of(output: tf.Tensor) -> Link | None:
    """The softmax or sigmoid that an output is, however it is written; None where there is none.

    The output may be moved (a reshape, a permutation, some of the classes), joined of several, and changed number by
    number in a way that keeps the order of its classes, such as a clip or label smoothing. Where the order is
    reversed, as by ``1 - p``, the logits are negated. Logits rank the classes as the output does, within each group
    that a softmax is taken over.

    One class out of a softmax over two is a sigmoid, of the difference of the two.
    """
    return _Search(output.graph, is_one_number(output)).below(output)


def is_one_number(output: tf.Tensor) -> bool:
    """Whether an output has one number for each row."""
    return bool(output.shape.rank == 1 or output.shape[1:].num_elements() == 1)


class _Search:
    """The search below one output.

    Args:
        graph: of the trace.
        is_one: whether the output has one number for each row.
    """

    def __init__(self, graph: tf.Graph, is_one: bool):
        self._graph, self._is_one = graph, is_one
        self._found: dict[Any, Link | None] = {}

    @cached_property
    def _parts(self) -> Parts:
        return Parts(self._graph, _has_no_weights)

    def below(self, output: tf.Tensor) -> Link | None:
        """The link that a tensor is."""
        if output.ref() not in self._found:
            self._found[output.ref()] = self._below(output) if output.dtype.is_floating else None
        return self._found[output.ref()]

    def _below(self, output: tf.Tensor) -> Link | None:
        op = output.op
        if op.type in LINKS:
            return self._link(op.inputs[0], op.type)
        if op.type == "IdentityN":
            # A custom gradient hands on its results, then its arguments.
            return self.below(op.inputs[output.value_index])
        if op.type in IDENTITIES:
            return self.below(op.inputs[0])
        if op.type in REARRANGEMENTS:
            return self._moved(op, output.value_index)
        return next((link for part in self._parts.below(output) if (link := self._in_part(part))), None)

    def _moved(self, op: tf.Operation, place: int) -> Link | None:
        """The links before a move, moved likewise."""
        sources = [each for each in op.inputs if each.dtype.is_floating]
        links = {each.ref(): link for each in sources if (link := self.below(each))}
        types = {link.type for link in links.values()}
        if len(links) < len({each.ref() for each in sources}) or len(types) != 1:
            return None
        read = [links[each.ref()].logits if each.ref() in links else each for each in op.inputs]
        return Link(replay(op, *read)[place], types.pop())

    def _in_part(self, part: Part) -> Link | None:
        """The link that a part of the trace computes, or the one that it keeps the order of."""
        if not any(op.type in (*BENDS, *LINKS) for op in part.operations) and self.below(part.source) is None:
            return None
        rounding = ROUNDING_COARSE if _is_coarse(part) else ROUNDING
        return self._kept(part, rounding) or self._computed(part, rounding)

    def _kept(self, part: Part, rounding: float) -> Link | None:
        """The link that a part reads, where it changes numbers one by one and keeps or reverses their order."""
        link = self.below(part.source)
        if link is None:
            return None
        numbers = _numbers(part.source.shape, *((-10, 0) if link.type == "LogSoftmax" else (0, 1)))
        results = part.at(numbers)
        direction = _direction(numbers, results, rounding)
        # A sigmoid scaled to other numbers than 0 to 1 is a quantity and no answer between two classes.
        is_scaled = results.min() < -SLACK or results.max() > 1 + SLACK
        if direction == 0 or (self._is_one and is_scaled):
            return None
        return Link(direction * link.logits, link.type)

    def _computed(self, part: Part, rounding: float) -> Link | None:
        """The link that a part is, written in other operations."""
        z = _numbers(part.source.shape, -4, 4)
        results = part.at(z)
        for sign in (1, -1):
            if np.abs(results - 1 / (1 + np.exp(-sign * z))).max() <= rounding:
                return Link(sign * part.source, "Sigmoid")
        exponentials = np.exp(z)
        for axes in _sets_of_axes(z.shape):
            p = exponentials / exponentials.sum(axis=axes, keepdims=True)
            if direction := _direction(p, results, rounding):
                is_log = np.abs(results - np.log(p)).max() <= 10 * rounding
                link = self._link(part.source, "LogSoftmax" if is_log else "Softmax", axes)
                return link and Link(direction * link.logits, link.type)
        return None

    def _link(self, z: tf.Tensor, type: str, axes: tuple[int, ...] = (-1,)) -> Link | None:
        if type == "Sigmoid":
            return Link(z, type)
        z = without_common(z, axes)
        classes = [z.shape[axis] for axis in axes]
        if not self._is_one:
            # Over a single unit it is 1 for every input.
            return None if set(classes) == {1} else Link(z, type)
        return Link(z - tf.reverse(z, axes), "Sigmoid") if classes == [2] else None


def _has_no_weights(op: tf.Operation) -> bool:
    """Whether an operation can be run on other numbers, without a variable."""
    if op.type in (*NESTED, *PRODUCTS, *TRANSPOSED_CONVOLUTIONS) or op.op_def.is_stateful:
        return False
    return hasattr(tf.raw_ops, op.type) and all(each.dtype != tf.resource for each in op.inputs)


def _sets_of_axes(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The axes that a softmax may be taken over together, one of them at first."""
    axes = [axis for axis in range(1, len(shape)) if shape[axis] > 1]
    return itertools.chain.from_iterable(itertools.combinations(axes, count) for count in range(1, len(axes) + 1))


def _is_coarse(part: Part) -> bool:
    return any(output.dtype.size < 4 for op in part.operations for output in op.outputs if output.dtype.is_floating)


def _numbers(shape: tf.TensorShape, low: float, high: float) -> np.ndarray:
    """Numbers to ask a function for, the bounds among them: rows of a shape, some hundred numbers at least."""
    sizes = [size or 2 for size in shape[1:].as_list()]
    rows = shape[0] or max(2, -(-256 // int(np.prod(sizes))))
    numbers = np.random.default_rng(0).uniform(low, high, (rows, *sizes)).astype("float32").astype("float64")
    numbers.flat[0], numbers.flat[-1] = low, high
    return numbers


def _direction(x: np.ndarray, y: np.ndarray, rounding: float) -> int:
    """1 where ``y`` never falls while ``x`` rises, -1 where it never rises, 0 where it does both, or is flat."""
    if y.shape != x.shape or not np.isfinite(y).all() or len(np.unique(y)) < FEWEST_VALUES * y.size:
        return 0
    y = y.reshape(-1)[np.argsort(x, axis=None)]
    allowed = rounding * np.ptp(y)
    for direction in (1, -1):
        if (np.maximum.accumulate(direction * y) - direction * y).max() <= allowed:
            return direction
    return 0
