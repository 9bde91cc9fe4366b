"""Comparisons of maps, and the refusals that a check allows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.testing.record import CheckFailed, Refused, expect

# A relative error in L2: sums in another order round differently.
ROUNDING = 1e-4


def distance(found: Any, expected: Any) -> float:
    """The relative error of the worst part, in L2; infinite where structures or shapes differ."""
    ours, theirs = tf.nest.flatten(found), tf.nest.flatten(expected)
    if [part.shape for part in ours] != [part.shape for part in theirs]:
        return float("inf")
    gaps = [np.linalg.norm(np.subtract(one, other, dtype="float64")) for one, other in zip(ours, theirs, strict=True)]
    sizes = [np.linalg.norm(other.astype("float64")) for other in theirs]
    return max(float(gap / size if size else gap) for gap, size in zip(gaps, sizes, strict=True))


def expect_same(found: Any, expected: Any, what: str, remedy: str, tolerance: float = ROUNDING) -> None:
    """Raises where maps differ by more than rounding."""
    apart = distance(found, expected)
    expect(apart <= tolerance, f"{what}, within {tolerance:g}", f"a relative difference of {apart:.2g}", remedy)


def rows(inputs: Any, which: Any) -> Any:
    """Some rows of all parts of the inputs, or of values."""
    return tf.nest.map_structure(lambda part: part[which], inputs)


@contextmanager
def may_refuse() -> Iterator[None]:
    """A ValueError in words is an answer here; one that hides a failed operation is none."""
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        if isinstance(error.__cause__, tf.errors.OpError):
            raise CheckFailed(
                f"Expected: an answer, or an error that says why there is none. Found: a failed operation, {error} "
                "Raise ValueError before the operation, with what was received and what to do."
            ) from error
        raise Refused(str(error)) from error


def expect_refusal(ask: Callable[[], Any], question: str) -> str:
    """The message of the ValueError that such a question must raise."""
    try:
        ask()
    except ValueError as error:
        expect(len(str(error)) > 20, f"an error that says what to do about {question}", repr(str(error)), "Say it.")
        return str(error)
    except Exception as error:
        raise CheckFailed(
            f"Expected: ValueError for {question}. Found: {type(error).__name__}: {error}. Let Explainer.explain check."
        ) from error
    raise CheckFailed(
        f"Expected: ValueError for {question}. Found: an answer. Leave the checks to Explainer.explain, and write "
        "attribute alone."
    )
