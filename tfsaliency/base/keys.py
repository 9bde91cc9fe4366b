"""Cache keys: what a traced function depends on, as a value that can be compared."""

import inspect
import weakref
from collections.abc import Callable, Hashable
from types import CodeType
from typing import Any

import numpy as np

_BY_VALUE = (bool, int, float, complex, str, bytes, type(None))


def key_of(value: Any, depth: int = 3) -> Hashable:
    """A key that is equal for values which trace to the same graph. It keeps nothing alive but plain values.

    A function is compared by its code, its defaults and the variables that it reads from outside: a closure whose
    variable has changed is another function, and one lambda written in a loop is the same function each time. A
    dataclass with equality is compared by its fields. Any other object is equal to itself only.
    """
    if isinstance(value, _BY_VALUE):
        return type(value), value
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, list | tuple):
        return type(value), *(key_of(item, depth) for item in value)
    if isinstance(value, dict):
        return dict, *((key_of(name, depth), key_of(item, depth)) for name, item in value.items())
    if inspect.isfunction(value) and depth:
        return _key_of_function(value, depth - 1)
    if inspect.ismethod(value) and depth:
        return _key_of_function(value.__func__, depth - 1), SameObject(value.__self__)
    if getattr(type(value), "__dataclass_params__", None) and type(value).__dataclass_params__.eq:
        return type(value), *(key_of(getattr(value, name), depth) for name in value.__dataclass_fields__)
    return SameObject(value)


class SameObject:
    """Equal for one and the same object while that object lives. It does not keep the object alive.

    An ``id`` alone is not enough: Python gives it to another object once the first one is gone.
    """

    def __init__(self, value: Any):
        self._hash = id(value)
        try:
            self._value: Callable[[], Any] = weakref.ref(value)
        except TypeError:
            # Some objects cannot be referred to weakly, such as numbers of other libraries: those are kept.
            self._value = lambda: value

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        mine = self._value()
        return isinstance(other, SameObject) and mine is not None and mine is other._value()


def _names_in(code: CodeType) -> set[str]:
    """The names that code reads from outside, also in the lambdas and comprehensions within it."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _key_of_function(function: Callable[..., Any], depth: int) -> Hashable:
    known = function.__globals__
    outside = {name: known[name] for name in _names_in(function.__code__) if name in known}
    outside |= inspect.getclosurevars(function).nonlocals
    defaults = (function.__defaults__ or (), *sorted((function.__kwdefaults__ or {}).items()))
    return (
        function.__code__,
        key_of(defaults, depth),
        *((name, key_of(outside[name], depth)) for name in sorted(outside)),
    )
