"""``python -m tests.fuzz 5000``: tries that many random networks, others each time."""

import sys

from tests.fuzz.check import PROPERTIES, check

if __name__ == "__main__":
    networks = int(sys.argv[1]) // len(PROPERTIES)
    for holds in PROPERTIES:
        tally = check(holds, networks, anew=True)
        print(
            f"{holds.__name__}: {tally.networks} networks of {tally.operations / tally.networks:.1f} operations on "
            f"average, worst error {tally.worst:.2g}",
            flush=True,
        )
