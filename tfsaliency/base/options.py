"""Checks of the options that a user passes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raises ValueError unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is a whole number, at least {least}. Received: {value!r}")


def check_amount(name: str, value: object) -> None:
    """Raises ValueError unless ``value`` is a finite number of at least 0."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} is a finite number, at least 0. Received: {value!r}")


def check_share(name: str, value: object) -> None:
    """Raises ValueError unless ``value`` is a number between 0 and 1, and is neither."""
    if not _is_share(value):
        raise ValueError(f"{name} is between 0 and 1. Received: {value!r}")


def check_shares(shares: object) -> None:
    """Raises ValueError unless there are numbers, all between 0 and 1."""
    if not isinstance(shares, Sequence) or not shares or not all(map(_is_share, shares)):
        raise ValueError(f"shares is a tuple of numbers between 0 and 1, as (0.1, 0.5). Received: {shares!r}")


def _is_share(value: object) -> bool:
    return isinstance(value, Real) and 0 < float(value) < 1


def check_choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raises ValueError unless ``value`` is one of the known words."""
    words = tuple(known)
    if value not in words:
        raise ValueError(f"{name} is one of {', '.join(map(repr, words))}. Received: {value!r}")


class FitsInputs(ABC):
    """An option that fits some inputs only, such as one baseline per sample.

    Attributes:
        is_of_one_batch: whether it holds something for each sample of a batch.
    """

    is_of_one_batch = False

    @abstractmethod
    def check(self, inputs: Any) -> None:
        """Raises ValueError where the option does not fit the inputs, NumPy arrays."""


def check_known(kind: str, name: str, names: Collection[str]) -> None:
    """Raises unless a name is one of the known ones, and says which it may be."""
    if name not in names:
        near = get_close_matches(name, names, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no {kind} {name!r}.{meant} The {kind}s: {', '.join(names)}")
