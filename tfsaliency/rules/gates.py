"""Which factor of a product is a gate: it says how much of the other one, the signal, goes on.

Source: Arras et al. 2017, who give all relevance of a product to its signal.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.graph.affine import Normalization
from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.operations import JOINS, MOVES_OF_GATES, OF_ONE_NUMBER, SHAPE_READERS
from tfsaliency.graph.readers import Readers
from tfsaliency.graph.sampled import Parts
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


class Gates:
    """The gates of one network, known by what they do to numbers, however they are written.

    - One over a number, or over a power or root of it, is a gate, and so is a function that goes from one bound to
      another of the same sign, or zero, and is halfway at zero: a sigmoid, hard ones included.
    - A function whose numbers go from 0 to 1 may be a gate: a clip, ``exp(-relu(x))``.
    - A gate that is moved, scaled, clipped or taken to a power is as surely one as before.

    Args:
        functions: the functions of single numbers in the trace.
        readers: of the steps.
    """

    def __init__(self, functions: Parts, readers: Readers):
        self._functions, self._readers = functions, readers
        self._known: dict[Any, Gating] = {}

    def gating(self, traced: tf.Tensor) -> Gating:
        """How surely a tensor is a gate."""
        step = self._readers.maker(traced)
        if step is None:
            return Gating.NO
        surest = self._by_function(traced)
        read = [source for source, depends in zip(step.sources, step.depends, strict=True) if depends]
        if surest == Gating.YES or not _keeps(step) or (len(read) > 1 and step.type not in JOINS):
            return surest
        return max(surest, min(map(self.gating, read)))

    def passes_nothing(self, step: Step) -> bool:
        """Whether a product is one of a gate and of a signal that does not depend on the inputs, such as a first state.

        A scale, which has no numbers of its own for each sample, is no signal.
        """
        if step.type != "Mul" or step.depends.count(True) != 1:
            return False
        place = step.depends.index(True)
        return _is_state(step.sources[1 - place]) and self.gating(step.sources[place]) != Gating.NO

    def _by_function(self, traced: tf.Tensor) -> Gating:
        """What a tensor is by the functions that it is of others, of which any may be the activation."""
        surest = Gating.NO
        for part in self._functions.below(traced):
            spelling = part.spelling
            if spelling not in self._known:
                self._known[spelling] = gating_of(part.at)
            surest = max(surest, self._known[spelling])
            if surest == Gating.YES:
                break
        return surest


def _keeps(step: Step) -> bool:
    """Whether a step makes a gate of a gate."""
    return not step.shifts if isinstance(step, Normalization) else step.type in MOVES_OF_GATES


def _is_state(traced: tf.Tensor) -> bool:
    """Whether a tensor has a row for each sample that is made of parameters alone."""
    if not traced.shape.rank or traced.shape[0] is not None:
        return False
    graph = traced.graph
    shapes = [
        result for op in graph.get_operations() if op.type in (*SHAPE_READERS, *OF_ONE_NUMBER) for result in op.outputs
    ]
    made_of = ancestors(traced, known=shapes)
    captured = {inside.op.name for _, inside in graph.captures}
    if any(op.type == "Placeholder" and op.name not in captured for op in made_of):
        return False
    return any(op.type == "ReadVariableOp" or _is_of_several(op) for op in made_of)


def _is_of_several(op: tf.Operation) -> bool:
    """Whether an operation is a constant, or a table's lookup, of several floats."""
    return op.type in ("Const", "ResourceGather") and any(
        each.dtype.is_floating and each.shape.num_elements() != 1 for each in op.outputs
    )


def gating_of(function: Callable[[np.ndarray], np.ndarray]) -> Gating:
    """How surely a function of single numbers is a gate.

    Args:
        function: of an array, number by number.
    """
    if _is_inverse(function):
        return Gating.YES
    for reach in REACHES:
        above = np.geomspace(SMALLEST, reach, NUMBERS).astype("float32")
        results = function(np.concatenate([-above[::-1], [0], above]))
        if np.isfinite(results).all():
            return _of_results(results, half=function(np.array([-reach / 2, reach / 2], "float32")))
    return Gating.NO


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
    has_one_sign = results.min() > -same or results.max() < same
    if has_one_sign and rises.min() > -same and abs(middle - (first + last) / 2) < same:
        return Gating.YES
    is_from_0_to_1 = abs(results.min()) < same and abs(results.max() - 1) < same
    return Gating.MAYBE if is_from_0_to_1 else Gating.NO
