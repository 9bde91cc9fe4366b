"""300 random networks against truths computed without the package; ``make fuzz`` tries 5,000 others."""

import pytest

from tests.fuzz import properties
from tests.fuzz.check import PROPERTIES, check
from tests.fuzz.programs import IMAGE, Program

NETWORKS = 300
# Networks that failed once.
KEPT = {
    "bounds of infinity times zero": (
        properties.gradient,
        Program(IMAGE, [("log softmax", (0, 0, 0)), ("gated", (0, 1, 0))]),
    ),
}


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_random_networks(holds):
    tally = check(holds, NETWORKS // len(PROPERTIES))
    assert tally.networks >= NETWORKS // len(PROPERTIES)


@pytest.mark.parametrize("name", KEPT)
def test_networks_that_failed_once(name):
    holds, program = KEPT[name]
    holds(program)
