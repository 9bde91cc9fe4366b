"""Targets of an explanation: a class, a margin, a region, one output of several, or any function of the logits.

``explain(inputs, target)`` takes ``None``, a class index, one index per sample, a function of the logits, or a result
of the functions of this module.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.model.keys import key_of
from tfsaliency.model.logits import PROBABILITY, Logits

__all__ = ["binary", "margin", "output", "region"]


class Target(ABC):
    """Turns logits into one score per row.

    A target chooses its classes once, on the original inputs, and keeps them for every noisy or shifted copy.
    """

    @property
    @abstractmethod
    def chooses(self) -> bool:
        """Whether the target chooses a class: the top class, or the class from ``given``."""

    @abstractmethod
    def units(self, logits: Logits) -> int | None:
        """The number of classes to choose from; None if no class is chosen."""

    @abstractmethod
    def score(self, logits: Logits, index: tf.Tensor) -> tf.Tensor:
        """``(N,)`` scores of the rows with the chosen classes ``index``, ``(N,)`` int32."""

    def cautions(self, logits: Logits) -> list[str]:
        """What a user is warned of before trusting a map of these logits, one sentence each."""
        return logits.cautions()

    def top(self, logits: Logits) -> tf.Tensor:
        """``(N,)`` int32: the class of the model's highest output, the first one if several are equal."""
        raise NotImplementedError(f"{type(self).__name__} chooses no class")

    def given(self, samples: int) -> np.ndarray | None:
        """``(N,)`` int32 classes that the user chose, None for the top class."""
        return None

    def count(self) -> int:
        """The number of samples with their own class; 1 if one target serves all."""
        return 1

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """A value that is equal for targets with the same traced graph."""


@dataclass(frozen=True)
class ClassTarget(Target):
    """The logit of a class: the top class, one class, or one class per sample."""

    index: int | tuple[int, ...] | None = None
    chooses = True

    def units(self, logits: Logits) -> int:
        values, binary = _class_logits(logits)
        return 2 if binary else values.shape[-1]

    def top(self, logits: Logits) -> tf.Tensor:
        values, binary = _class_logits(logits)
        if binary:
            half = 0.5 if _only(logits.links) == PROBABILITY else 0.0
            return tf.cast(values[:, 0] > half, tf.int32)
        outputs = _only(logits.outputs)
        return tf.argmax(outputs if outputs.shape.rank == 2 else outputs[:, None], axis=-1, output_type=tf.int32)

    def score(self, logits: Logits, index: tf.Tensor) -> tf.Tensor:
        values, binary = _class_logits(logits)
        if binary:
            # sigmoid(-z) = 1 - sigmoid(z): the logit of class 0 is the negative of the logit of class 1. Nor does the
            # map of 1 - p differ from that of -p.
            return values[:, 0] * tf.cast(2 * index - 1, values.dtype)
        return tf.gather(values, index, axis=1, batch_dims=1)

    def given(self, samples: int) -> np.ndarray | None:
        if self.index is None:
            return None
        if isinstance(self.index, tuple) and len(self.index) != samples:
            raise ValueError(
                f"target holds {len(self.index)} classes for {samples} samples. "
                "Pass one class for all, or one per sample."
            )
        return np.broadcast_to(np.asarray(self.index, "int32"), samples)

    def count(self) -> int:
        return len(self.index) if isinstance(self.index, tuple) else 1

    @property
    def key(self) -> Hashable:
        return ClassTarget


@dataclass(frozen=True)
class FunctionTarget(Target):
    """Scores from a function, which gets the logits in the structure of the model's output."""

    function: Callable[[Any], tf.Tensor]
    chooses = False

    def units(self, logits: Logits) -> None:
        return None

    def score(self, logits: Logits, index: tf.Tensor) -> tf.Tensor:
        scores = self.function(logits.values)
        try:
            scores = tf.convert_to_tensor(scores)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"The target function returned {type(scores).__name__} for logits of shape {_shapes(logits.values)}. "
                "Return one score per sample, a tensor of shape (N,), made with TensorFlow operations."
            ) from error
        rows = tf.nest.flatten(logits.values)[0].shape[0]
        if scores.shape.rank != 1 or (rows and scores.shape[0] not in (None, rows)):
            raise ValueError(
                f"The target function returned shape {tuple(scores.shape)} for logits of shape "
                f"{_shapes(logits.values)}. Return one score per sample, shape (N,)."
            )
        if not scores.dtype.is_floating:
            raise ValueError(
                f"The target function returned {scores.dtype.name} scores, which cannot be differentiated. "
                "Return floating point numbers."
            )
        return scores

    def __str__(self) -> str:
        """``rent(logits)``, for a function named ``rent``."""
        return f"{getattr(self.function, '__name__', None) or repr(self.function)}(logits)"

    @property
    def key(self) -> Hashable:
        return key_of(self.function)


@dataclass(frozen=True)
class OwnTarget(FunctionTarget):
    """A function that the user wrote, such as the logarithm of a probability whose logits are not found."""

    def cautions(self, logits: Logits) -> list[str]:
        return []


@dataclass(frozen=True)
class OutputTarget(Target):
    """A target on one of several outputs."""

    name: Any
    inner: Target

    @property
    def chooses(self) -> bool:
        return self.inner.chooses

    def _select(self, logits: Logits) -> Logits:
        values = logits.values
        if not isinstance(values, dict | list | tuple):
            raise ValueError(
                f"The model has one output. Received: target.output({self.name!r}, ...). Pass the target alone."
            )
        try:
            return Logits(*(each[self.name] for each in logits))
        except (KeyError, IndexError, TypeError):
            names = sorted(values) if isinstance(values, dict) else list(range(len(values)))
            raise ValueError(f"The model has no output {self.name!r}. Its outputs: {names}") from None

    def cautions(self, logits: Logits) -> list[str]:
        return self.inner.cautions(self._select(logits))

    def units(self, logits: Logits) -> int | None:
        return self.inner.units(self._select(logits))

    def top(self, logits: Logits) -> tf.Tensor:
        return self.inner.top(self._select(logits))

    def score(self, logits: Logits, index: tf.Tensor) -> tf.Tensor:
        return self.inner.score(self._select(logits), index)

    def given(self, samples: int) -> np.ndarray | None:
        return self.inner.given(samples)

    def count(self) -> int:
        return self.inner.count()

    @property
    def key(self) -> Hashable:
        return OutputTarget, self.name, self.inner.key


def as_target(target: Any) -> Target:
    """Converts the ``target`` of the user to a `Target`."""
    if isinstance(target, Target):
        return target
    if target is None:
        return ClassTarget()
    if callable(target):
        return OwnTarget(target)
    try:
        index = np.asarray(target)
    except ValueError:
        raise ValueError(f"target is a list of class numbers, one per sample. Received: {target!r}") from None
    if index.dtype.kind not in "iu" or index.ndim > 1:
        raise ValueError(
            "target is None, a class index, one index per sample, or a function of the logits. "
            f"Received: {type(target).__name__} of dtype {index.dtype} and shape {index.shape}"
            + (". For one-hot labels pass labels.argmax(axis=-1)" if index.ndim == 2 else "")
        )
    if np.abs(index.astype("int64")).max(initial=0) > np.iinfo("int32").max:
        raise ValueError(f"target is a class index. Received: {target}")
    return ClassTarget(int(index) if index.ndim == 0 else tuple(index.tolist()))


def output(name: int | str, target: Any = None) -> Target:
    """A target on one output of a model that has several.

    Args:
        name: key of the output if the model returns a dict, its index if the model returns a list.
        target: a target of ``explain``: None, a class, classes, or a function of that output's logits.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> x = keras.Input((3,))
        >>> model = keras.Model(x, {"kind": keras.layers.Dense(4)(x), "age": keras.layers.Dense(1)(x)})
        >>> tfs.Gradient(model).explain(np.ones((2, 3)), tfs.target.output("kind", 3)).target
        array([3, 3], dtype=int32)
    """
    return OutputTarget(name, as_target(target))


@dataclass(frozen=True)
class _Margin:
    winner: int
    loser: int

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        _check_class(self.winner, logits)
        _check_class(self.loser, logits)
        return logits[..., self.winner] - logits[..., self.loser]


def margin(winner: int, loser: int) -> Target:
    """The difference of two logits: it explains why the model prefers one class to the other.

    Args:
        winner: the class that is explained.
        loser: the class that it is compared with.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        >>> tfs.Gradient(model).explain(np.ones((2, 3)), tfs.target.margin(0, 1)).values.shape
        (2, 3)
    """
    return FunctionTarget(_Margin(winner, loser))


@dataclass(frozen=True)
class _Binary:
    side: int

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        if logits.shape.rank != 2 or logits.shape[-1] != 1:
            raise ValueError(
                "target.binary explains an output of one unit, shape (N, 1). "
                f"Received: logits of shape {_shapes(logits)}"
            )
        return logits[:, 0] if self.side else -logits[:, 0]


def binary(side: int) -> Target:
    """One side of a two-class problem with one output unit.

    Needed if the unit is a logit without its sigmoid (``BinaryCrossentropy(from_logits=True)``). With a sigmoid,
    ``target=0`` and ``target=1`` are enough.

    Args:
        side: 1 explains the unit's logit, 0 its negative.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> explain = tfs.Gradient(model).explain
        >>> x = np.ones((1, 3))
        >>> bool(np.all(explain(x, tfs.target.binary(0)).values == -explain(x, tfs.target.binary(1)).values))
        True
    """
    if side not in (0, 1):
        raise ValueError(f"A binary head has the sides 0 and 1. Received: {side!r}")
    return FunctionTarget(_Binary(int(side)))


@dataclass(frozen=True)
class _Region:
    mask: np.ndarray
    index: int

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        if tuple(logits.shape[1:-1]) != self.mask.shape:
            raise ValueError(
                f"target.region has a mask of shape {self.mask.shape} for logits of shape {_shapes(logits)}. "
                "The mask covers what lies between the first and the last axis."
            )
        _check_class(self.index, logits)
        weights = tf.constant(self.mask / self.mask.sum(), logits.dtype)
        return tf.reduce_sum(logits[..., self.index] * weights, axis=list(range(1, logits.shape.rank - 1)))


def region(mask: np.ndarray, index: int) -> Target:
    """The mean logit of one class over a region of a segmentation map.

    Args:
        mask: ``(height, width)``, or the spatial shape of the model's output: bool, or non-negative weights.
        index: the class, along the output's last axis.

    Raises:
        ValueError: the mask is empty or has a negative weight.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3, padding="same")])
        >>> mask = np.zeros((8, 8)); mask[2, 3] = 1
        >>> values = tfs.Gradient(model).explain(np.ones((1, 8, 8, 1)), tfs.target.region(mask, 0)).values
        >>> np.argwhere(values[0, ..., 0]).min(axis=0), np.argwhere(values[0, ..., 0]).max(axis=0)
        (array([1, 2]), array([3, 4]))
    """
    weights = np.array(mask, "float64")
    if not weights.sum() > 0 or weights.min() < 0:
        raise ValueError(
            "target.region takes a mask with at least one positive and no negative weight. "
            f"Received: {weights.size} weights that sum to {weights.sum():g}"
        )
    return FunctionTarget(_Region(weights, index))


def _class_logits(logits: Logits) -> tuple[tf.Tensor, bool]:
    """Logits of shape ``(N, classes)``, and whether one unit that is a probability represents two classes."""
    values = _only(logits.values)
    if not tf.is_tensor(values):
        names = sorted(values) if isinstance(values, dict) else list(range(len(values)))
        raise ValueError(
            f"The model has several outputs, {names}: say which is explained with "
            "target=tfsaliency.target.output(name, class), or pass a function of all of them."
        )
    if not values.dtype.is_floating:
        raise ValueError(
            f"The model's output cannot be differentiated. Received: {values.dtype.name} numbers. "
            "Explain a model that returns scores as floating point numbers, e.g. without a final argmax."
        )
    if values.shape.rank == 1:
        values = values[:, None]
    if values.shape.rank != 2:
        raise ValueError(
            f"A class target needs an output of shape (N, classes). The model's output has shape {_shapes(values)}: "
            "use tfsaliency.target.region(mask, class), or pass a function of the logits that returns shape (N,)."
        )
    return values, values.shape[-1] == 1 and _only(logits.links) in ("Sigmoid", PROBABILITY)


def _only(structure: Any) -> Any:
    """The one part of a structure; the structure itself where it has several."""
    parts = tf.nest.flatten(structure)
    return parts[0] if len(parts) == 1 else structure


def _check_class(index: int, logits: tf.Tensor) -> None:
    classes = logits.shape[-1]
    if classes is not None and not 0 <= index < classes:
        raise ValueError(f"The output has the classes 0 to {classes - 1}. Received: {index}")


def _shapes(values: Any) -> Any:
    return tf.nest.map_structure(lambda tensor: tuple(tensor.shape), values)
