"""What a traced function depends on, as a value that can be compared: equal values share a compiled function."""

import inspect
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

_BY_VALUE = (bool, int, float, complex, str, bytes, type(None))


def state_of(value: Any, depth: int = 3) -> Hashable:
    """Equal for values that trace alike; holds nothing alive but plain values.

    A function is its code with its defaults and what it reads from outside: a closure whose variable has changed is
    another function, and the same lambda written in a loop is the same one. What an object of another kind holds is
    not looked into: a dataclass with equality says it by its fields, any other object by being itself.
    """
    if isinstance(value, _BY_VALUE):
        return type(value), value
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, list | tuple):
        return type(value), *(state_of(item, depth) for item in value)
    if isinstance(value, dict):
        return dict, *((name, state_of(item, depth)) for name, item in value.items())
    if inspect.isfunction(value) and depth:
        return _of_function(value, depth - 1)
    if inspect.ismethod(value) and depth:
        return _of_function(value.__func__, depth - 1), SameObject(value.__self__)
    if getattr(type(value), "__dataclass_params__", None) and type(value).__dataclass_params__.eq:
        return type(value), *(state_of(getattr(value, name), depth) for name in value.__dataclass_fields__)
    return SameObject(value)


class SameObject:
    """Equal for one and the same object, as long as it lives; does not keep it alive.

    An ``id`` alone would be given again to another object once this one is gone.
    """

    def __init__(self, value: Any):
        self._hash = id(value)
        try:
            self._value: Callable[[], Any] = weakref.ref(value)
        except TypeError:
            # What cannot be referred to weakly, such as a number of a foreign type, is kept.
            self._value = lambda: value

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        mine = self._value()
        return isinstance(other, SameObject) and mine is not None and mine is other._value()


def _of_function(function: Callable, depth: int) -> Hashable:
    read = inspect.getclosurevars(function)
    outside = {**read.globals, **read.nonlocals}
    defaults = (function.__defaults__ or (), *sorted((function.__kwdefaults__ or {}).items()))
    return (
        function.__code__,
        state_of(defaults, depth),
        *((name, state_of(outside[name], depth)) for name in sorted(outside)),
    )
