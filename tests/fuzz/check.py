"""Tries properties on random networks, and shrinks the first one that fails to its few operations."""

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings

from tests.fuzz import properties
from tests.fuzz.programs import PIECEWISE, WITH_LOSSES, Program, programs

PROPERTIES: dict[Callable[[Program], float], dict] = {
    properties.gradient: WITH_LOSSES,
    properties.completeness: WITH_LOSSES,
    properties.relevance: PIECEWISE,
    properties.guided: PIECEWISE,
    properties.deconvolved: PIECEWISE,
}


class Tally(NamedTuple):
    """What was seen.

    Attributes:
        networks: how many were tried.
        operations: how many they had together.
        worst: the largest error.
    """

    networks: int
    operations: int
    worst: float


def check(holds: Callable[[Program], float], networks: int, *, anew: bool = False) -> Tally:
    """Tries one property.

    Args:
        holds: a property.
        networks: how many to try.
        anew: whether to try others than last time.
    """
    seen: list[tuple[int, float]] = []

    @settings(
        max_examples=networks,
        deadline=None,
        derandomize=not anew,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs(PROPERTIES[holds]))
    def every(program: Program) -> None:
        seen.append((len(program), holds(program)))

    every()
    return Tally(len(seen), sum(length for length, _ in seen), max(error for _, error in seen))
