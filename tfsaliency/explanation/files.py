"""The files of explanations: one ``.npz`` each, without pickle, whole or not at all."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from tfsaliency.base import archive
from tfsaliency.base.files import appearing_whole
from tfsaliency.base.meaning import Meaning
from tfsaliency.base.structure import flatten, map_parts, optional_parts, skeleton, unflatten

FORMAT = 4
# Files of the first format do not contain the meaning of their values, those of the first two have no checksums, and
# those of the first three no words of texts.
READ = (1, 2, 3, 4)
CHECKED = 3
# Kinds of dtype: truth, integers, floats.
NUMBERS = "biuf"


def write(explanation: Any, path: str | os.PathLike[str]) -> None:
    """Writes an `Explanation`; see there."""
    path = _npz(path)
    record = {
        "format": FORMAT,
        "kind": type(explanation).__name__,
        "values": skeleton(explanation.values),
        "inputs": skeleton(explanation.inputs),
        "method": explanation.method,
        "meaning": explanation.meaning,
        "explained": explanation.explained,
        "provenance": dict(explanation.provenance),
    }
    arrays = {"scores": explanation.scores}
    if explanation.target is not None:
        arrays["target"] = explanation.target
    for name in ("values", "inputs"):
        arrays |= {f"{name}/{place}": part for place, part in enumerate(flatten(getattr(explanation, name)))}
    for name, words in (("tokens", explanation.tokens), ("columns", explanation.feature_names)):
        parts = optional_parts(words, explanation.inputs)
        arrays |= {f"{name}/{place}": part for place, part in enumerate(parts) if part is not None}
    arrays |= {f"diagnostics/{name}": array for name, array in explanation.diagnostics.items()}
    _check_arrays(arrays)
    with appearing_whole(path) as unfinished, open(unfinished, "wb") as file:
        archive.write(file, record, arrays)


def read(path: str | os.PathLike[str], kinds: Mapping[str, type[Any]]) -> Any:
    """Reads an `Explanation`; see there.

    Args:
        path: ends in ``.npz``.
        kinds: the classes that a file may hold, by their names.
    """
    with archive.opened(_npz(path), "an explanation") as stored:
        return _read(stored, kinds)


def _read(stored: archive.Archive, kinds: Mapping[str, type[Any]]) -> Any:
    """The explanation in an open file; any error if there is none."""
    record = stored.record
    if record.get("format") not in READ:
        raise ValueError(f"it has format {record.get('format')!r}, and the formats {READ} are read")
    checked = record["format"] >= CHECKED
    if checked:
        stored.check_record()
    kind = kinds.get(_entry(record, "kind", str))
    if kind is None:
        raise ValueError(f"it is of the kind {record['kind']!r}, and the kinds {tuple(kinds)} are read")
    # All that can be known from the headers is checked before an array is read.
    names = stored.headers
    structures = {
        name: unflatten(record.get(name), [f"{name}/{i}" for i in range(_count(names, name))])
        for name in ("values", "inputs")
    }
    diagnostics = [name for name in names if name.startswith("diagnostics/")]
    targets = [name for name in ("target",) if name in names]
    parts = range(_count(names, "inputs"))
    words, columns = (
        [name for name in (f"{kind}/{place}" for place in parts) if name in names] for kind in ("tokens", "columns")
    )
    used = [
        "scores",
        *targets,
        *words,
        *columns,
        *diagnostics,
        *flatten(structures["values"]),
        *flatten(structures["inputs"]),
    ]
    for name in used:
        if name not in names:
            raise ValueError(f"the array {name!r} is missing")
    _check_arrays({name: names[name] for name in used})
    arrays = {name: stored.array(name, checked=checked) for name in used}
    values, inputs = (map_parts(arrays.__getitem__, structures[name]) for name in ("values", "inputs"))
    return kind(
        values=values,
        inputs=inputs,
        target=arrays.get("target"),
        scores=arrays["scores"],
        method=_entry(record, "method", str),
        meaning=_meaning_of_format_1(record["kind"], values)
        if record["format"] == 1
        else _entry(record, "meaning", str | dict | list),
        diagnostics={name.removeprefix("diagnostics/"): arrays[name] for name in diagnostics},
        explained=_entry(record, "explained", str),
        provenance=_entry(record, "provenance", dict),
        tokens=unflatten(record["inputs"], [arrays.get(f"tokens/{place}") for place in parts]) if words else None,
        feature_names=unflatten(record["inputs"], [arrays.get(f"columns/{place}") for place in parts])
        if columns
        else None,
    )


def _entry(record: dict[str, Any], name: str, kind: type | UnionType) -> Any:
    """An entry of a record, of this type."""
    if not isinstance(record.get(name), kind):
        raise ValueError(f"the entry {name!r} of its record is of type {type(record.get(name)).__name__}")
    return record[name]


def _check_arrays(arrays: Mapping[str, Any]) -> None:
    """Raises ValueError unless there is one row of each array for each score, and numbers but for the inputs.

    Args:
        arrays: name in the file -> array, or anything else with ``shape`` and ``dtype``.
    """
    scores = arrays["scores"].shape
    if len(scores) not in (1, 2):
        raise ValueError(f"Scores have the shape (N,). Received: {scores}. For several targets: (N, K)")
    for name, array in arrays.items():
        if name.startswith("columns/"):
            continue
        # Inputs have no axis for targets.
        axes = 1 if name.startswith(("inputs/", "tokens/")) else len(scores)
        shape = array.shape[:axes] if name.startswith(("values/", "inputs/", "tokens/")) else array.shape
        if shape != scores[:axes]:
            number = scores[0] if len(scores) == 1 else scores
            raise ValueError(f"There are {number} scores, and the array {name!r} has the shape {array.shape}")
        if array.dtype.kind not in NUMBERS and not name.startswith(("inputs/", "tokens/")):
            raise ValueError(f"The array {name!r} holds numbers. Received: {array.dtype}")


def _meaning_of_format_1(kind: str, values: Any) -> Meaning:
    """The meaning of values in a file of the first format: signed if any number is negative."""
    if kind == "Visualization":
        return "painting"
    return "signed" if any((part < 0).any() for part in flatten(values)) else "magnitude"


def _count(names: Iterable[str], start: str) -> int:
    return sum(name.startswith(f"{start}/") for name in names)


def _npz(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"An explanation is kept in a file that ends in .npz. Received: {path}")
    return path
