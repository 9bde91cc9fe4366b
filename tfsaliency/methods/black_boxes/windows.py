"""Lengths of windows, as options give them: for each input and each of its axes."""

from numbers import Integral
from typing import Any

import tensorflow as tf

from tfsaliency.tensors.places import spatial_shape

# This many windows of the default length fit side by side along an axis.
ACROSS = 8


def usual_lengths(part: tf.Tensor) -> list[int]:
    """An eighth of each axis of space or time of one input, at least 1; for a table 1, as its columns have no order."""
    return [1] if part.shape.rank == 2 else [-(-extent // ACROSS) for extent in spatial_shape(part)]


def lengths_of(name: str, option: Any, x: Any, defaults: list[list[int]]) -> list[list[int]]:
    """The lengths along each axis of each part of the inputs.

    Args:
        name: of the option, for errors.
        option: one length for all, a tuple of one per axis, a list or dict of these for several inputs, or None.
        x: the inputs.
        defaults: the lengths of each part where the option does not say them.

    Raises:
        ValueError: the option does not fit the inputs.
    """
    return [
        _per_axis(name, of_part, default) for of_part, default in zip(_per_part(name, option, x), defaults, strict=True)
    ]


def _per_part(name: str, option: Any, x: Any) -> list[Any]:
    parts = tf.nest.flatten(x)
    if not isinstance(option, list | dict):
        return [option] * len(parts)
    values, inputs = _in_order(option), _in_order(x) if isinstance(x, dict | list) else parts
    fits = sorted(option) == sorted(x) if isinstance(option, dict) and isinstance(x, dict) else isinstance(option, list)
    if not fits or len(values) != len(inputs):
        raise ValueError(f"{name} has one entry for each input. Received: {option!r} for {len(inputs)} inputs")
    # Several tensors may stand for one input.
    pairs = zip(values, inputs, strict=True)
    return [value for value, of_input in pairs for _ in tf.nest.flatten(of_input)]


def _in_order(entries: Any) -> list[Any]:
    """The entries of a list, or of a dict in the order in which its structure is flattened."""
    return [entries[key] for key in sorted(entries)] if isinstance(entries, dict) else list(entries)


def _per_axis(name: str, option: Any, default: list[int]) -> list[int]:
    if option is None:
        return default
    values = list(option) if isinstance(option, tuple) else [option] * len(default)
    are_whole = all(isinstance(each, Integral) and not isinstance(each, bool) for each in values)
    if len(values) != len(default) or not are_whole:
        raise ValueError(
            f"{name} is a whole number, or a tuple of one for each of the {len(default)} axes. Received: {option!r}"
        )
    return list(map(int, values))
