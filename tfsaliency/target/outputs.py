"""A target on one of several outputs, and what users may write for a target."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.model.logits import Logits
from tfsaliency.target.base import Rows, Several, Target, output_names, whole_numbers
from tfsaliency.target.classes import ClassTarget
from tfsaliency.target.functions import OwnTarget


@dataclass(frozen=True)
class OutputTarget(Target):
    """A target on one of several outputs."""

    name: Any
    inner: Target

    @property
    def waits(self) -> bool:  # type: ignore[override]
        return self.inner.waits

    @property
    def sees_inputs(self) -> bool:  # type: ignore[override]
        return self.inner.sees_inputs

    @property
    def key(self) -> Hashable:
        return OutputTarget, self.name, self.inner.key

    def given(self, samples: int) -> dict[str, np.ndarray]:
        return self.inner.given(samples)

    def count(self) -> int:
        return self.inner.count()

    def check(self, logits: Logits, given: dict[str, np.ndarray]) -> None:
        self.inner.check(self._select(logits), given)

    def choose(self, logits: Logits, given: Rows) -> Rows:
        return self.inner.choose(self._select(logits), given)

    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        return self.inner.score(self._select(logits), chosen, inputs)

    def has_probability(self, logits: Logits) -> bool:
        return self.inner.has_probability(self._select(logits))

    def probability(self, logits: Logits, chosen: Rows) -> tf.Tensor:
        return self.inner.probability(self._select(logits), chosen)

    def told(self, chosen: Rows) -> Rows:
        return self.inner.told(chosen)

    def check_told(self, told: dict[str, np.ndarray]) -> None:
        self.inner.check_told(told)

    def read(self, logits: Logits) -> Logits:
        return self.inner.read(self._select(logits))

    def cautions(self, logits: Logits) -> list[str]:
        return self.inner.cautions(self._select(logits))

    def __str__(self) -> str:
        return f"output({self.name!r}, {self.inner})"

    def _select(self, logits: Logits) -> Logits:
        values = logits.values
        if not isinstance(values, dict | list | tuple):
            raise ValueError(
                f"The model has one output. Received: target.output({self.name!r}, ...). Pass the target alone."
            )
        try:
            return Logits(*(each[self.name] for each in logits))
        except (KeyError, IndexError, TypeError):
            known = output_names(values)
            raise ValueError(f"The model has no output {self.name!r}. Its outputs: {known}") from None


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


def as_target(target: Any) -> Target:
    """Converts the ``target`` of the user to a `Target`."""
    if isinstance(target, Target):
        return target
    if target is None:
        return ClassTarget()
    if callable(target):
        return OwnTarget(target)
    if isinstance(target, Several):
        raise ValueError(
            "target.each is passed to explain as it is, around all other targets: each([output(name, 1), "
            f"output(name, 2)]). Received: {target} inside another one, or where one target is asked for."
        )
    try:
        index = np.asarray(target)
    except ValueError:
        raise ValueError(f"target is a list of class numbers, one per sample. Received: {target!r}") from None
    if index.dtype.kind not in "iu" or index.ndim > 1:
        raise ValueError(
            "target is None, a class index, one index per sample, or a function of the logits. "
            f"Received: {type(target).__name__} of dtype {index.dtype} and shape {index.shape}" + _advice(index.shape)
        )
    return ClassTarget(whole_numbers("target", target))


def _advice(shape: tuple[int, ...]) -> str:
    """What to do about labels of two axes, in words."""
    if len(shape) != 2:
        return ""
    return (
        ". Of a column of labels pass labels[:, 0]"
        if shape[1] == 1
        else ". For one-hot labels pass labels.argmax(axis=-1)"
    )
