"""What was asked, as data that JSON holds: equal for two runs, in any process, exactly if they ask the same."""

import dataclasses
import functools
import hashlib
import inspect
import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.model.fingerprint import fingerprint
from tfsaliency.model.layers import is_layer


def identity(value: Any) -> Any:
    """An explainer, a target or a function as data.

    Arrays are known by their type, shape and SHA-256, models by their fingerprint, and functions by their name, their
    code and what they close over.
    """
    return _identity(value, ())


def _identity(value: Any, around: tuple[int, ...]) -> Any:
    """The same, for a value inside others, known by their ids."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in around:
        return {"again": _name(type(value))}
    within = (*around, id(value))
    if isinstance(value, dict):
        named = sorted(((str(name), each) for name, each in value.items()), key=lambda item: item[0])
        return {name: _identity(each, within) for name, each in named}
    if isinstance(value, list | tuple):
        return [_identity(each, within) for each in value]
    if isinstance(value, types.FunctionType | types.MethodType | functools.partial) or inspect.isroutine(value):
        return _of_function(value, within)
    return _of_object(value, within)


def _of_function(value: Any, within: tuple[int, ...]) -> Any:
    if isinstance(value, functools.partial):
        return {"function": _identity(value.func, within), "arguments": _identity([value.args, value.keywords], within)}
    if isinstance(value, types.MethodType):
        return {"method": value.__name__, "of": _identity(value.__self__, within)}
    if isinstance(value, types.FunctionType):
        closed = inspect.getclosurevars(value).nonlocals
        return {
            "function": _name(value),
            "code": _of_code(value.__code__),
            "defaults": _identity([value.__defaults__, value.__kwdefaults__], within),
            "closes_over": _identity(dict(closed), within),
        }
    return {"function": _name(value)}


def _of_object(value: Any, within: tuple[int, ...]) -> Any:
    if isinstance(value, keras.Model):
        return {"model": value.name, "fingerprint": fingerprint(value)}
    if is_layer(value):
        return {"layer": value.name}
    if isinstance(value, np.ndarray | np.generic | tf.Tensor | tf.Variable | keras.Variable):
        return _of_array(np.asarray(value))
    if isinstance(value, type | Path):
        return _name(value) if isinstance(value, type) else str(value)
    held = getattr(value, "__dict__", {})
    if dataclasses.is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {"kind": _name(type(value)), **_identity(dict(held), within)}


def _of_array(array: np.ndarray) -> Any:
    content = array.astype("U") if array.dtype.hasobject else array
    return [str(content.dtype), list(content.shape), hashlib.sha256(np.ascontiguousarray(content).data).hexdigest()]


def _of_code(code: types.CodeType) -> str:
    inner = [_of_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts]
    return hashlib.sha256(repr((code.co_code, code.co_names, inner)).encode()).hexdigest()[:16]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', type(value).__qualname__)}"
