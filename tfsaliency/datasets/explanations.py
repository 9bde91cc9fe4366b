"""Explanations in a folder, read when they are asked for."""

import itertools
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfsaliency.base.extra import require
from tfsaliency.datasets.arrow import explanation_of, joined
from tfsaliency.datasets.folder import Folder
from tfsaliency.datasets.rows import BadRow, Id
from tfsaliency.explanation import Explanation


class Explanations:
    """The explanations that `explain_dataset` wrote to a folder, in the order of the source.

    Iterating gives an `Explanation` for each part file; ``explanations[10:20]`` gives one of these rows, whichever
    files hold them. Only what is asked for is read.

    Args:
        folder: that holds them.

    Example:
        >>> import keras, numpy as np, tempfile, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> rows = ({"id": name, "inputs": np.ones(3)} for name in ("a", "b", "c"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     maps = tfs.explain_dataset(tfs.Gradient(model), rows, folder, target=1, progress=False)
        ...     maps.ids, maps[1:].values.shape, maps.of("b").scores.shape, maps.is_complete
        (['a', 'b', 'c'], (2, 3), (1,), True)
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self._folder = Folder(Path(folder))
        self._parts = self._folder.parts()
        self.manifest: dict[str, Any] = self._folder.manifest

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    @property
    def is_complete(self) -> bool:
        """Whether all rows of the source are explained, or told as bad."""
        return self._folder.is_complete

    @property
    def bad_rows(self) -> list[BadRow]:
        """The rows that could not be explained: ``id`` and ``reason`` each."""
        return self._folder.bad_rows()

    @cached_property
    def ids(self) -> list[Id]:
        """The ids of the rows that are explained."""
        return [each for number in self._parts for each in self._folder.read(number, ["id"]).column("id").to_pylist()]

    def __len__(self) -> int:
        """The number of rows that are explained."""
        return int(self._ends[-1]) if self._parts else 0

    def __iter__(self) -> Iterator[Explanation]:
        """An explanation for each part file."""
        for number in self._parts:
            yield explanation_of(self._folder.read(number))

    def __getitem__(self, rows: slice | int) -> Explanation:
        """An explanation of some rows, by their numbers among those that are explained.

        Raises:
            IndexError: there is no such row.
        """
        if isinstance(rows, slice):
            numbers = range(len(self))[rows]
        else:
            numbers = range(len(self))[rows:][:1] if -len(self) <= rows < len(self) else range(0)
        if not numbers:
            raise IndexError(f"There are {len(self)} rows. Received: {rows}")
        return self._rows(numbers)

    def of(self, *ids: Id) -> Explanation:
        """An explanation of the rows with these ids, in this order.

        Args:
            ids: of rows.

        Raises:
            KeyError: a row is not explained; the message says why if it is known.

        Example:
            >>> import keras, numpy as np, tempfile, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     maps = tfs.explain_dataset(tfs.Gradient(model), np.ones((9, 3)), folder, target=1, progress=False)
            ...     maps.of(7, 2).values.shape
            (2, 3)
        """
        for each in ids:
            if each not in self._places:
                reasons = {row.id: row.reason for row in self.bad_rows}
                raise KeyError(f"No explanation of {each!r} in {self.path}. {reasons.get(each, '')}".rstrip())
        return self._rows([self._places[each] for each in ids])

    def to_zarr(self, path: str | os.PathLike[str]) -> None:
        """Writes the values as one Zarr array ``(N, ...)``, for random access by other tools; ids are an attribute.

        Args:
            path: of the new array; nothing may be there.

        Raises:
            ModuleNotFoundError: Zarr is not installed.
            ValueError: the values have several parts, or not one shape.
            FileExistsError: there is something at the path.

        Example:
            >>> import keras, numpy as np, tempfile, tfsaliency as tfs, zarr
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     maps = tfs.explain_dataset(tfs.Gradient(model), np.ones((9, 3)), folder + "/a", 1, progress=False)
            ...     maps.to_zarr(folder + "/b.zarr")
            ...     zarr.open_array(folder + "/b.zarr").shape
            (9, 3)
        """
        zarr = require("zarr", "zarr")
        if Path(path).exists():
            raise FileExistsError(f"There is something at {str(path)!r} already.")
        first = self[0].values
        if not isinstance(first, np.ndarray):
            raise ValueError("A Zarr array holds values of one part. Received: several parts.")
        array = zarr.create_array(
            store=str(path),
            shape=(len(self), *first.shape[1:]),
            chunks=(self._rows_of_parts[0], *first.shape[1:]),
            dtype="float32",
            attributes={"ids": self.ids, "method": self.manifest["run"]["method"]},
        )
        start = 0
        for explanation in self:
            if explanation.values.shape[1:] != first.shape[1:]:
                shutil.rmtree(path)
                raise ValueError(
                    f"A Zarr array holds values of one shape. Received parts with rows of {first.shape[1:]} and of "
                    f"{explanation.values.shape[1:]}. Fill up the inputs to one length before they are explained."
                )
            array[start : start + len(explanation)] = explanation.values
            start += len(explanation)

    @cached_property
    def _rows_of_parts(self) -> list[int]:
        return [self._folder.rows_of(number) for number in self._parts]

    @cached_property
    def _ends(self) -> list[int]:
        """For each part the number of rows up to its end."""
        return list(itertools.accumulate(self._rows_of_parts))

    @cached_property
    def _places(self) -> dict[Id, int]:
        found = {each: place for place, each in enumerate(self.ids)}
        if len(found) < len(self.ids):
            raise ValueError(f"Two rows of {self.path} have the same id, so none can be found by it. Slice by number.")
        return found

    def _by_part(self, numbers: "range | list[int]") -> list[tuple[int, list[int]]]:
        """The rows, in order, as runs within one part each: its position, and the rows within it."""
        runs: list[tuple[int, list[int]]] = []
        for number in numbers:
            position = bisect_right(self._ends, number)
            row = number - (self._ends[position - 1] if position else 0)
            if not runs or runs[-1][0] != position:
                runs.append((position, []))
            runs[-1][1].append(row)
        return runs

    def _rows(self, numbers: "range | list[int]") -> Explanation:
        """An explanation of the rows, in this order."""
        runs = [self._folder.read(self._parts[position]).take(rows) for position, rows in self._by_part(numbers)]
        return explanation_of(joined(runs))
