"""Inputs with several parts: lists, tuples and dicts of arrays, also inside each other.

`tf.nest` does this inside the graph. An explanation is read and saved without TensorFlow, so it has its own
functions.
"""

import reprlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np


def flatten(structure: Any) -> list[Any]:
    """The parts, dicts in the order of their sorted keys, as `tf.nest.flatten` has them."""
    if isinstance(structure, dict):
        return [part for key in sorted(structure) for part in flatten(structure[key])]
    if isinstance(structure, list | tuple):
        return [part for item in structure for part in flatten(item)]
    return [structure]


def optional_parts(structure: Any, like: Any) -> list[Any]:
    """The parts of a structure that may be missing: then None for each part of another one."""
    return [None] * len(flatten(like)) if structure is None else flatten(structure)


def check_has_inputs(parts: Sequence[np.ndarray], advice: str) -> None:
    """Raises where inputs were left out of a file, and have NaN in their place.

    Args:
        parts: of the inputs of an explanation.
        advice: what to pass.
    """
    if any(part.dtype.kind == "f" and part.size and np.isnan(part).all() for part in parts):
        raise ValueError(
            "The inputs are not in this explanation, as explain_dataset(keep_inputs=False) leaves them out. Pass "
            f"{advice}."
        )


def names(structure: Any) -> list[str]:
    """The place of each part in words, in the order of `flatten`: ``"user/age"``; empty for a single part."""
    if isinstance(structure, dict):
        items = [(str(key), structure[key]) for key in sorted(structure)]
    elif isinstance(structure, list | tuple):
        items = [(str(place), item) for place, item in enumerate(structure)]
    else:
        return [""]
    return [f"{name}/{inner}" if inner else name for name, item in items for inner in names(item)]


def part_names(structure: Any) -> list[str]:
    """The same for messages and records, where a single part has a name too."""
    return [name or "the input" for name in names(structure)]


def map_parts(function: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """Applies a function to the parts of structures of one shape."""
    results = [function(*parts) for parts in zip(*map(flatten, (structure, *others)), strict=True)]
    return unflatten(skeleton(structure), results)


def skeleton(structure: Any) -> Any:
    """The structure as JSON holds it: None for a part, else ``[kind, items]`` of kind dict, list or tuple."""
    if isinstance(structure, dict):
        return ["dict", {key: skeleton(structure[key]) for key in sorted(structure)}]
    if isinstance(structure, list | tuple):
        return [
            "list" if isinstance(structure, list) else "tuple",
            [skeleton(item) for item in structure],
        ]
    return None


def unflatten(form: Any, parts: list[Any]) -> Any:
    """The structure of a skeleton with these parts.

    Raises:
        ValueError: there are more or fewer parts than the skeleton has places, or it is no skeleton.
    """
    remaining = iter(parts)
    try:
        structure = _fill(form, remaining)
    except StopIteration:
        raise ValueError(f"{len(parts)} parts are too few for the structure {reprlib.repr(form)}") from None
    if next(remaining, None) is not None:
        raise ValueError(f"{len(parts)} parts are too many for the structure {reprlib.repr(form)}")
    return structure


def _fill(form: Any, parts: Iterator[Any]) -> Any:
    match form:
        case None:
            return next(parts)
        case ["dict", dict(items)]:
            return {key: _fill(item, parts) for key, item in items.items()}
        case ["list", list(items)]:
            return [_fill(item, parts) for item in items]
        case ["tuple", list(items)]:
            return tuple([_fill(item, parts) for item in items])
    raise ValueError(f"A structure is None, or a kind (dict, list, tuple) and items. Received: {reprlib.repr(form)}")
