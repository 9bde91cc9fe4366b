"""The user's inputs, checked before any computation."""

import numbers
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.base.structure import names
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
    def as_numbers(self) -> Any:
        """Specs of such batches, of any batch size, with every number as float32."""
        return tf.nest.map_structure(
            lambda part: _spec(part, tf.float32 if _is_number(part) else tf.string), self.given
        )

    @property
    def as_passed(self) -> Any:
        """Specs of such batches, of any batch size, with integers as integers."""
        return tf.nest.map_structure(
            lambda part, spec: spec if part.dtype.kind in "fU" else _spec(part, tf.as_dtype(part.dtype)),
            self.given,
            self.as_numbers,
        )

    @property
    def key(self) -> Any:
        """Equal for batches that share one compiled function; a dict and a list of the same parts differ."""
        return repr(tf.nest.map_structure(lambda part: 0, self.given)), tuple(tf.nest.flatten(self.as_passed))

    def rows(self, start: int, stop: int, specs: Any) -> Any:
        """Samples ``start`` to ``stop``, as tensors of these types."""
        return tf.nest.map_structure(lambda part, spec: _tensor(part[start:stop], spec.dtype), self.given, specs)


def check_inputs(model: keras.Model, inputs: Any) -> Inputs:
    """Converts ``inputs`` to arrays, and raises if the model cannot take them.

    Raises:
        ValueError: wrong structure, shape or data type, no batch axis, no sample, NaN or infinity.
    """
    declared = declared_inputs(model)
    given = _as_declared(declared, tf.nest.map_structure(_as_array, inputs))
    parts = tf.nest.flatten(given)
    for part in parts:
        if part.ndim == 0:
            alone, several = ("number", "numbers") if _is_number(part) else ("text", "texts")
            raise ValueError(
                f"Each input is an array with the batch first. Received: the {alone} {part}. A {alone} alone "
                f"is a batch of one, numpy.array([{alone}]). A nested list of {several} must become an array: "
                "numpy.asarray(inputs)."
            )
    _check_against_model(model, declared, given, parts)
    sizes = {len(part) for part in parts}
    if len(sizes) != 1:
        raise ValueError(
            f"All inputs need the same number of samples. Received: {[len(part) for part in parts]}. If their numbers "
            "differ by design, as of the nodes and edges of a graph, all of them are one sample: pass nodes[None] and "
            "edges[None] to lambda nodes, edges: tf.map_fn(lambda graph: model(graph)[0], (nodes, edges), "
            "fn_output_signature=tf.float32)."
        )
    if sizes == {0}:
        raise ValueError("The batch is empty: there is nothing to explain. Received: " + _shapes(parts))
    for part in parts:
        if part.dtype.kind == "f" and part.size and not np.isfinite(_extremes(part)).all():
            rows = np.unique(np.argwhere(~np.isfinite(part) | (np.abs(part) > np.finfo("float32").max))[:, 0])
            which = f"in the samples {rows[:5].tolist()}{' and more' if len(rows) > 5 else ''}"
            if np.isfinite(part).all():
                raise ValueError(f"The inputs hold numbers beyond those of float32, 3.4e38, {which}. Scale them first.")
            raise ValueError(
                f"The inputs hold NaN or infinity {which}. Replace these values first, e.g. with numpy.nan_to_num."
            )
    return Inputs(given, sizes.pop())


def _is_number(part: np.ndarray) -> bool:
    return part.dtype.kind != "U"


def _spec(part: np.ndarray, dtype: tf.DType) -> tf.TensorSpec:
    return tf.TensorSpec((None, *part.shape[1:]), dtype)


def _tensor(part: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    return tf.convert_to_tensor(part.astype(dtype.as_numpy_dtype, copy=False) if _is_number(part) else part, dtype)


def check_whole(inputs: Inputs, specs: Any) -> None:
    """Raises where integers that are computed as float32 would lose their last digits."""
    for part, spec in zip(tf.nest.flatten(inputs.given), tf.nest.flatten(specs), strict=True):
        is_whole = part.dtype.kind in "iu" and spec.dtype == tf.float32
        if is_whole and part.size and max(-int(part.min()), int(part.max())) > LARGEST_WHOLE:
            raise ValueError(
                f"Inputs are computed in float32, which holds whole numbers exactly up to {LARGEST_WHOLE:,}. Received: "
                f"integers from {part.min():,} to {part.max():,}. Pass smaller numbers, such as ids counted from 0, or "
                "floats if their last digits do not matter."
            )


def _extremes(part: np.ndarray) -> np.ndarray:
    """Smallest and largest number as float32, including NaN and infinity, without a copy of the array."""
    with np.errstate(over="ignore"):
        return np.array([part.min(), part.max()]).astype("float32")


# What is no array, and what to do about it.
_NO_ARRAYS = {
    tf.RaggedTensor: (
        "Explain rows of one length, such as ragged[:1].to_tensor(). Rows of several lengths can be filled up, "
        "ragged.to_tensor(), if the model masks what fills them up"
    ),
    tf.SparseTensor: "Make it dense: tf.sparse.to_dense(sparse)",
    tf.data.Dataset: "Explain a batch, next(iter(dataset))[0] where labels follow, or all of it with explain_dataset",
    keras.utils.PyDataset: "Explain a batch, dataset[0][0] where labels follow, or all of it with explain_dataset",
    Iterator: "Explain a batch, next(iterator)[0] where labels follow, or all of it with explain_dataset",
    type(None): (
        "Explain a function that puts None in where the model takes it: lambda x: model({'x': x, 'other': None})"
    ),
}


def _as_array(part: Any) -> np.ndarray:
    _check_is_array(part)
    try:
        array = np.asarray(part)
    except (ValueError, TypeError) as error:
        raise ValueError(f"An input of type {type(part).__name__} is not an array: {error}") from error
    if array.dtype.kind in "SOT":
        array = as_texts(array)
    if array.dtype.kind == "O" and all(isinstance(each, numbers.Number | np.bool_) for each in array.flat):
        # Such are the tables of pandas with columns of several types.
        array = np.array(array.tolist())
    if array.dtype.name == "bfloat16":
        # NumPy itself has no such numbers; each of them is a float32.
        array = array.astype("float32")
    if array.dtype.kind not in "fiubU":
        raise ValueError(
            f"Inputs are numbers, or texts. Received: {type(part).__name__} of dtype {array.dtype}{_stranger(array)}. "
            + (
                "A table goes in column by column, dict(frame), where the model names its inputs as the table its "
                "columns."
                if hasattr(part, "columns")
                else "Anything else goes through the model's own preprocessing first."
            )
        )
    return array


def _stranger(array: np.ndarray) -> str:
    """The first of several objects that is neither a number nor a text, in words."""
    strange = (each for each in array.flat if not isinstance(each, str | bytes | numbers.Number | np.bool_))
    found = next(strange, array) if array.dtype.kind == "O" and array.size > 1 else array
    return "" if found is array else f", with {str(found)[:40]} of type {type(found).__name__} among its objects"


def _check_is_array(part: Any) -> None:
    """Raises where numbers come in a form that does not say what becomes of them in an array."""
    for kind, advice in _NO_ARRAYS.items():
        if isinstance(part, kind):
            raise ValueError(f"Each input is an array. Received: {type(part).__name__}. {advice}.")
    if hasattr(part, "toarray"):
        raise ValueError(f"Each input is an array. Received: {type(part).__name__}. Make it dense: x.toarray().")
    if np.ma.is_masked(part):
        raise ValueError(
            "Each input is an array of which all entries count. Received: a masked array. Fill it, x.filled(0), and "
            "let the model mask what fills it up, or explain the rows without masked entries."
        )


def as_texts(array: Any) -> Any:
    """An array of texts, or of bytes of texts, as an array of texts; anything else as it is.

    Raises:
        ValueError: bytes are no text.
    """
    if array is None:
        return None
    try:
        flat = [each.decode() if isinstance(each, bytes) else each for each in array.reshape(-1)]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Texts are in UTF-8. Received: bytes that begin with {error.object[:8]!r}. Decode texts of another "
            "encoding with bytes.decode(encoding). Of a picture in a file, or of other bytes, pass what the model "
            "makes of them to the model behind that, and explain that model."
        ) from None
    return np.array(flat, str).reshape(array.shape) if all(isinstance(each, str) for each in flat) else array


def _as_declared(declared: Any, given: Any) -> Any:
    """Inputs as a model declares them, where Keras takes others too: ``(N,)`` for ``(N, 1)``, or more columns."""
    if isinstance(given, dict) and declared is not None:
        # Keras finds the parts of a list by the names of its inputs.
        own = set(declared) if isinstance(declared, dict) else {each.name for each in tf.nest.flatten(declared)}
        missing, unknown, known = (sorted(each, key=str) for each in (own - given.keys(), given.keys() - own, own))
        if missing:
            raise ValueError(
                f"The model takes the inputs {known}. Received: {sorted(given, key=str)}, without {missing}. Pass an "
                "array for each of these names."
            )
        if unknown:
            warnings.warn(
                f"The model has no input {unknown}, and nothing is explained of it. Its inputs: {known}",
                stacklevel=5,
            )
            given = {name: given[name] for name in own}
    parts, wanted = tf.nest.flatten(given), tf.nest.flatten(declared)
    if declared is None or len(parts) != len(wanted):
        return given
    widened = [
        part[:, None] if part.ndim == 1 and len(tensor.shape) == 2 and tensor.shape[1] == 1 else part
        for part, tensor in zip(parts, wanted, strict=True)
    ]
    return tf.nest.pack_sequence_as(given, widened)


def _check_against_model(model: keras.Model, declared: Any, given: Any, parts: list[np.ndarray]) -> None:
    """Compares structure and shapes with the model's own, if it declares any (a subclassed model declares none)."""
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
            "Pass the inputs in the model's own structure"
            + (
                ", which its preprocessor makes of texts or pictures: model.preprocessor(inputs)."
                if getattr(model, "preprocessor", None) is not None
                else "."
            )
        ) from error
    if isinstance(declared, dict) and names(given) != names(declared):
        raise ValueError(
            f"The model takes the inputs {names(declared)}. Received: {names(given)}. Pass an array for each of these "
            "names."
        )
    for tensor, part in zip(tf.nest.flatten(declared), parts, strict=True):
        _check_part(tensor, part)


def _check_part(tensor: Any, part: np.ndarray) -> None:
    """Compares the type and the shape of one input with what the model declares."""
    takes_texts = tf.as_dtype(tensor.dtype) == tf.string
    if takes_texts is _is_number(part):
        raise ValueError(
            f"The model takes {'texts' if takes_texts else 'numbers'} for input {tensor.name!r}. Received: dtype "
            f"{part.dtype}"
        )
    if not _fits(tensor.shape, part.shape):
        is_alone = _fits(tensor.shape, (1, *part.shape))
        hint = ". The batch axis is missing: pass numpy.expand_dims(x, 0)" if is_alone else ""
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
