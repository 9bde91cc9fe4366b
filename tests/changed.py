"""Runs the tests and docstrings of what changed since a commit: `make check`, for the day's work.

    python -m tests.changed [COMMIT]

The tests of a module are those in the folder of its name; tests in a changed file run in any case. What every method
rests on (`graph`, `model`, `engine`) is tested by its own folder and by the cheapest method.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Slow, and of the whole: `make test` runs them.
WHOLE = ("tests/docs/test_browser.py", "tests/docs/test_examples.py", "tests/methods/test_contract.py")
EVERYTHING_RESTS_ON = ("graph", "model", "engine", "tensors", "base")


def changed(since: str) -> list[Path]:
    """The files that differ from a commit, and those that git does not know yet."""
    commands = (["diff", "--name-only", since], ["ls-files", "--others", "--exclude-standard"])
    lines = [subprocess.check_output(["git", *each], cwd=ROOT, text=True).splitlines() for each in commands]
    return [Path(line) for each in lines for line in each if (ROOT / line).exists()]


def tests_of(path: Path) -> set[str]:
    """The tests that a change of a file asks for."""
    if path.suffix != ".py" or path.parts[0] not in ("tests", "tfsaliency"):
        return {"tests/docs/test_docs.py"} if path.suffix == ".md" else set()
    if path.parts[0] == "tests":
        return {str(path)} if path.name.startswith("test_") else set()
    found = {str(path)}
    folder = Path("tests", *path.parts[1:-1])
    if folder != Path("tests") and any((ROOT / folder).glob("test_*.py")):
        found.add(str(folder))
    if (ROOT / folder / f"test_{path.name}").exists():
        found.add(str(folder / f"test_{path.name}"))
    if path.parts[1] in EVERYTHING_RESTS_ON:
        found.add("tests/methods/gradients")
    return found


def main(since: str) -> int:
    """Runs the tests, and returns the exit status."""
    wanted = {"tests/test_house.py"}.union(*map(tests_of, changed(since)))
    print("testing", ", ".join(sorted(wanted)))
    left_out = [f"--ignore={path}" for path in WHOLE]
    options = ["--numprocesses", "2", "--dist", "worksteal", "-q", "-m", "not slow"]
    command = [sys.executable, "-m", "pytest", *options, *left_out]
    return subprocess.call([*command, *sorted(wanted)], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ["HEAD"]))
