"""The logit of a class."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.model.causal import continued_ids
from tfsaliency.model.logits import PROBABILITY, Logits
from tfsaliency.model.point import point_of
from tfsaliency.model.traced import TracedModel
from tfsaliency.target.base import (
    Rows,
    Target,
    check_classes,
    count_of,
    named_per_sample,
    one_output,
    only_output,
    shapes_of,
)
from tfsaliency.target.contrasts import NextId
from tfsaliency.target.places import of_each_row

ONE_UNIT = ". One unit without a sigmoid has two sides if you say so: tfsaliency.target.binary(0) or binary(1)"


@dataclass(frozen=True)
class ClassTarget(Target):
    """The logit of a class: the top class, one class, or one class per sample."""

    index: int | tuple[int, ...] | None = None

    @property
    def waits(self) -> bool:  # type: ignore[override]
        return self.index is None

    @property
    def key(self) -> Hashable:
        return ClassTarget

    def given(self, samples: int) -> dict[str, np.ndarray]:
        return named_per_sample({"class": self.index}, samples)

    def count(self) -> int:
        return count_of(self.index)

    def check(self, logits: Logits, given: dict[str, np.ndarray]) -> None:
        units = _units(logits)
        if "class" in given:
            check_classes(given["class"], units, ONE_UNIT if units == 1 else "")

    def choose(self, logits: Logits, given: Rows) -> Rows:
        if given:
            return given
        values, binary = _class_logits(logits)
        if binary:
            half = 0.5 if only_output(logits.links) == PROBABILITY else 0.0
            return {"class": tf.cast(_column(values) > half, tf.int32)}
        return {"class": tf.argmax(_by_class(only_output(logits.outputs)), axis=-1, output_type=tf.int32)}

    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        values, binary = _class_logits(logits)
        if binary:
            # sigmoid(-z) = 1 - sigmoid(z): the logit of class 0 is the negative of the logit of class 1. Nor does the
            # map of 1 - p differ from that of -p.
            return _column(values) * tf.cast(2 * chosen["class"] - 1, values.dtype)
        return of_each_row(_by_class(values), chosen["class"])

    def has_probability(self, logits: Logits) -> bool:
        return only_output(logits.links) in ("Softmax", "LogSoftmax", "Sigmoid", PROBABILITY)

    def probability(self, logits: Logits, chosen: Rows) -> tf.Tensor:
        _, binary = _class_logits(logits)
        outputs = only_output(logits.outputs)
        outputs = tf.exp(outputs) if only_output(logits.links) == "LogSoftmax" else outputs
        if binary:
            return tf.where(tf.equal(chosen["class"], 1), _column(outputs), 1 - _column(outputs))
        return of_each_row(_by_class(outputs), chosen["class"])

    def __str__(self) -> str:
        if self.index is None:
            return "the top class"
        return f"class {self.index}" if isinstance(self.index, int) else f"classes {list(self.index)}"

    def meant(self, model: TracedModel, row: Any) -> Target:
        """For a language model the last position's top id against the runner-up: all its logits are one question."""
        place = continued_ids(model, row) if self.index is None else None
        return self if place is None else NextId(place=place, filler=point_of(model).filler(place))


@dataclass(frozen=True)
class Ranked(ClassTarget):
    """The logit of the class that has a rank among all of them; the top class has rank 0."""

    rank: int = 0

    @property
    def key(self) -> Hashable:
        return Ranked

    def given(self, samples: int) -> dict[str, np.ndarray]:
        return named_per_sample({"rank": self.rank}, samples)

    def check(self, logits: Logits, given: dict[str, np.ndarray]) -> None:
        units = _units(logits)
        if units is not None and self.rank >= units:
            raise ValueError(
                f"The output has {units} classes. Received: a target for the class of rank {self.rank + 1} among them. "
                f"Ask for the top {units} at most."
            )

    def choose(self, logits: Logits, given: Rows) -> Rows:
        _, binary = _class_logits(logits)
        if binary:
            (top,) = super().choose(logits, {}).values()
            return {"class": tf.where(tf.equal(given["rank"], 0), top, 1 - top)}
        order = tf.argsort(_by_class(only_output(logits.outputs)), direction="DESCENDING", stable=True)
        return {"class": of_each_row(order, given["rank"])}

    def meant(self, model: TracedModel, row: Any) -> Target:
        return self

    def __str__(self) -> str:
        return f"the class of rank {self.rank}"


def _units(logits: Logits) -> int | None:
    """The number of classes, None where the model does not say it before it is called."""
    values, binary = _class_logits(logits)
    units: int | None = 2 if binary else values.shape[-1] if values.shape.rank == 2 else 1
    return units


def _class_logits(logits: Logits) -> tuple[Any, bool]:
    """Logits of shape ``(N, classes)`` or ``(N,)``, and whether one unit that is a probability stands for two."""
    values = one_output(logits)
    if values.shape.rank not in (1, 2):
        raise ValueError(
            f"A class target needs an output of shape (N, classes). The model's output has shape {shapes_of(values)}: "
            "use tfsaliency.target.token(position, class) for one place of a sequence, "
            "tfsaliency.target.region(mask, class) for a part of a map, or pass a function of the logits that returns "
            "shape (N,)."
        )
    units = values.shape[-1] if values.shape.rank == 2 else 1
    return values, units == 1 and only_output(logits.links) in ("Sigmoid", PROBABILITY)


def _by_class(values: tf.Tensor) -> tf.Tensor:
    """``(N, classes)``; numbers ``(N,)`` are those of one class."""
    return values if values.shape.rank == 2 else values[:, None]


def _column(values: tf.Tensor) -> tf.Tensor:
    return values if values.shape.rank == 1 else values[:, 0]
