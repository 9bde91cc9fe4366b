"""Kills runs again and again, and looks at what is left: ``python -m tests.datasets.killing 50`` (ten minutes)."""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.datasets.harness import content

# So many kills come at any moment of the start-up, the others soon after a part has appeared; in seconds.
EARLY, START_UP, SOON = 0.2, 6.0, 0.03


def killed_runs(folder, workers, kills):
    """Kills runs, lets each end at last, and compares all files with those of a run that nothing stopped.

    Returns:
        For each kill and process, how many parts it had explained and not written.
    """
    draw, lost, runs = random.Random(workers), [], 0
    let_end(folder / "whole", 1)
    whole = content(folder / "whole")
    while len(lost) < kills * workers:
        runs += 1
        out = folder / f"run-{runs}"
        while len(lost) < kills * workers and (more := kill(out, workers, draw)):
            lost += more
            assert set(parts(out).items()) <= set(whole.items())
        let_end(out, workers)
        assert content(out) == whole
    return lost


def kill(out, workers, draw):
    """Starts a run or goes on with it, and kills its processes; gives nothing if they have ended before.

    Returns:
        For each process, how many parts it had explained and not written.
    """
    running = start(out, workers)
    wait(out, running, draw)
    ended = all(each.poll() is not None for each in running)
    for each in running:
        each.kill()
    explained = [each.communicate()[0].decode().split() for each in running]
    written = parts(out)
    return [] if ended else [sum(name not in written for name in names) for names in explained]


def wait(out, running, draw):
    """Waits for a moment to kill a run at."""
    if draw.random() < EARLY:
        time.sleep(draw.uniform(0, START_UP))
        return
    goal = len(parts(out)) + draw.randint(1, 6)
    while len(list(out.glob("*.parquet"))) < goal and any(each.poll() is None for each in running):
        time.sleep(0.001)
    time.sleep(draw.uniform(0, SOON))


def let_end(out, workers):
    """Lets a run end."""
    running = start(out, workers)
    for each in running:
        each.communicate()
    assert [each.returncode for each in running] == [0] * workers


def start(out, workers):
    command = [sys.executable, "-m", "tests.datasets.killed", str(out)]
    return [
        subprocess.Popen([*command, str(index), str(workers)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for index in range(workers)
    ]


def parts(out):
    """Name -> SHA-256 of the part files."""
    return {name: digest for name, digest in content(out).items() if name.endswith(".parquet")}


if __name__ == "__main__":
    for workers in (1, 3):
        with tempfile.TemporaryDirectory() as folder:
            lost = killed_runs(Path(folder), workers, int(sys.argv[1]))
        counts = ", ".join(f"{lost.count(number)} times {number}" for number in sorted(set(lost)))
        print(f"processes {workers}, kills {len(lost) // workers}: explained and not written, {counts} parts")
