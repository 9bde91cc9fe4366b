"""Checks of the options that a user passes."""

import math
from abc import ABC, abstractmethod
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


class FitsInputs(ABC):
    """An option that fits some inputs only, such as one baseline per sample."""

    @abstractmethod
    def check(self, inputs: Any) -> None:
        """Raises ValueError where the option does not fit the inputs, NumPy arrays."""
