"""Pure functions ``(values, inputs) -> values``, for an explainer with ``.then`` and for a result with ``.map``.

Each works sample by sample on one part of the inputs, ``(N, ...)``, keeps the batch axis, and takes tensors and NumPy
arrays. The meaning of the values stays the same, unless the transform has an attribute ``meaning`` with the new
meaning: ``absolute.meaning`` is ``"magnitude"``. See `Explanation` for the meanings.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import tensorflow as tf

from tfsaliency.base.meaning import Meaning

__all__ = [
    "absolute",
    "clip_percentile",
    "max_channels",
    "negative",
    "normalize",
    "onto_letters",
    "positive",
    "sign",
    "square",
    "sum_channels",
    "times_input",
]

Transform = Callable[[Any, Any], Any]


def _means(meaning: Meaning) -> Callable[[Transform], Transform]:
    """Declares the meaning of values after a transform."""

    def declare(transform: Transform) -> Transform:
        transform.meaning = meaning  # type: ignore[attr-defined]
        return transform

    return declare


@_means("signed")
def onto_letters(values: Any, inputs: Any) -> tf.Tensor:
    """For sequences of letters: the sum of the values of a place, on the letter that is there.

    Against a baseline of other letters, their absence contributes too. The sum of each place stays; where no letter is
    known it is lost.

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.onto_letters(np.array([[[2.0, -0.5, 0.5]]]), np.array([[[1.0, 0.0, 0.0]]])).numpy()
        array([[[2., 0., 0.]]])
    """
    return tf.reduce_sum(values, axis=-1, keepdims=True) * tf.cast(inputs, values.dtype)


@_means("magnitude")
def absolute(values: Any, inputs: Any) -> tf.Tensor:
    """``|v|``: the strength without the sign.

    On photographs dark edges and bright edges count equally (Smilkov et al. 2017, section 3.2).

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.absolute(np.array([[-2.0, 0.0, 3.0]]), None).numpy()
        array([[2., 0., 3.]])
    """
    return tf.abs(values)


@_means("magnitude")
def positive(values: Any, inputs: Any) -> tf.Tensor:
    """``max(v, 0)``: the evidence for the target.

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.positive(np.array([[-2.0, 0.0, 3.0]]), None).numpy()
        array([[0., 0., 3.]])
    """
    return tf.nn.relu(values)


@_means("signed")
def negative(values: Any, inputs: Any) -> tf.Tensor:
    """``min(v, 0)``: the evidence against the target.

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.negative(np.array([[-2.0, -1.0, 3.0]]), None).numpy()
        array([[-2., -1., -0.]])
    """
    return -tf.nn.relu(tf.negative(values))


@_means("signed")
def sign(values: Any, inputs: Any) -> tf.Tensor:
    """``sign v``: -1, 0 or 1.

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.sign(np.array([[-2.0, 0.0, 3.0]]), None).numpy()
        array([[-1.,  0.,  1.]])
    """
    return tf.sign(values)


@_means("magnitude")
def square(values: Any, inputs: Any) -> tf.Tensor:
    """``v * v``: for means of squares, as in `SmoothGradSquared`.

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.square(np.array([[-2.0, 0.0, 3.0]]), None).numpy()
        array([[4., 0., 9.]])
    """
    return tf.square(values)


@_means("signed")
def times_input(values: Any, inputs: Any) -> tf.Tensor:
    """``v * x``: the contribution of each input, for a model that is linear around it.

    If the input is zero, the product is zero, whatever the network does: with inputs in [0, 1], dark pixels vanish.

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.times_input(np.array([[-2.0, 0.0, 3.0]]), np.array([[5.0, 6.0, 0.0]])).numpy()
        array([[-10.,   0.,   0.]])
    """
    return values * tf.cast(inputs, values.dtype)


def sum_channels(values: Any, inputs: Any) -> tf.Tensor:
    """The sum over the last axis, which keeps length 1: signed evidence per pixel.

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.sum_channels(np.array([[-2.0, 0.0, 3.0]]), None).numpy()
        array([[1.]])
    """
    return tf.reduce_sum(values, axis=-1, keepdims=True)


@_means("magnitude")
def max_channels(values: Any, inputs: Any) -> tf.Tensor:
    """``max_c |v_c|`` over the last axis, which keeps length 1.

    Source:
        Simonyan, Vedaldi & Zisserman 2014, Deep Inside Convolutional Networks, section 3.1.

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.max_channels(np.array([[-2.0, 0.0, 3.0]]), None).numpy()
        array([[3.]])
    """
    return tf.reduce_max(tf.abs(values), axis=-1, keepdims=True)


def normalize(values: Any, inputs: Any) -> tf.Tensor:
    """Divides each sample by its largest ``|v|``, into [-1, 1]; zero stays zero, and so does a sample of zeros.

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.normalize(np.array([[-2.0, 0.0, 4.0]]), None).numpy()
        array([[-0.5,  0. ,  1. ]])
    """
    return tf.math.divide_no_nan(values, tf.reduce_max(tf.abs(values), axis=_inner_axes(values), keepdims=True))


@dataclass(frozen=True)
class _ClipPercentile:
    percentile: float

    def __call__(self, values: Any, inputs: Any) -> tf.Tensor:
        flat = tf.sort(tf.reshape(tf.abs(values), [tf.shape(values)[0], -1]), axis=-1)
        place = tf.cast(tf.shape(flat)[1] - 1, tf.float64) * self.percentile / 100
        below = tf.cast(tf.floor(place), tf.int32)
        above = tf.cast(tf.math.ceil(place), tf.int32)
        low, high = tf.gather(flat, below, axis=1), tf.gather(flat, above, axis=1)
        limit = low + (high - low) * tf.cast(place - tf.floor(place), flat.dtype)
        limit = tf.reshape(limit, [-1] + [1] * len(_inner_axes(values)))
        return tf.clip_by_value(values, -limit, limit)

    def __repr__(self) -> str:
        return f"clip_percentile({self.percentile:g})"


def clip_percentile(percentile: float = 99.0) -> Transform:
    """Clips each sample to its own percentile of ``|v|``, so that a few outliers do not darken the rest.

    Percentiles are interpolated linearly, as `numpy.percentile` does.

    Args:
        percentile: in (0, 100].

    Source:
        Smilkov et al. 2017, SmoothGrad, section 3.2, "Capping outlying values".

    Example:
        >>> import numpy as np
        >>> from tfsaliency import transforms
        >>> transforms.clip_percentile(50)(np.array([[-9.0, 1.0, 2.0]]), None).numpy()
        array([[-2.,  1.,  2.]])
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile is above 0 and at most 100. Received: {percentile}")
    return _ClipPercentile(float(percentile))


def name_of(transform: Transform) -> str:
    """The name of a transform in the text of a method."""
    return getattr(transform, "__name__", None) or repr(transform)


def meaning_after(transform: Transform, before: Meaning) -> Meaning:
    """The meaning of values after a transform."""
    return getattr(transform, "meaning", before)


def transformed(transform: Transform, values: Any, inputs: Any) -> Any:
    """What a transform makes of the values of one part of the inputs.

    Raises:
        ValueError: it returns something else than a row for each sample.
    """
    found = transform(values, inputs)
    shape = tf.TensorShape(found.shape if hasattr(found, "shape") else np.shape(found))
    if not shape[:1].is_compatible_with(tf.TensorShape(values.shape)[:1]):
        received = "None" if found is None else f"shape {shape}"
        raise ValueError(
            f"A transform (values, inputs) -> values returns a row for each sample. {name_of(transform)} was given "
            f"values of shape {tf.TensorShape(values.shape)}. Received: {received}"
        )
    return found


def check_transform(transform: Transform) -> None:
    """Raises if a transform still needs its options, or is not a function of two arguments."""
    if transform is cast(object, clip_percentile):
        raise TypeError("clip_percentile takes its percentile first: .then(clip_percentile(99))")
    if not callable(transform):
        raise TypeError(f"A transform is a function (values, inputs) -> values. Received: {transform!r}")
    try:
        taken = inspect.signature(transform)
    except ValueError:
        # Some functions that are written in C do not say what they take.
        return
    try:
        taken.bind(None, None)
    except TypeError:
        raise TypeError(
            f"A transform takes two arguments: (values, inputs) -> values. Received: {name_of(transform)}, which takes "
            f"{taken}"
        ) from None


def _inner_axes(values: Any) -> list[int]:
    return list(range(1, len(values.shape)))
