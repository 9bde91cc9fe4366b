"""What every target has in common, and how it reads the output of a model."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.model.logits import Logits
from tfsaliency.model.traced import TracedModel

# What a target says about each sample: name -> one row for each sample.
Rows = dict[str, tf.Tensor]


class Target(ABC):
    """Turns what a model says into one score per row.

    What belongs to a sample, such as its class or its mask, is chosen once, on the original inputs, and kept for every
    noisy or shifted copy of that sample.

    Attributes:
        waits: whether the choice needs what the model says about the inputs.
        sees_inputs: whether the score depends on the inputs directly, and not through the logits alone.
        remedy: what to do where the score of some rows cannot be computed; empty where the target is not the cause.
    """

    waits = False
    sees_inputs = False
    remedy = ""

    @abstractmethod
    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        """``(N,)`` float scores of some rows.

        Args:
            logits: what the model says about the rows.
            chosen: what `choose` returned, for the sample of each row.
            inputs: the rows as they were passed, where the target sees inputs; else None.
        """

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """A value that is equal for targets with the same traced graph."""

    def given(self, samples: int) -> dict[str, np.ndarray]:
        """What the user chose for each sample, ``(samples, ...)``.

        Raises:
            ValueError: it was chosen for another number of samples.
        """
        return {}

    def check(self, logits: Logits, given: dict[str, np.ndarray]) -> None:
        """Raises where the output has no such class or place as the user chose.

        Args:
            logits: ``tf.TensorSpec`` in the place of tensors.
            given: what the user chose.
        """
        return

    def choose(self, logits: Logits, given: Rows) -> Rows:
        """What is explained of each sample, from what the model says about the inputs as given."""
        return given

    def told(self, chosen: Rows) -> Rows:
        """What a user wants to know of the choice, ``(N,)`` each. ``"class"`` is the target of an explanation."""
        return chosen

    def has_probability(self, logits: Logits) -> bool:
        """Whether a class is explained that the model gives a probability of; `probability` tells it then."""
        return False

    def probability(self, logits: Logits, chosen: Rows) -> tf.Tensor:
        """``(N,)``: the probability of the class that is explained."""
        raise NotImplementedError

    def check_inputs(self, inputs: Any) -> None:
        """Warns where another question is meant for such inputs, NumPy arrays."""
        return

    def check_told(self, told: dict[str, np.ndarray]) -> None:
        """Raises where nothing could be chosen for a sample."""
        return

    def meant(self, model: TracedModel, row: Any) -> "Target":
        """The target that this one stands for, for such a model and one row of its inputs."""
        return self

    def read(self, logits: Logits) -> Logits:
        """Those of the logits that the target may read."""
        return logits

    def cautions(self, logits: Logits) -> list[str]:
        """What a user is warned of before trusting a map of these logits, one sentence each."""
        return logits.cautions()

    def cautions_of(self, score: tf.Tensor, logits: Logits) -> list[str]:
        """What a user is warned of for how a score was computed from logits, in a graph, one sentence each."""
        return []

    def count(self) -> int:
        """The number of samples that the user chose something for; 1 if one choice serves all."""
        return 1

    def of_rows(self, rows: np.ndarray, given: dict[str, np.ndarray]) -> "Target":
        """The same target for some rows of a batch that it was made for.

        Args:
            rows: their numbers.
            given: what `given` says of the whole batch.
        """
        chosen = {name: each[rows] for name, each in given.items()}
        part = copy.copy(self)
        # Targets are frozen values, each of which keeps what was chosen in a form of its own.
        part.__dict__["given"] = lambda samples: chosen
        return part


@dataclass(frozen=True)
class Several:
    """Targets that are explained one after the other."""

    targets: tuple[Target, ...]

    def __str__(self) -> str:
        return f"each([{', '.join(map(str, self.targets))}])"


def only_output(structure: Any) -> Any:
    """The one part of a structure; the structure itself where it has several."""
    parts = tf.nest.flatten(structure)
    return parts[0] if len(parts) == 1 else structure


def one_output(logits: Logits) -> Any:
    """The floats of a model's only output.

    Raises:
        ValueError: it has several outputs, or one that is not of floats.
    """
    values = only_output(logits.values)
    if isinstance(values, dict | list | tuple):
        raise ValueError(
            f"The model has several outputs, {output_names(values)}: say which is explained with "
            "target=tfsaliency.target.output(name, class), or pass a function of all of them."
        )
    if not values.dtype.is_floating:
        raise ValueError(
            f"The model's output cannot be differentiated. Received: {values.dtype.name} numbers. "
            "Explain a model that returns scores as floating point numbers, e.g. without a final argmax."
        )
    return values


def output_names(values: Any) -> list[Any]:
    """What `output` calls the outputs of a model that has several."""
    return sorted(values) if isinstance(values, dict) else list(range(len(values)))


def shapes_of(values: Any) -> Any:
    """The shape of each tensor of a structure, as messages show it."""
    return tf.nest.map_structure(lambda tensor: tuple(tensor.shape), values)


def whole_numbers(name: str, value: Any) -> int | tuple[int, ...]:
    """One whole number for all samples, or a tuple of one for each.

    Raises:
        ValueError: it is something else, or larger than TensorFlow counts.
    """
    try:
        numbers = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} is a list of whole numbers, one per sample. Received: {value!r}") from None
    if numbers.dtype.kind not in "iu" or numbers.ndim > 1 or not numbers.size:
        raise ValueError(f"{name} is a whole number, or one per sample. Received: {value!r}")
    if np.abs(numbers.astype("int64")).max() > np.iinfo("int32").max:
        raise ValueError(f"{name} is smaller than 2**31. Received: {value!r}")
    return int(numbers) if numbers.ndim == 0 else tuple(numbers.tolist())


def whole_numbers_or_none(name: str, value: Any) -> int | tuple[int, ...] | None:
    """The same, or None where nothing is chosen."""
    return None if value is None else whole_numbers(name, value)


def per_sample(name: str, value: int | tuple[int, ...], samples: int) -> np.ndarray:
    """``(samples,)`` int32.

    Raises:
        ValueError: it holds another number of samples.
    """
    if isinstance(value, tuple):
        check_samples(f"numbers of {name!r}", len(value), samples)
    return np.broadcast_to(np.asarray(value, "int32"), samples)


def named_per_sample(named: dict[str, int | tuple[int, ...] | None], samples: int) -> dict[str, np.ndarray]:
    """The same for several names, without those that nothing is chosen for."""
    return {name: per_sample(name, value, samples) for name, value in named.items() if value is not None}


def rows_per_sample(what: str, rows: np.ndarray, samples: int) -> np.ndarray:
    """``(samples, ...)``: rows of a target, one for all samples or one for each.

    Raises:
        ValueError: there is another number of them.
    """
    if len(rows) > 1:
        check_samples(what, len(rows), samples)
    return np.broadcast_to(rows, (samples, *rows.shape[1:]))


def check_samples(what: str, number: int, samples: int) -> None:
    """Raises where a target was made for another number of samples."""
    if number != samples:
        raise ValueError(
            f"The target holds {number} {what} for {samples} samples. Pass one for all, or a list of one per sample."
        )


def count_of(*values: Any) -> int:
    """How many samples these are for, each one number or a tuple of one per sample."""
    return max((len(value) for value in values if isinstance(value, tuple)), default=1)


def check_classes(
    numbers: np.ndarray | None, number: int | None, hint: str = "", *, what: tuple[str, str] = ("classes", "target")
) -> None:
    """Raises where a class is none of an output's.

    Args:
        numbers: the classes that the user named, None for none.
        number: how many the output has; None where its trace does not know.
        hint: what to do about it.
        what: the name of what is counted, and of one that the user gives.
    """
    if numbers is None or number is None:
        return
    outside = numbers[(numbers < 0) | (numbers >= number)]
    if outside.size:
        raise ValueError(f"The model has the {what[0]} 0 to {number - 1}. Received: {what[1]} {outside[0]}{hint}")


def check_classes_of_places(numbers: np.ndarray | None, number: int | None) -> None:
    """The same for an output with classes at each place."""
    hint = ". An output of one unit at each place has the class 0 alone, which is that unit: the foreground of a mask"
    check_classes(numbers, number, hint if number == 1 else "")
