"""What an input is compared with: the baselines of the methods that explain a difference."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Baselines(NamedTuple):
    """What a user means by a baseline.

    Attributes:
        number: how many there are.
        at: gives the one at an int or scalar tensor, in the structure of the inputs and of their shape, ``(N, ...)``.
    """

    number: int
    at: Callable[[Any], Any]


def baselines(baseline: Any, x: Any) -> Baselines:
    """Reads a baseline.

    Args:
        baseline: a number for all inputs; or, alone or in the structure of the inputs, arrays: of the shape of one
            input (an axis may be 1), or with one axis more in front, for several baselines; or a function of the
            inputs ``(N, ...)`` that returns one baseline per sample.
        x: tensors in the structure of the model's inputs, ``(N, ...)``.

    Raises:
        ValueError: structure, shape or type do not fit, or a baseline is not finite.
    """
    if callable(baseline):
        return Baselines(1, lambda i: tf.nest.map_structure(_as_given, baseline(x), x))
    if np.ndim(baseline) == 0 and not isinstance(baseline, dict):
        baseline = tf.nest.map_structure(lambda part: baseline, x)
    try:
        given = tf.nest.map_structure(np.asarray, _in_structure(baseline, x))
        tf.nest.assert_same_structure(given, x)
    except (ValueError, TypeError) as error:
        shapes = tf.nest.map_structure(lambda part: tuple(part.shape[1:]), x)
        raise ValueError(f"The baseline has the structure of one input, {shapes}. Received: {baseline!r}") from error
    rows = tf.nest.map_structure(_rows, given, x)
    counts = {part.shape[0] for part in tf.nest.flatten(rows)} - {1}
    if len(counts) > 1:
        raise ValueError(f"Each part of the inputs needs the same number of baselines. Received: {sorted(counts)}")
    return Baselines(
        max(counts, default=1),
        lambda i: tf.nest.map_structure(lambda part, of: _spread(part, i, of), rows, x),
    )


def _in_structure(baseline: Any, x: Any) -> Any:
    """A single array may be given for inputs that are one array in a list."""
    parts = tf.nest.flatten(x)
    alone = len(parts) == 1 and not isinstance(baseline, dict | tuple)
    return tf.nest.pack_sequence_as(x, [np.asarray(baseline)]) if alone and not tf.is_tensor(x) else baseline


def _rows(part: np.ndarray, of: tf.Tensor) -> np.ndarray:
    """The baselines of one part of the inputs, ``(K, ...)``."""
    shape = tuple(of.shape[1:])
    if part.dtype.kind not in "fiu" or not np.isfinite(part).all():
        raise ValueError(f"A baseline is made of finite numbers. Received: {part!r}")
    rows = part[None] if part.ndim <= len(shape) else part
    fits = part.ndim == 0 or rows.ndim == len(shape) + 1
    if not fits or len(rows) == 0 or any(a not in (1, b) for a, b in zip(rows.shape[1:], shape, strict=False) if b):
        raise ValueError(
            f"A baseline for inputs of shape {shape} is a number, an array of that shape (axes may be 1), or several "
            f"of them, {(' K', *shape)}. Received: shape {part.shape}"
        )
    return rows.reshape(len(rows), *(rows.shape[1:] or [1] * len(shape)))


def _spread(rows: np.ndarray, i: Any, of: tf.Tensor) -> tf.Tensor:
    """Row ``i`` for every sample; one row serves every ``i``."""
    return tf.constant(rows, of.dtype)[i if len(rows) > 1 else 0] + tf.zeros_like(of)


def _as_given(part: Any, of: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(part), of.dtype) + tf.zeros_like(of)
