"""Explains 2,000 rows into a folder, as a process that can be killed: ``python -m tests.datasets.killed OUT I N``.

It prints the name of each part that it has explained.
"""

import os
import sys

import tfsaliency as tfs
from tests.datasets.harness import network, pictures
from tfsaliency.datasets.task import Task

ROWS, PART = 2000, 50


def telling(make):
    """Makes a part, and prints its name at once."""

    def made(task, rows):
        table = make(task, rows)
        os.write(1, f"{task.folder.part(rows.ids[0] // PART).name}\n".encode())
        return table

    return made


if __name__ == "__main__":
    out, index, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    Task.make = telling(Task.make)
    explainer = tfs.SmoothGrad(network(), samples=20)
    tfs.explain_dataset(
        explainer, pictures(ROWS), out, 1, part_rows=PART, shard=(index, count), progress=False, batch_size=50
    )
