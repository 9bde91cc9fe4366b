"""The user's inputs, checked before any computation."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.model.call import declared_inputs

LARGEST_WHOLE = 2**24


@dataclass(frozen=True)
class Inputs:
    """A checked batch.

    Attributes:
        given: NumPy arrays as the user passed them, in the structure of the model's inputs, batch first.
        samples: how many samples the batch holds.
    """

    given: Any
    samples: int

    @property
    def specs(self) -> Any:
        """The argument of a compiled function for such batches: float32 of any batch size."""
        return tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:]), tf.float32), self.given)

    @property
    def key(self) -> Any:
        """Equal for batches that share one compiled function; a dict and a list of the same parts differ."""
        kinds = tuple(part.dtype.kind for part in tf.nest.flatten(self.given))
        return repr(tf.nest.map_structure(lambda part: 0, self.given)), kinds, tuple(tf.nest.flatten(self.specs))

    def rows(self, start: int, stop: int) -> Any:
        """Samples ``start`` to ``stop``, as float32 tensors."""
        return tf.nest.map_structure(
            lambda part: tf.convert_to_tensor(part[start:stop].astype("float32", copy=False)),
            self.given,
        )


def check_inputs(model: keras.Model, inputs: Any) -> Inputs:
    """Converts ``inputs`` to arrays, and raises if the model cannot take them.

    Raises:
        ValueError: wrong structure, shape or data type, no batch axis, no sample, NaN or infinity.
    """
    given = tf.nest.map_structure(_as_array, inputs)
    parts = tf.nest.flatten(given)
    for part in parts:
        if part.ndim == 0:
            raise ValueError(
                f"Each input is an array with the batch first. Received: the number {part}. "
                "A nested list of numbers must become an array: numpy.asarray(inputs)."
            )
    _check_against_model(model, given, parts)
    sizes = {len(part) for part in parts}
    if len(sizes) != 1:
        raise ValueError(f"All inputs need the same number of samples. Received: {[len(part) for part in parts]}")
    if sizes == {0}:
        raise ValueError("The batch is empty: there is nothing to explain. Received: " + _shapes(parts))
    for part in parts:
        if part.dtype.kind in "iu" and np.abs(_extremes(part)).max() > LARGEST_WHOLE:
            raise ValueError(
                f"Inputs are computed in float32, which holds whole numbers exactly up to {LARGEST_WHOLE:,}. Received: "
                f"integers from {part.min():,} to {part.max():,}. Pass smaller numbers, such as ids counted from 0, or "
                "floats if their last digits do not matter."
            )
        if part.dtype.kind == "f" and not np.isfinite(_extremes(part)).all():
            rows = np.unique(np.argwhere(~np.isfinite(part) | (np.abs(part) > np.finfo("float32").max))[:, 0])
            raise ValueError(
                f"The inputs hold NaN or infinity in the samples {rows[:5].tolist()}"
                f"{' and more' if len(rows) > 5 else ''}. Replace these values first, e.g. with numpy.nan_to_num."
            )
    return Inputs(given, sizes.pop())


def _extremes(part: np.ndarray) -> np.ndarray:
    """Smallest and largest number as float32, including NaN and infinity, without a copy of the array."""
    with np.errstate(over="ignore"):
        return np.array([part.min(), part.max()]).astype("float32")


def _as_array(part: Any) -> np.ndarray:
    try:
        array = np.asarray(part)
    except (ValueError, TypeError) as error:
        raise ValueError(f"An input of type {type(part).__name__} is not an array: {error}") from error
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"Inputs are numbers. Received: {type(part).__name__} of dtype {array.dtype}. "
            "Anything else goes through the model's own preprocessing first."
        )
    return array


def _check_against_model(model: keras.Model, given: Any, parts: list[np.ndarray]) -> None:
    """Compares structure and shapes with the model's own, if it declares any (a subclassed model declares none)."""
    declared = declared_inputs(model)
    if declared is None:
        return
    if len(parts) == len(tf.nest.flatten(declared)) == 1:
        # Keras takes one array in place of a list of one array.
        declared, given = tf.nest.flatten(declared)[0], parts[0]
    try:
        tf.nest.assert_same_structure(declared, given, check_types=False)
    except (ValueError, TypeError) as error:
        wanted = tf.nest.map_structure(lambda tensor: tuple(tensor.shape), declared)
        raise ValueError(
            f"The model takes {wanted}. Received: {tf.nest.map_structure(lambda part: part.shape, given)}. "
            "Pass the inputs in the model's own structure."
        ) from error
    for tensor, part in zip(tf.nest.flatten(declared), parts, strict=True):
        if _fits(tensor.shape, part.shape):
            continue
        hint = ""
        if _fits(tensor.shape, (1, *part.shape)):
            hint = ". The batch axis is missing: pass x[None]"
        raise ValueError(
            f"The model takes shape {tuple(tensor.shape)} for input {tensor.name!r}, batch first. "
            f"Received: shape {part.shape}{hint}"
        )


def _fits(declared: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    # If a call built the model, the batch axis holds the size of that call's batch.
    return len(declared) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(declared[1:], shape[1:], strict=True)
    )


def _shapes(parts: list[np.ndarray]) -> str:
    return ", ".join(str(part.shape) for part in parts)
