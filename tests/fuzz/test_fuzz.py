"""300 random networks against truths computed without the package; ``make fuzz`` tries 5,000 others."""

import pytest

from tests.fuzz.check import PROPERTIES, check

NETWORKS = 300


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_random_networks(holds):
    tally = check(holds, NETWORKS // len(PROPERTIES))
    assert tally.networks >= NETWORKS // len(PROPERTIES)
