"""A folder of part files: each appears whole or not at all, and a manifest says what they belong to."""

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from tfsaliency.base.extra import require
from tfsaliency.base.files import appearing_whole, check_may_be_folder, left_unfinished
from tfsaliency.datasets.arrow import KEY, parquet
from tfsaliency.datasets.rows import BadRow
from tfsaliency.model.identity import as_json, differences
from tfsaliency.version import __version__

FORMAT = 1
PART = re.compile(r"part-(\d{8})\.(?:parquet|json)")


class Folder:
    """The part files of one run, which any number of processes and calls may add to.

    Readers of Parquet skip what begins with ``_`` or ``.``: the manifest, errors and locks.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self._done: set[int] = set()
        self._damaged: set[int] = set()

    # --- what it belongs to ---

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was asked, and by which version.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged.
        """
        path = self._manifest_path
        if not path.is_file():
            raise FileNotFoundError(f"There are no explanations in {str(self.path)!r}: it has no {path.name}.")
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            is_whole = found["format"] == FORMAT and found["sha256"] == digest(found["run"])
        except (ValueError, KeyError, TypeError):
            is_whole = False
        if not is_whole:
            raise ValueError(
                f"{path} is damaged, or of another version. The part files say themselves what they belong to: delete "
                "it and repeat the call that made the folder. It is written again, and nothing is explained twice."
            )
        return found

    @property
    def run(self) -> str:
        """The SHA-256 of what was asked."""
        found: str = self.manifest["sha256"]
        return found

    def begin(self, run: Mapping[str, Any]) -> None:
        """Makes the folder for a run, or goes on with one.

        Raises:
            ValueError: the folder belongs to another run, or its manifest is damaged.
            OSError: it cannot be written to.
        """
        run = as_json(run)
        check_may_be_folder(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        # Shards may begin at the same time.
        with require("filelock", "data").FileLock(self.path / ".lock"):
            if not self._manifest_path.exists():
                self._check_parts(digest(run))
                said = {"format": FORMAT, "made_by": __version__, "run": run, "sha256": digest(run)}
                _write(self._manifest_path, said)
        known = self.manifest["run"]
        if known != run:
            raise ValueError(
                f"{self.path} holds the explanations of another call: {differences(known, run)}. Write to another "
                "folder, or make the same call to go on."
            )

    def _check_parts(self, run: str) -> None:
        """Raises where part files without a manifest belong to another run."""
        for number in self._numbers("*.parquet"):
            if self._run_of(self.part(number)) not in (run, None):
                raise ValueError(
                    f"{self.part(number)} belongs to another call, and the manifest of {self.path} is gone. Write to "
                    "another folder."
                )

    @property
    def _manifest_path(self) -> Path:
        return self.path / "_manifest.json"

    # --- parts ---

    def part(self, number: int) -> Path:
        """The path of a part file."""
        return self.path / f"part-{number:08}.parquet"

    def is_done(self, number: int) -> bool:
        """Whether a part is finished. One whose file is damaged is not."""
        if number not in self._done and self._is_written(number):
            self._done.add(number)
        return number in self._done

    def _is_written(self, number: int) -> bool:
        part = self.part(number)
        if part.exists():
            if self._run_of(part) == self.run:
                return True
            if number not in self._damaged:
                self._damaged.add(number)
                warnings.warn(f"{part} is damaged: its rows are explained again.", stacklevel=5)
            return False
        # A part of bad rows alone has no table.
        told = self._told(number)
        return told is not None and told["rows"] == len(told["errors"])

    def end(self, rows: int | None) -> None:
        """Writes down how many rows the source has, where only reading it to its end has told."""
        if rows is not None and self.manifest["run"]["source"]["rows"] is None:
            _write(self._end_path, {"rows": rows})

    @property
    def is_complete(self) -> bool:
        """Whether each row of the source is explained or told as bad."""
        run = self.manifest["run"]
        rows = run["source"]["rows"]
        if rows is None and self._end_path.exists():
            rows = json.loads(self._end_path.read_text(encoding="utf-8"))["rows"]
        return rows is not None and all(map(self.is_done, range(-(-rows // run["part_rows"]))))

    @property
    def _end_path(self) -> Path:
        return self.path / "_end.json"

    def parts(self) -> list[int]:
        """The numbers of the part files, in the order of the source."""
        return sorted(self._numbers("*.parquet"))

    def write(self, number: int, table: Any, bad: list[BadRow]) -> None:
        """Writes the rows of a part, those that could not be explained first.

        Args:
            number: of the part.
            table: the rows that could; None where there is none.
            bad: those that could not.

        Raises:
            OSError: the disk is full, or the like; nothing incomplete is left.
        """
        errors = self._errors(number)
        if bad:
            errors.parent.mkdir(exist_ok=True)
            rows = len(bad) + (0 if table is None else len(table))
            _write(errors, {"rows": rows, "errors": [each._asdict() for each in bad]})
        if table is not None:
            with appearing_whole(self.part(number)) as unfinished, open(unfinished, "wb") as file:
                parquet.write_table(table, file, compression="SNAPPY", write_page_checksum=True, use_dictionary=False)

    def read(self, number: int, columns: list[str] | None = None) -> Any:
        """The table of a part.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            return parquet.ParquetFile(self.part(number), page_checksum_verification=True).read(columns)
        except FileNotFoundError:
            raise
        # A damaged file makes pyarrow raise errors of many types.
        except Exception as error:
            raise ValueError(
                f"{self.part(number)} is damaged: {error} Delete it and repeat the call that made the folder: only its "
                "rows are explained again."
            ) from error

    def rows_of(self, number: int) -> int:
        """How many rows a part file holds."""
        rows: int = parquet.read_metadata(self.part(number)).num_rows
        return rows

    def bad_rows(self) -> list[BadRow]:
        """The rows that could not be explained, in the order of the source."""
        told = map(self._told, sorted(self._numbers("_errors/*.json")))
        return [BadRow(**each) for found in told if found is not None for each in found["errors"]]

    def _told(self, number: int) -> dict[str, Any] | None:
        """How many rows a part has, and its bad ones; None where none is told, or the file is damaged."""
        try:
            found: dict[str, Any] = json.loads(self._errors(number).read_text(encoding="utf-8"))
            return found
        except (FileNotFoundError, ValueError):
            return None

    def _errors(self, number: int) -> Path:
        return self.path / "_errors" / f"part-{number:08}.json"

    def _numbers(self, pattern: str) -> list[int]:
        found = (PART.fullmatch(path.name) for path in self.path.glob(pattern))
        return [int(match[1]) for match in found if match]

    def _run_of(self, path: Path) -> str | None:
        """The run that a part file belongs to; None where it is damaged."""
        try:
            run: str = json.loads(parquet.read_metadata(path).metadata[KEY])["run"]
            return run
        except Exception:
            return None

    # --- one process for each share of the work ---

    @contextmanager
    def working(self, shard: tuple[int, int]) -> Iterator[None]:
        """Keeps other processes from the same work. The lock goes with the process, however it ends.

        Raises:
            RuntimeError: another process works on the same rows.
        """
        filelock = require("filelock", "data")
        index, count = shard
        own = filelock.FileLock(self.path / f".lock-{index}-of-{count}")
        others = [path for path in self.path.glob(".lock-*") if not path.name.endswith(f"-of-{count}")]
        try:
            own.acquire(timeout=0)
            for path in others:
                with filelock.FileLock(path).acquire(timeout=0):
                    pass
        except filelock.Timeout as error:
            own.release()
            raise RuntimeError(
                f"Another process is writing the same rows to {self.path}. Wait for it, or share the work: "
                "shard=(0, 2) here and shard=(1, 2) there."
            ) from error
        try:
            self._remove_unfinished(shard)
            yield
        finally:
            own.release()

    def _remove_unfinished(self, shard: tuple[int, int]) -> None:
        """Removes what a process that was killed had begun to write."""
        index, count = shard
        for name, path in left_unfinished(self.path):
            part = PART.fullmatch(name)
            if part and int(part[1]) % count == index:
                path.unlink(missing_ok=True)


def _write(path: Path, record: Mapping[str, Any]) -> None:
    with appearing_whole(path) as unfinished:
        unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")


def digest(run: Mapping[str, Any]) -> str:
    """The SHA-256 of what JSON holds."""
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()
