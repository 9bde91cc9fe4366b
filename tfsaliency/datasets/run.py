"""Explains a source part by part: the next part is read and the last one is written while the device works."""

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from tqdm import tqdm

from tfsaliency.base.options import check_count
from tfsaliency.datasets.rows import BadRow, Rows
from tfsaliency.datasets.sources import Source
from tfsaliency.datasets.task import Form, Made, Task

GO_ON = "What is written is whole: make the same call again to go on."


def check_shard(shard: tuple[int, int]) -> None:
    """Raises ValueError unless it is a number below the number of shards."""
    index, count = shard
    check_count("The number of shards", count)
    if not 0 <= index < count:
        raise ValueError(f"shard is (i, n) with i from 0 to n - 1. Received: {shard}")


def explain_parts(
    tasks: list[Task], source: Source, form: Form, shard: tuple[int, int], *, strict: bool, progress: bool
) -> None:
    """Explains the parts of a shard that are not finished; see `explain_dataset` for the arguments and errors."""
    first = source.first()
    size = form.rows_of_part(first)
    for task in tasks:
        task.begin(source.description, size, first)
    with ExitStack() as locks:
        for task in tasks:
            locks.enter_context(task.folder.working(shard))
        run = _Run(tasks, source, size, shard, strict)
        with _few_warnings, _telling():
            run.run(progress)
    for task in tasks:
        task.folder.end(source.length)
        task.check_target(source.length)
    if run.bad:
        warnings.warn(
            f"{len(run.bad)} rows could not be explained, the first, {run.bad[0].id!r}, because: {run.bad[0].reason} "
            "Explanations.bad_rows has all of them.",
            stacklevel=3,
        )


class _Run:
    def __init__(self, tasks: list[Task], source: Source, size: int, shard: tuple[int, int], strict: bool):
        self._tasks, self._source, self._size, self._shard, self._strict = tasks, source, size, shard, strict
        self.bad: list[BadRow] = []

    def run(self, progress: bool) -> None:
        parts = self._source.parts(self._size, self._is_open)
        total, done = self._rows_to_do()
        with (
            tqdm(desc="explaining", total=total, initial=done, unit="row", disable=not progress) as bar,
            ThreadPoolExecutor(1, "reading") as reading,
            ThreadPoolExecutor(1, "writing") as writing,
        ):
            ahead = reading.submit(next, parts, None)
            behind = writing.submit(lambda: None)
            while (part := ahead.result()) is not None:
                ahead = reading.submit(next, parts, None)
                made = self._made(*part)
                behind.result()
                behind = writing.submit(self._write, part[0], made)
                bar.update(part[1].number)
            behind.result()

    def _made(self, number: int, rows: Rows) -> list[tuple[Task, Made]]:
        """What each task that lacks a part makes of it."""
        made = [(task, task.make(rows)) for task in self._tasks if not task.folder.is_done(number)]
        bad = {row.id: row for _, each in made for row in each.bad}
        if bad and self._strict:
            row = next(iter(bad.values()))
            raise ValueError(
                f"The row {row.id!r} cannot be explained: {row.reason} {GO_ON} Mend the row first; without strict such "
                "rows are listed, and the others explained."
            )
        self.bad += bad.values()
        return made

    def _write(self, number: int, made: list[tuple[Task, Made]]) -> None:
        for task, each in made:
            task.folder.write(number, each.table, each.bad)

    def _is_open(self, number: int) -> bool:
        """Whether a part belongs to this shard and is not finished."""
        index, count = self._shard
        return number % count == index and not all(task.folder.is_done(number) for task in self._tasks)

    def _rows_to_do(self) -> tuple[int | None, int]:
        """The rows of this shard, and those that are finished."""
        length, (index, count) = self._source.length, self._shard
        if length is None:
            return None, 0
        rows = {
            number: min(self._size, length - number * self._size)
            for number in range(index, -(-length // self._size), count)
        }
        return sum(rows.values()), sum(each for number, each in rows.items() if not self._is_open(number))


@contextmanager
def _telling() -> Iterator[None]:
    """Says of what stops a run that it can go on."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror or error}. {GO_ON}", error.filename) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted. {GO_ON}") from None


class _FewWarnings:
    """Passes on one warning of each kind: a million rows must not fill a terminal.

    Python has one place for how warnings are shown, which runs in several threads share.
    """

    def __init__(self) -> None:
        self._lock, self._runs = threading.Lock(), 0
        self._told: set[str] = set()
        self._show: Callable[..., None] = warnings.showwarning

    def __enter__(self) -> None:
        with self._lock:
            if not self._runs:
                self._told, self._show = set(), warnings.showwarning
                warnings.showwarning = self._show_first  # type: ignore[assignment]
            self._runs += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._runs -= 1
            if not self._runs:
                warnings.showwarning = self._show

    def _show_first(self, message: Warning | str, *others: Any) -> None:
        kind = re.sub(r"\[.*?\]|\d\S*", "", str(message))
        if kind not in self._told:
            self._told.add(kind)
            self._show(message, *others)


_few_warnings = _FewWarnings()
