"""Explains 2,000 rows into a folder, as a process that can be killed: ``python -m tests.datasets.killed OUT I N``."""

import sys

import tfsaliency as tfs
from tests.datasets.harness import network, pictures

ROWS, PART = 2000, 50

if __name__ == "__main__":
    out, index, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    explainer = tfs.SmoothGrad(network(), samples=20)
    tfs.explain_dataset(
        explainer, pictures(ROWS), out, 1, part_rows=PART, shard=(index, count), progress=False, batch_size=50
    )
