"""Where rows come from: arrays, pictures, Keras datasets, Parquet files and records."""

import glob
import hashlib
import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.base.pictures import centre_crop, read_photo
from tfsaliency.base.structure import flatten, map_parts
from tfsaliency.datasets.arrow import array_of, joined, lengths_of, parquet
from tfsaliency.datasets.rows import BadRow, Id, Row, Rows, checked, rows_of
from tfsaliency.engine.inputs import as_texts
from tfsaliency.model.identity import identity

Wanted = Callable[[int], bool]
Preprocess = Callable[[np.ndarray], Any]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# Pictures that are decoded at once.
DECODERS = 4
# Bad rows at the beginning after which a source is given up.
MOST_BAD = 1000
# An array of no more bytes is compared whole with that of an earlier call, a larger one by rows of so many.
TELLING_BYTES = 2**30


class Source(ABC):
    """Rows in a fixed order.

    Attributes:
        length: how many rows there are, None where only reading them tells.
    """

    length: int | None = None

    @cached_property
    def description(self) -> dict[str, Any]:
        """What tells this source from another one, as JSON holds it, with ``"rows"``, the length."""
        return self._described()

    @abstractmethod
    def _described(self) -> dict[str, Any]: ...

    @abstractmethod
    def parts(self, size: int, wanted: Wanted) -> Iterator[tuple[int, Rows]]:
        """The wanted parts and their numbers, in order.

        Args:
            size: the rows of a part; the last one may have fewer.
            wanted: tells whether the part of a number is read.
        """

    @abstractmethod
    def first(self) -> Row:
        """The first row that can be read.

        Raises:
            ValueError: there is none.
        """


class Indexed(Source):
    """A source that knows its length, and can read any rows at once."""

    length: int

    @abstractmethod
    def read(self, start: int, stop: int) -> Rows:
        """Rows ``start`` to ``stop``."""

    def parts(self, size: int, wanted: Wanted) -> Iterator[tuple[int, Rows]]:
        for number, start in enumerate(range(0, self.length, size)):
            if wanted(number):
                yield number, self.read(start, min(start + size, self.length))

    def first(self) -> Row:
        bad: list[BadRow] = []
        for start in range(0, min(self.length, MOST_BAD), DECODERS):
            rows = self.read(start, min(start + DECODERS, self.length))
            if rows.ids:
                return Row(rows.ids[0], map_parts(lambda part: part[0], rows.inputs), {})
            bad += rows.bad
        if not bad:
            raise ValueError("The source has no rows.")
        raise ValueError(
            f"None of the first {len(bad)} rows of the source can be explained. The first, {bad[0].id!r}: "
            f"{bad[0].reason}"
        )


class Arrays(Indexed):
    """Arrays or memory-maps, in the structure of the model's inputs; the ids are the numbers of the rows."""

    def __init__(self, arrays: Any):
        self._arrays = map_parts(np.asarray, arrays)
        lengths = {part.shape[0] if part.ndim else None for part in flatten(self._arrays)}
        if len(lengths) != 1 or None in lengths:
            shapes = [part.shape for part in flatten(self._arrays)]
            raise ValueError(f"Arrays have one row for each sample, the same number each. Received: shapes {shapes}")
        self.length = lengths.pop()  # type: ignore[assignment]

    def _described(self) -> dict[str, Any]:
        parts = [[str(part.dtype), list(part.shape), identity(_telling(part))[-1]] for part in flatten(self._arrays)]
        return {"kind": "arrays", "rows": self.length, "parts": parts}

    def read(self, start: int, stop: int) -> Rows:
        numbers = np.arange(start, stop)
        return checked(numbers.tolist(), numbers, map_parts(lambda part: np.array(part[start:stop]), self._arrays), {})


def _telling(array: np.ndarray) -> np.ndarray:
    """The rows that tell an array from another one: all, or some evenly spread of a very large one."""
    if array.nbytes <= TELLING_BYTES:
        return array
    rows = max(1, len(array) * TELLING_BYTES // array.nbytes)
    return np.asarray(array[np.unique(np.linspace(0, len(array) - 1, rows).astype(int))])


class Pictures(Indexed):
    """Files of pictures, cropped to the size that the model takes; their ids are their paths below the folder."""

    def __init__(self, folder: Path, paths: list[Path], size: tuple[int, int], preprocess: Preprocess | None):
        self._folder, self._paths, self._size, self._preprocess = folder, paths, size, preprocess
        self.length = len(paths)

    def _described(self) -> dict[str, Any]:
        files = _names_and_sizes((self._id(path), path) for path in self._paths)
        preprocess = identity(self._preprocess)
        return {
            "kind": "pictures",
            "rows": self.length,
            "names_and_sizes": files,
            "crop": list(self._size),
            "preprocess": preprocess,
        }

    def read(self, start: int, stop: int) -> Rows:
        return rows_of(list(self._pool.map(self._row, self._paths[start:stop])), start)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(DECODERS, "pictures")

    def _id(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _row(self, path: Path) -> Row:
        try:
            pixels = centre_crop(read_photo(path), *self._size).astype("float32")
            made = pixels if self._preprocess is None else np.asarray(self._preprocess(pixels[None]))[0]
            return Row(self._id(path), made, {})
        # One bad file is told, and the rest goes on.
        except Exception as error:
            return Row(self._id(path), error, {})


class Parquet(Indexed):
    """Parquet files, one row of the model's inputs in each row. Read by row groups, the last one is kept."""

    def __init__(self, paths: list[Path], inputs: Any):
        self._paths, self._inputs = paths, inputs
        files = [parquet.ParquetFile(path) for path in paths]
        groups = [
            (path, group, file) for path, file in zip(paths, files, strict=True) for group in range(file.num_row_groups)
        ]
        self._groups = [(path, group) for path, group, _ in groups]
        counts = [file.metadata.row_group(group).num_rows for _, group, file in groups]
        self._ends = np.cumsum(counts, dtype="int64")
        self.length = int(self._ends[-1]) if counts else 0
        self._kept: tuple[int | None, Any] = None, None
        for name in flatten(inputs):
            if name not in (columns := files[0].schema_arrow.names):
                raise ValueError(
                    f"{paths[0]} has no column {name!r}. It has: {', '.join(columns)}. Say which: inputs='column'."
                )

    def _described(self) -> dict[str, Any]:
        files = _names_and_sizes((path.name, path) for path in self._paths)
        # Where each column is, and the statistics of its numbers.
        footers = [repr(parquet.read_metadata(path).to_dict()) for path in self._paths]
        return {
            "kind": "parquet",
            "rows": self.length,
            "names_and_sizes": files,
            "footers": hashlib.sha256(repr(footers).encode()).hexdigest(),
            "inputs": repr(self._inputs),
        }

    def read(self, start: int, stop: int) -> Rows:
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
        table = joined([self._group(number) for number in range(first, last + 1)])
        before = int(self._ends[first - 1]) if first else 0
        table = table.slice(start - before, stop - start)
        arrays = {name: array_of(table.column(name)) for name in table.column_names}
        numbers = np.arange(start, stop)
        ids = arrays["id"].tolist() if "id" in arrays else numbers.tolist()
        lengths = tuple(lengths_of(table.column(name)) for name in flatten(self._inputs))
        rows = checked(ids, numbers, map_parts(arrays.__getitem__, self._inputs), arrays, lengths)
        empty = np.flatnonzero(np.any([each == 0 for each in rows.lengths if each is not None], axis=0)).tolist()
        return rows.without(dict.fromkeys(empty, "One of its lists is empty.")) if empty else rows

    def _group(self, number: int) -> Any:
        if self._kept[0] != number:
            path, group = self._groups[number]
            self._kept = number, parquet.ParquetFile(path).read_row_group(group)
        return self._kept[1]


class Streamed(Source):
    """A source that can only be read from its beginning."""

    def __init__(self, kind: str, rows: Callable[[], Iterator[Row]]):
        self._kind, self._open = kind, rows
        self._begun: list[Row] = []
        self._rest: Iterator[Row] | None = None

    def _described(self) -> dict[str, Any]:
        row = self.first()
        parts = [identity(np.asarray(part)) for part in flatten(row.inputs)]
        return {"kind": self._kind, "rows": None, "first_row": [row.id, parts]}

    def first(self) -> Row:
        if self._rest is None:
            self._rest, self._begun = self._open(), []
        for row in itertools.chain(list(self._begun), self._read()):
            if not isinstance(row.inputs, Exception):
                return row
        raise ValueError("The source has no row that can be explained. A generator can be read once: make it again.")

    def _read(self) -> Iterator[Row]:
        """The rows that were not read yet. They are kept for `parts`."""
        for row in self._rest or ():
            self._begun.append(row)
            yield row

    def parts(self, size: int, wanted: Wanted) -> Iterator[tuple[int, Rows]]:
        rows = itertools.chain(self._begun, self._rest) if self._rest is not None else self._open()
        self._rest = None
        for number in itertools.count():
            batch = list(itertools.islice(rows, size))
            if not batch:
                return
            if wanted(number):
                yield number, rows_of(batch, number * size)
            self.length = number * size + len(batch)


def _names_and_sizes(files: Iterable[tuple[str, Path]]) -> str:
    known = [(name, path.stat().st_size) for name, path in files]
    return hashlib.sha256(repr(known).encode()).hexdigest()


def as_source(source: Any, model: keras.Model, preprocess: Preprocess | None, inputs: Any) -> Source:
    """What a user passes, as a source; see `explain_dataset`."""
    if isinstance(source, Source):
        return source
    if isinstance(source, str | os.PathLike):
        return _of_files(source, model, preprocess, inputs)
    if preprocess is not None:
        raise ValueError("preprocess is for files of pictures. Map other sources before: dataset.map(preprocess).")
    if isinstance(source, tf.data.Dataset):
        return Streamed("tf.data", lambda: _rows_of_batches(source, _rank(model)))
    if isinstance(source, keras.utils.PyDataset):
        return Streamed("PyDataset", lambda: _rows_of_batches((source[i] for i in range(len(source))), _rank(model)))
    return _of_values(source, model, inputs)


def _of_values(source: Any, model: keras.Model, inputs: Any) -> Source:
    if _is_structure_of_arrays(source):
        return Arrays(source)
    if isinstance(source, dict) or hasattr(source, "iterrows"):
        raise ValueError(
            "Columns are passed as arrays, in the structure of the model's inputs: {name: df[name].to_numpy() for name "
            f"in names}}, or df[names].to_numpy() for one table. Received: {_of_what(source)}"
        )
    if isinstance(source, Iterable):
        return Streamed("records", lambda: map(lambda record: _row_of(record, model, inputs), iter(source)))
    raise ValueError(
        "A source is a folder, glob or Parquet file, arrays, a tf.data.Dataset, a PyDataset, or an iterable of dicts "
        f"with an 'id'. Received: {type(source).__name__}"
    )


def _of_what(source: Any) -> str:
    """What a table of columns is made of, for a message."""
    if not isinstance(source, dict):
        return type(source).__name__
    return "a dict of " + ", ".join(sorted({type(part).__name__ for part in source.values()}))


def _is_structure_of_arrays(source: Any) -> bool:
    is_of_records = isinstance(source, list) and any(isinstance(each, dict) for each in source)
    return not is_of_records and all(isinstance(part, np.ndarray | tf.Tensor) for part in flatten(source))


def _of_files(source: str | os.PathLike[str], model: keras.Model, preprocess: Preprocess | None, inputs: Any) -> Source:
    path = Path(source)
    if path.is_dir():
        folder, paths = path, sorted(each for each in path.rglob("*") if each.is_file() and each.name[0] != ".")
    elif path.is_file():
        folder, paths = path.parent, [path]
    else:
        paths = sorted(Path(each) for each in glob.glob(str(source), recursive=True) if os.path.isfile(each))
        folder = Path(os.path.commonpath([each.parent for each in paths])) if paths else path
    tables = [each for each in paths if each.suffix == ".parquet" and "_errors" not in each.parts]
    pictures = [each for each in paths if each.suffix.lower() in SUFFIXES]
    if tables and not pictures:
        return Parquet(tables, _columns_of(model, inputs))
    if not pictures:
        raise FileNotFoundError(f"There are no pictures ({', '.join(SUFFIXES)}) and no Parquet files at {source!s}")
    return Pictures(folder, pictures, picture_size(model), preprocess)


def picture_size(model: keras.Model) -> tuple[int, int]:
    """Height and width of the RGB pictures that a model takes.

    Raises:
        ValueError: the model does not say.
    """
    shape = getattr(model, "input_shape", None)
    if not (isinstance(shape, tuple) and len(shape) == 4 and shape[1] and shape[2] and shape[3] == 3):
        raise ValueError(
            f"Files of pictures are cropped to what the model takes, and it declares the shape {shape}. Read them "
            "yourself, and pass {'id': name, 'inputs': picture} for each."
        )
    return int(shape[1]), int(shape[2])


def _columns_of(model: keras.Model, inputs: Any) -> Any:
    """The names of the columns that hold the inputs, in the structure of the model's inputs."""
    if inputs is not None:
        return inputs
    declared = getattr(model, "input", None)
    return {name: name for name in declared} if isinstance(declared, dict) else "inputs"


def _row_of(record: Any, model: keras.Model, inputs: Any) -> Row:
    columns = _columns_of(model, inputs)
    missing = [name for name in ("id", *flatten(columns)) if not isinstance(record, dict) or name not in record]
    if missing:
        given = f"the keys {sorted(record)}" if isinstance(record, dict) else type(record).__name__
        raise ValueError(f"Each row of an iterable is a dict with {', '.join(map(repr, missing))}. Received: {given}")
    return Row(_id_of(record["id"]), map_parts(lambda name: _array_of(record[name]), columns), record)


def _array_of(part: Any) -> Any:
    """A list of numbers as an array: a list in the structure of inputs would be several parts."""
    return np.asarray(part) if isinstance(part, list | tuple) else part


def _id_of(value: Any) -> Id:
    if isinstance(value, np.generic | np.ndarray):
        value = value.item()
    if isinstance(value, str | int):
        return value
    raise ValueError(f"An id is a text or a whole number. Received: {value!r}")


def _rank(model: keras.Model) -> int | None:
    """How many axes a batch of the only input has, where the model says so; Keras takes ``(N,)`` for ``(N, 1)``."""
    shape = getattr(model, "input_shape", None)
    return len(shape) if isinstance(shape, tuple) and shape[1:] != (1,) else None


def _rows_of_batches(batches: Iterable[Any], rank: int | None) -> Iterator[Row]:
    """The rows of batches as ``fit`` takes them: inputs, or inputs and labels ``"y"``."""
    number = 0
    for batch in batches:
        x, y = (batch[0], batch[1]) if isinstance(batch, tuple) and len(batch) > 1 else (batch, None)
        x = x[0] if isinstance(x, tuple) and len(x) == 1 else x
        arrays = map_parts(_array, x)
        labels = None if y is None else _array(y)
        is_alone = isinstance(arrays, np.ndarray) and arrays.ndim + 1 == rank
        if is_alone or not all(part.ndim for part in flatten([arrays, *([] if labels is None else [labels])])):
            raise ValueError("The rows of a dataset come in batches. Received: a row alone. Pass dataset.batch(32).")
        for row in range(len(flatten(arrays)[0])):
            columns = {} if labels is None else {"y": labels[row]}
            yield Row(number, map_parts(lambda part, row=row: part[row], arrays), columns)
            number += 1


def _array(part: Any) -> np.ndarray:
    if isinstance(part, tf.RaggedTensor | tf.SparseTensor):
        raise ValueError(
            f"The rows of a dataset are arrays of one shape. Received: a {type(part).__name__}. Fill them up: "
            "dataset.map(lambda x: x.to_tensor(shape=(None, 128))) for a ragged one, tf.sparse.to_dense for a sparse "
            "one."
        )
    array = np.asarray(part)
    return np.asarray(as_texts(array)) if array.dtype.kind in "OS" else array
