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
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, keras.Model):
        return {"model": value.name, "fingerprint": fingerprint(value)}
    if is_layer(value):
        return {"layer": value.name}
    if isinstance(value, dict):
        return {str(name): identity(each) for name, each in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, list | tuple):
        return [identity(each) for each in value]
    return _of_object(value)


def _of_object(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | tf.Tensor | tf.Variable | keras.Variable):
        return _of_array(np.asarray(value))
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, functools.partial):
        return {"function": identity(value.func), "arguments": identity([value.args, value.keywords])}
    if isinstance(value, types.MethodType):
        return {"method": value.__name__, "of": identity(value.__self__)}
    if isinstance(value, types.FunctionType):
        closed = inspect.getclosurevars(value).nonlocals
        return {"function": _name(value), "code": _of_code(value.__code__), "closes_over": identity(closed)}
    if inspect.isroutine(value) or isinstance(value, type):
        return {"function": _name(value)}
    if dataclasses.is_dataclass(value):
        fields = {field.name: identity(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"kind": _name(type(value)), **fields}
    return {"kind": _name(type(value)), **identity(getattr(value, "__dict__", {}))}


def _of_array(array: np.ndarray) -> Any:
    content = array.astype("U") if array.dtype.hasobject else array
    return [str(content.dtype), list(content.shape), hashlib.sha256(np.ascontiguousarray(content).data).hexdigest()]


def _of_code(code: types.CodeType) -> str:
    inner = [_of_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts]
    return hashlib.sha256(repr((code.co_code, code.co_names, inner)).encode()).hexdigest()[:16]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', type(value).__qualname__)}"
