"""Which factor of a product is a gate: it says how much of the other one, the signal, goes on.

Source: Arras et al. 2017, who give all relevance of a product to its signal.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.affine import KINDS, NORMALIZATION
from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.network import Network
from tfsaliency.graph.operations import ADDITIONS, JOINS, MOVES_OF_GATES, OF_ONE_NUMBER, QUOTIENTS, SHAPE_READERS
from tfsaliency.graph.step import Step

# How far a function is looked at, the widest first: an exponential is infinite far away.
REACHES = (2048.0, 64.0, 8.0)
# Between these numbers one over a number, and over a power of it, is finite and not zero.
SMALLEST, LARGEST = 1 / 64, 64.0
NUMBERS = 200
# What differs by less, as a share of a function's range, is the same.
SAME = 0.02


class Gating(IntEnum):
    """How surely a factor is a gate. Of two factors the surer one is it."""

    NO = 0
    MAYBE = 1
    YES = 2


class Gate(NamedTuple):
    """How surely a tensor is a gate, and the numbers that it is between.

    Attributes:
        gating: how surely.
        ends: its smallest and largest number, where it may be a gate.
    """

    gating: Gating
    ends: tuple[float, float] = (0.0, 0.0)


NONE = Gate(Gating.NO)
INVERSE = Gate(Gating.YES, (0.0, np.inf))


class Gates:
    """The gates of one network, known by what they do to numbers, however they are written.

    - One over a number, or over a power or root of it, is a gate, and so is a function that goes from one bound to
      another of the same sign, or zero, and is halfway at zero: a sigmoid, hard ones included.
    - A function whose numbers go from 0 to 1 may be a gate: a clip, ``exp(-relu(x))``.
    - A gate that is moved, scaled, clipped or taken to a power is as surely one as before, and so is one that a number
      is added to, as in ``1 - gate``, while its numbers keep one sign.
    - Inputs that are scaled and clipped are pictures, and no gate.

    Args:
        network: the network.
        steps: its steps.
    """

    def __init__(self, network: Network, steps: list[Step]):
        self._graph = network.trace.graph
        self._functions, self._readers = network.functions, network.readers(steps)
        self._inputs = {each.ref() for each in network.inputs}
        self._known: dict[Any, Gate] = {}

    def gating(self, traced: tf.Tensor) -> Gating:
        """How surely a tensor is a gate."""
        return self._gate(traced).gating

    def passes_nothing(self, step: Step) -> bool:
        """Whether a product is one of a gate and of a signal that does not depend on the inputs: a first state.

        A scale is no signal, also where it is repeated for each sample. A state is what a matrix was applied to, or
        what is mixed with another gated signal.
        """
        if step.type != "Mul" or step.depends.count(True) != 1:
            return False
        place = step.depends.index(True)
        other = step.sources[1 - place]
        has_rows = bool(other.shape.rank) and other.shape[0] is None
        if not has_rows or self.gating(step.sources[place]) == Gating.NO:
            return False
        made_of = ancestors(other, known=self._shapes)
        if not self._is_of_parameters(made_of):
            return False
        return any(op.type in KINDS for op in made_of) or self._is_mixed(step)

    def _is_of_parameters(self, made_of: list[tf.Operation]) -> bool:
        """Whether operations read several parameters, and none of what was passed to the model."""
        passed = any(op.type == "Placeholder" and op.name not in self._captured for op in made_of)
        return not passed and any(op.type == "ReadVariableOp" or _is_of_several(op) for op in made_of)

    @cached_property
    def _shapes(self) -> list[tf.Tensor]:
        """What reads the shape of other tensors alone: a row for each sample begins with it."""
        types = (*SHAPE_READERS, *OF_ONE_NUMBER)
        return [result for op in self._graph.get_operations() if op.type in types for result in op.outputs]

    @cached_property
    def _captured(self) -> set[str]:
        """The names of the placeholders that stand for variables and constants from outside of the graph."""
        return {inside.op.name for _, inside in self._graph.captures}

    def _is_mixed(self, step: Step) -> bool:
        """Whether the product is added to another product of a gate, as in ``forget * state + enter * new``."""
        reader = self._readers.only_reader(step)
        if reader is None or reader.type not in ADDITIONS:
            return False
        others = [self._readers.maker(each) for each in reader.sources if each is not step.results[0]]
        return any(
            other is not None and other.type == "Mul" and any(self.gating(each) != Gating.NO for each in other.sources)
            for other in others
        )

    def _gate(self, traced: tf.Tensor) -> Gate:
        step = self._readers.maker(traced)
        if step is None:
            return NONE
        own = self._by_function(traced)
        if own.gating != Gating.YES and step.type in QUOTIENTS and step.depends == [False, True]:
            # As one over the number is, also where a constant for each channel is over it.
            return INVERSE
        read = [source for source, depends in zip(step.sources, step.depends, strict=True) if depends]
        keeps = step.type in (*MOVES_OF_GATES, *ADDITIONS, "Sub", NORMALIZATION)
        if own.gating == Gating.YES or not keeps or (len(read) > 1 and step.type not in JOINS):
            return own
        found = [self._gate(each) for each in read]
        surest = min(each.gating for each in found)
        if surest <= own.gating:
            return own
        low, high = zip(*(each.ends for each in found), strict=True)
        ends = self._behind(traced, read[0], (min(low), max(high)))
        return Gate(surest, ends) if _have_one_sign(*ends) else own

    def _by_function(self, traced: tf.Tensor) -> Gate:
        """What a tensor is by the functions that it is of others, of which any may be the activation."""
        parts = list(self._functions.below(traced))
        of_inputs = bool(parts) and parts[-1].source.ref() in self._inputs
        surest = NONE
        for part in parts:
            spelling = part.spelling, of_inputs
            if spelling not in self._known:
                self._known[spelling] = gate_of(part.at, of_inputs=of_inputs)
            surest = max(surest, self._known[spelling])
            if surest.gating == Gating.YES:
                break
        return surest

    def _behind(self, traced: tf.Tensor, source: tf.Tensor, ends: tuple[float, float]) -> tuple[float, float]:
        """The ends of a tensor that is a function of another one; the same where it only moves its numbers."""
        for part in self._functions.below(traced):
            if part.source is source:
                low, high = np.sort(part.at(np.array(ends, "float32"))).tolist()
                return low, high
        return ends


def _is_of_several(op: tf.Operation) -> bool:
    """Whether an operation is a constant, or a table's lookup, of several floats."""
    return op.type in ("Const", "ResourceGather") and any(
        each.dtype.is_floating and each.shape.num_elements() != 1 for each in op.outputs
    )


def gate_of(function: Callable[[np.ndarray], np.ndarray], *, of_inputs: bool = False) -> Gate:
    """How surely a function of single numbers is a gate.

    Args:
        function: of an array, number by number.
        of_inputs: whether the numbers are inputs of the network, scaled at most.
    """
    if _is_inverse(function):
        return INVERSE
    for reach in REACHES:
        above = np.geomspace(SMALLEST, reach, NUMBERS).astype("float32")
        results = function(np.concatenate([-above[::-1], [0], above]))
        if np.isfinite(results).all():
            half = function(np.array([-reach / 2, reach / 2], "float32"))
            is_clip = (half == results[[0, -1]]).all() and reach == REACHES[0]
            gating = Gating.NO if of_inputs and is_clip else _of_results(results, half)
            return Gate(gating, (float(results.min()), float(results.max())))
    return NONE


def _have_one_sign(low: float, high: float) -> bool:
    """Whether no number between two is far on the other side of zero; not for what is no number."""
    same = SAME * min(high - low, 1e9)
    return low > -same or high < same


def _is_inverse(function: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether a function of positive numbers is one over a power of them: each factor divides it by the same."""
    results = np.abs(function(np.geomspace(SMALLEST, LARGEST, NUMBERS).astype("float32")))
    if not np.isfinite(results).all() or not results.all():
        return False
    factors = results[1:] / results[:-1]
    return bool(factors.max() < 1 and np.ptp(factors) < SAME * (1 - factors.min()))


def _of_results(results: np.ndarray, half: np.ndarray) -> Gating:
    """How surely a function of these results is a gate.

    Args:
        results: at numbers from far below zero to far above it. The middle one is at zero.
        half: the results halfway to the ends.
    """
    first, middle, last = results[0], results[NUMBERS], results[-1]
    same = SAME * np.ptp(results)
    if not same or np.abs(half - (first, last)).max() > same:
        return Gating.NO
    rises = np.diff(results) * np.sign(last - first)
    has_one_sign = _have_one_sign(results.min(), results.max())
    if has_one_sign and rises.min() > -same and abs(middle - (first + last) / 2) < same:
        return Gating.YES
    is_from_0_to_1 = abs(results.min()) < same and abs(results.max() - 1) < same
    return Gating.MAYBE if is_from_0_to_1 else Gating.NO
