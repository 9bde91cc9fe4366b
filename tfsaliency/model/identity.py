"""What was asked, as data that JSON holds: equal for two runs, in any process, exactly if they ask the same."""

import dataclasses
import functools
import hashlib
import inspect
import itertools
import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.model.fingerprint import fingerprint
from tfsaliency.model.keys import is_installed, names_in
from tfsaliency.model.layers import is_layer

# Differences between two calls that a message tells.
MOST_DIFFERENCES = 2


def identity(value: Any) -> Any:
    """An explainer, a target or a function as data.

    Arrays are known by their type, shape and SHA-256, models by their fingerprint, and functions by their name, their
    code, what they close over and, where no package installed them, what they read from their module.
    """
    return _identity(value, ())


def as_json(record: Any) -> Any:
    """A record as JSON gives it back, with lists in the place of tuples."""
    return json.loads(json.dumps(record))


def differences(known: Any, other: Any) -> str:
    """Where two records differ, in words: ``"explainer/model/fingerprint was 'a' and is 'b'"``."""
    return "; ".join(itertools.islice(_differences(known, other, ""), MOST_DIFFERENCES))


def _differences(known: Any, other: Any, name: str) -> Iterator[str]:
    if isinstance(known, list) and isinstance(other, list) and len(known) == len(other):
        known, other = ({str(place): each for place, each in enumerate(record)} for record in (known, other))
    if not (isinstance(known, dict) and isinstance(other, dict)):
        yield f"{name} was {_short(known)} and is {_short(other)}"
        return
    for key in {**known, **other}:
        if known.get(key) != other.get(key):
            yield from _differences(known.get(key), other.get(key), f"{name}/{key}" if name else key)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


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
            **_of_globals(value, within),
        }
    return {"function": _name(value)}


def _of_globals(function: types.FunctionType, within: tuple[int, ...]) -> dict[str, Any]:
    """What a function of the user's reads from its module, and the functions there that it calls, at any depth."""
    read, calls = _globals(function), {}
    # Grows while it is read.
    reached = [each for each in read.values() if _is_own(each)]
    for each in reached:
        if each is function or _name(each) in calls:
            continue
        further = _globals(each)
        calls[_name(each)] = {"code": _of_code(each.__code__), "reads": _identity(_named(further), within)}
        reached += [other for other in further.values() if _is_own(other)]
    return {"reads": _identity(_named(read), within), "calls": calls}


def _globals(function: types.FunctionType) -> dict[str, Any]:
    names = names_in(function.__code__).outside if _is_own(function) else ()
    return {name: function.__globals__[name] for name in names if name in function.__globals__}


def _named(read: dict[str, Any]) -> dict[str, Any]:
    """Data as it is, and anything else by its name: what an object such as a logger holds changes by itself."""
    return {name: value if _is_data(value) else _name(value) for name, value in read.items()}


def _is_own(value: Any) -> bool:
    return isinstance(value, types.FunctionType) and not is_installed(value.__module__)


def _is_data(value: Any) -> bool:
    if isinstance(value, dict | list | tuple | set | frozenset):
        return all(map(_is_data, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, bool | int | float | str | bytes | Path | keras.Model) or _is_array(value)


def _of_object(value: Any, within: tuple[int, ...]) -> Any:
    if isinstance(value, keras.Model):
        return {"model": value.name, "fingerprint": fingerprint(value)}
    if is_layer(value):
        return {"layer": value.name}
    if _is_array(value):
        return _of_array(np.asarray(value))
    if isinstance(value, set | frozenset):
        return {"set": sorted(json.dumps(_identity(each, within)) for each in value)}
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, type | Path | types.ModuleType):
        return str(value) if isinstance(value, Path) else _name(value)
    held = getattr(value, "__dict__", {})
    if dataclasses.is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {"kind": _name(type(value)), **_identity(dict(held), within)}


def _is_array(value: Any) -> bool:
    if isinstance(value, tf.Tensor):
        return not tf.is_symbolic_tensor(value) and value.dtype not in (tf.variant, tf.resource)
    return isinstance(value, np.ndarray | np.generic | tf.Variable | keras.Variable)


def _of_array(array: np.ndarray) -> Any:
    digest = hashlib.sha256()
    if array.dtype.hasobject:
        # Texts of any lengths: an array of one width for all can be many times as large.
        for each in array.flat:
            digest.update(repr(each).encode())
    else:
        # As bytes, without a copy: dates and half precision are no buffers.
        digest.update(np.ascontiguousarray(array).reshape(-1).view("u1").data)
    return [str(array.dtype), list(array.shape), digest.hexdigest()]


def _of_code(code: types.CodeType) -> str:
    inner = [_of_code(each) if isinstance(each, types.CodeType) else _of_constant(each) for each in code.co_consts]
    return hashlib.sha256(repr((code.co_code, code.co_names, inner)).encode()).hexdigest()[:16]


def _of_constant(constant: Any) -> str:
    # A set is in another order in each process.
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _name(value: Any) -> str:
    if isinstance(value, types.ModuleType):
        return value.__name__
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', type(value).__qualname__)}"
