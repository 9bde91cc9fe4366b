"""A score that a function computes from the logits."""

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfsaliency.graph.rows import meetings
from tfsaliency.model.keys import key_of
from tfsaliency.model.logits import Logits
from tfsaliency.target.base import Rows, Target, shapes_of


@dataclass(frozen=True)
class FunctionTarget(Target):
    """Scores from a function, which gets the logits in the structure of the model's output.

    A function that must have a second argument gets the inputs there.
    """

    function: Callable[..., Any]

    remedy = (
        "A target function is asked about copies of the rows too, so it takes any number of them and holds nothing for "
        "each: pass classes as target=labels, and other numbers as one more input of the model, which a function of "
        "(logits, inputs) gets."
    )

    @property
    def sees_inputs(self) -> bool:  # type: ignore[override]
        try:
            parameters = inspect.signature(self.function).parameters.values()
        except ValueError:
            # Functions in C do not say what they take.
            return False
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return sum(each.kind in by_place and each.default is each.empty for each in parameters) == 2

    @property
    def key(self) -> Hashable:
        return key_of(self.function)

    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        try:
            scores = self.function(logits.values, inputs) if self.sees_inputs else self.function(logits.values)
        except (AttributeError, TypeError, NotImplementedError) as error:
            if "symbolic" not in str(error).lower():
                raise
            raise ValueError(
                "The target function is traced, and gets tensors without values: NumPy, if and for cannot read them. "
                "Write it with TensorFlow operations, as lambda z: tf.nn.relu(z[:, 1]), and a choice as "
                f"tf.where(z[:, 0] > 0, z[:, 1], z[:, 2]). It said: {error}"
            ) from error
        try:
            scores = tf.convert_to_tensor(scores)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"The target function returned {type(scores).__name__} for logits of shape {shapes_of(logits.values)}. "
                "Return one score per sample, a tensor of shape (N,), made with TensorFlow operations."
            ) from error
        rows = tf.nest.flatten(logits.values)[0].shape[0]
        if scores.shape.rank != 1 or (rows and scores.shape[0] not in (None, rows)):
            raise ValueError(
                f"The target function returned shape {tuple(scores.shape)} for logits of shape "
                f"{shapes_of(logits.values)}. Return one score per sample, shape (N,)."
            )
        if not scores.dtype.is_floating:
            raise ValueError(
                f"The target function returned {scores.dtype.name} scores, which cannot be differentiated. "
                "Return floating point numbers."
            )
        return scores

    def __str__(self) -> str:
        """``rent(logits)``, for a function named ``rent``."""
        arguments = "logits, inputs" if self.sees_inputs else "logits"
        return f"{getattr(self.function, '__name__', None) or repr(self.function)}({arguments})"


@dataclass(frozen=True)
class OwnTarget(FunctionTarget):
    """A function that the user wrote, such as the logarithm of a probability whose logits are not found."""

    def cautions(self, logits: Logits) -> list[str]:
        return []

    def cautions_of(self, score: tf.Tensor, logits: Logits) -> list[str]:
        met = meetings(logits.floats, [score])
        return [_joined(each.operation) for each in met if each.certain][:1]


def _joined(operation: tf.Operation) -> str:
    return (
        f"The target function puts the rows of a batch together at {operation.name!r}, an operation of type "
        f"{operation.type}: the map of a sample changes with the samples around it, and what all rows share has no "
        "slope. Return a score that each row has alone, as lambda logits: logits[:, 1] does."
    )


@dataclass(frozen=True)
class _Binary:
    side: int

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        if logits.shape.rank not in (1, 2) or (logits.shape.rank == 2 and logits.shape[-1] != 1):
            raise ValueError(
                "target.binary explains an output of one unit, shape (N, 1) or (N,). "
                f"Received: logits of shape {shapes_of(logits)}"
            )
        of_unit = logits if logits.shape.rank == 1 else logits[:, 0]
        return of_unit if self.side else -of_unit


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
