"""Normalizations of each sample, in the ways in which they are written: what is divided by its deviation."""

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import ADDITIONS, IDENTITIES, INVERSES, MOVES, QUOTIENTS
from tfsaliency.graph.readers import Readers
from tfsaliency.graph.step import Step


def is_of_normalization(scale: Step, graph: Readers) -> bool:
    """Whether a scale or shift is one of the last of a normalization: it is applied to what was divided."""
    divided = _behind_scales(graph.maker(scale.source), graph)
    if divided is not None and divided.type == "Sub":
        # x / d - m / d
        return all(_is_divided(graph.maker(each), graph) for each in divided.sources)
    return _is_divided(divided, graph)


def is_shift_of_normalization(shift: Step, addition: Step, graph: Readers) -> bool:
    """Whether the two end ``x s + (b - m s)``, with one over the deviation in ``s``."""
    is_sum = addition.type in ADDITIONS and addition.depends.count(True) == 2
    if not is_sum or shift.type not in (*ADDITIONS, "Sub") or shift.depends.count(True) != 1:
        return False
    other = next(source for source in addition.sources if source is not shift.results[0])
    first, second = (graph.maker(each) for each in (other, shift.source))
    if first is None or second is None or not _is_divided(first, graph) or not _is_divided(second, graph):
        return False
    return not {each.ref() for each in first.sources}.isdisjoint(each.ref() for each in second.sources)


def _is_divided(step: Step | None, graph: Readers) -> bool:
    """Whether a signal is divided by a root of another one, such as a deviation, or multiplied by one over it."""
    if step is None or step.type not in ("Mul", *QUOTIENTS) or step.depends.count(True) != 2:
        return False
    divisors = step.sources[1:] if step.type in QUOTIENTS else step.sources
    return any(_is_root(_behind_scales(graph.maker(each), graph)) for each in divisors)


def _behind_scales(step: Step | None, graph: Readers) -> Step | None:
    """The last step in front of those that scale, shift, invert and move its numbers."""
    while step is not None and not _is_root(step) and _is_scaled(step):
        step = graph.maker(step.source)
    return step


def _is_scaled(step: Step) -> bool:
    # A scale of each channel may spread the one number that a deviation is.
    is_by_constant = step.type in (*ADDITIONS, *QUOTIENTS, "Mul", "Sub") and step.depends.count(True) == 1
    return is_by_constant or step.type in (*MOVES, *IDENTITIES, *INVERSES, "Maximum", "Neg")


def _is_root(step: Step | None) -> bool:
    """Whether a step takes a square root, or one over it."""
    if step is not None and step.type == "Pow":
        exponent = tf.get_static_value(step.sources[1])
        return exponent is not None and bool((np.abs(exponent) == 0.5).all())
    return step is not None and step.type in ("Sqrt", "Rsqrt")
