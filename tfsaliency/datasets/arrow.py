"""Explanations as Arrow tables, one row for each sample, which any reader of Parquet understands.

Numbers of several axes are columns of the canonical type ``arrow.fixed_shape_tensor``. Values of texts, which have as
many words as the longest text around them, are lists that end with the text.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfsaliency.base.extra import require
from tfsaliency.base.structure import flatten, names, optional_parts, skeleton, unflatten
from tfsaliency.datasets.rows import Id
from tfsaliency.explanation import Explanation

arrow = require("pyarrow", "data")
compute = require("pyarrow.compute", "data")
parquet = require("pyarrow.parquet", "data")

FORMAT = 1
KEY = b"tfsaliency"
# A row is kept in float16 only if it loses no more than this share of its length.
LOST = 1e-3
DIAGNOSTIC = "diagnostic_"


def table_of(ids: list[Id], explanation: Explanation, dtype: str, keep_inputs: bool, run: str) -> Any:
    """The table of an explanation.

    Args:
        ids: of its samples.
        explanation: what is kept.
        dtype: of the values.
        keep_inputs: whether the inputs are kept too.
        run: the SHA-256 of what was asked.
    """
    columns = {"id": arrow.array(ids)}
    words = optional_parts(explanation.tokens, explanation.inputs)
    lengths = [_lengths(part) for part in words]
    for name, part, length in zip(
        _names("values", explanation.values), flatten(explanation.values), lengths, strict=True
    ):
        columns[name] = column_of(part.astype(dtype), length)
    for name, part, length in zip(_names("tokens", explanation.inputs), words, lengths, strict=True):
        if part is not None:
            columns[name] = column_of(part, length)
    if keep_inputs:
        for name, part in zip(_names("inputs", explanation.inputs), flatten(explanation.inputs), strict=True):
            columns[name] = column_of(part)
    columns["score"] = column_of(explanation.scores)
    if explanation.target is not None:
        columns["target"] = column_of(explanation.target)
    columns |= {f"{DIAGNOSTIC}{name}": column_of(array) for name, array in explanation.diagnostics.items()}
    described = {
        "format": FORMAT,
        "run": run,
        "method": explanation.method,
        "meaning": explanation.meaning,
        "explained": explanation.explained,
        # The same rows make the same bytes, however long they took.
        "provenance": {name: each for name, each in explanation.provenance.items() if name != "seconds"},
        "values": skeleton(explanation.values),
        "inputs": skeleton(explanation.inputs),
        "shapes": [list(part.shape[1:]) for part in flatten(explanation.inputs)],
        "types": [part.dtype.str for part in flatten(explanation.inputs)],
    }
    return arrow.table(columns).replace_schema_metadata({KEY: json.dumps(described, sort_keys=True)})


def explanation_of(table: Any) -> Explanation:
    """The explanation that a table was made of.

    Where the inputs were not kept, they are NaN.
    """
    record = json.loads(table.schema.metadata[KEY])
    known = set(table.column_names)

    def parts(start: str, form: Any) -> list[Any]:
        named = _names(start, unflatten(form, [None] * _size(form)))
        return [array_of(table.column(name)) if name in known else None for name in named]

    inputs = [
        np.broadcast_to(np.float32(np.nan), (len(table), *shape)) if part is None else _as_passed(part, dtype)
        for part, shape, dtype in zip(parts("inputs", record["inputs"]), record["shapes"], record["types"], strict=True)
    ]
    tokens = parts("tokens", record["inputs"])
    values = [part.astype("float32", copy=False) for part in parts("values", record["values"])]
    return Explanation(
        values=unflatten(record["values"], values),
        inputs=unflatten(record["inputs"], inputs),
        target=array_of(table.column("target")) if "target" in known else None,
        scores=array_of(table.column("score")),
        method=record["method"],
        meaning=record["meaning"],
        explained=record["explained"],
        provenance=record["provenance"],
        tokens=unflatten(record["inputs"], tokens) if any(each is not None for each in tokens) else None,
        diagnostics={
            name.removeprefix(DIAGNOSTIC): array_of(table.column(name))
            for name in table.column_names
            if name.startswith(DIAGNOSTIC)
        },
    )


def _as_passed(part: np.ndarray, dtype: str) -> np.ndarray:
    """Inputs as they were passed: bools are kept as numbers. The type of one part file may not hold those of others."""
    return part.astype(bool) if np.dtype(dtype).kind == "b" else part


def rows_that_lose(values: Any, dtype: str) -> list[int]:
    """The rows of which a type of fewer bits loses more than `LOST`, or that it cannot hold."""
    parts = [part.reshape(len(part), -1) for part in flatten(values)]
    with np.errstate(over="ignore"):
        rounded = [part.astype(dtype).astype("float32") for part in parts]
    lost = sum(((part - each) ** 2).sum(axis=1) for part, each in zip(parts, rounded, strict=True))
    whole = sum((part**2).sum(axis=1) for part in parts)
    return np.flatnonzero(~(lost <= LOST**2 * whole)).tolist()


def column_of(array: np.ndarray, lengths: np.ndarray | None = None) -> Any:
    """A column of numbers or texts, ``(N, ...)``.

    Args:
        array: the rows.
        lengths: ``(N,)``, where each row ends; None where all are as long.
    """
    if lengths is not None:
        items = arrow.string() if array.dtype.kind in "UO" else arrow.from_numpy_dtype(array.dtype)
        return arrow.array([row[:length] for row, length in zip(array, lengths, strict=True)], arrow.list_(items))
    if array.dtype.kind in "UO" or array.ndim == 1:
        return arrow.array(array.tolist() if array.ndim > 1 else array)
    numbers = array.astype("uint8") if array.dtype.kind == "b" else array
    return arrow.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(numbers))


def array_of(column: Any) -> np.ndarray:
    """The numbers or texts of a column, ``(N, ...)``; shorter lists are filled up with zeros or ``""``."""
    whole = column.combine_chunks()
    whole = whole.chunk(0) if isinstance(whole, arrow.ChunkedArray) else whole
    if isinstance(whole, arrow.FixedShapeTensorArray):
        tensor: np.ndarray = whole.to_numpy_ndarray()
        return tensor
    rows = whole.to_pylist() if not arrow.types.is_primitive(whole.type) else whole.to_numpy(zero_copy_only=False)
    if not any(isinstance(row, list) for row in rows):
        return np.asarray(rows)
    # Of texts without words there is one empty word.
    longest = max(1, *(len(row) for row in rows if row is not None))
    rows = [[None] * longest if row is None else row for row in rows]
    items = _items(whole.type)
    is_text = arrow.types.is_string(items) or arrow.types.is_large_string(items)
    filled = [[*row, *["" if is_text else 0] * (longest - len(row))] for row in rows]
    if is_text:
        return np.array(filled)
    # What is missing is NaN, which whole numbers do not have.
    is_missing = any(None in row for row in filled)
    try:
        return np.array(filled, "float64" if is_missing else items.to_pandas_dtype())
    except ValueError as error:
        raise ValueError(
            "The lists of a column hold lists of several lengths, which are no array. Fill them up before."
        ) from error


def lengths_of(column: Any) -> np.ndarray | None:
    """How many items each list of a column has, ``(N,)``; None where it has no lists."""
    if not (arrow.types.is_list(column.type) or arrow.types.is_large_list(column.type)):
        return None
    known = compute.list_value_length(column)
    lengths: np.ndarray = known.fill_null(compute.max(known).as_py() or 1).to_numpy()
    return lengths


def _items(lists: Any) -> Any:
    """The type of what is in lists, at any depth."""
    while hasattr(lists, "value_type"):
        lists = lists.value_type
    return lists


def joined(tables: list[Any]) -> Any:
    """Tables one after the other; the metadata of the first. A column of several types of numbers has the widest.

    Raises:
        ValueError: the rows of a column have several shapes.
    """
    first, *others = tables
    if all(each.schema == first.schema for each in others):
        return arrow.concat_tables(tables) if others else first
    columns = {name: _joined(name, [each.column(name) for each in tables]) for name in first.column_names}
    return arrow.table(columns).replace_schema_metadata(first.schema.metadata)


def _joined(name: str, columns: list[Any]) -> Any:
    if len({each.type for each in columns}) == 1:
        return arrow.chunked_array([chunk for each in columns for chunk in each.chunks])
    arrays = [array_of(each) for each in columns]
    shapes = list(dict.fromkeys(each.shape[1:] for each in arrays))
    if len(shapes) > 1:
        raise ValueError(
            f"The rows have {name!r} of several shapes: {', '.join(map(str, shapes))}. Take rows of one shape, such as "
            "those of a part: for explanation in maps"
        )
    return column_of(np.concatenate(arrays))


def _names(start: str, structure: Any) -> list[str]:
    return [f"{start}.{name}" if name else start for name in names(structure)]


def _size(form: Any) -> int:
    if form is None:
        return 1
    items = form[1].values() if isinstance(form[1], Mapping) else form[1]
    return sum(map(_size, items))


def _lengths(words: np.ndarray | None) -> np.ndarray | None:
    """Where each text ends, from its words filled up with ``""``."""
    if words is None:
        return None
    there = words != ""
    return np.where(there.any(axis=1), words.shape[1] - np.argmax(there[:, ::-1], axis=1), 0)
