"""Cache keys: what a traced function depends on in Python, as a value that can be compared.

A key is equal as long as nothing has changed that the function, object or layer reads: it is made anew at each call.
"""

import dis
import functools
import inspect
import itertools
import operator
import os
import pickle
import sys
import sysconfig
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf


def key_of(value: Any) -> Hashable:
    """A key that is equal for values which trace to the same graph. It keeps nothing alive but plain values.

    A function is compared by its code and by every value that it can reach from outside under a name in that code:
    closures, defaults, globals, attributes of objects, classes and modules, and the functions that it calls, at any
    depth. A layer is compared by its attributes, and so are the layers within it. Variables and tensors are compared by
    identity: a graph reads their values itself. So is what an installed package defines. What cannot be compared,
    such as a generator, is equal to nothing, not even to itself.
    """
    return _Reading(value).key


class SameObject:
    """Stands for one object, without keeping it alive; made by `same_object`, equal to itself only."""

    __slots__ = ("_object",)

    def __init__(self, value: Any):
        try:
            # An id alone is not enough: Python gives it to another object once the first one is gone.
            self._object: Any = weakref.ref(value, functools.partial(_stand_ins.pop, id(value)))
        except TypeError:
            # What cannot be referred to weakly is kept: its id then stays its own.
            self._object = value


_stand_ins: dict[int, SameObject] = {}


def same_object(value: Any) -> SameObject:
    """The same stand-in for an object each time, for as long as the object lives."""
    found = _stand_ins.get(id(value))
    if found is None:
        # In one step: another thread may have made one since.
        found = _stand_ins.setdefault(id(value), SameObject(value))
    return found


class _NothingEqual:
    """A key that is equal to no other key."""

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return id(self)


# --- what Keras keeps in a layer and no computation reads ---

_READ_BY_CALL = {"_dtype_policy", "_layers", "_operations", "_supports_masking", "_trainable"}
_BOOKKEEPING = {
    *vars(keras.Model(name="bare")),
    "_compile_config",
    "_compiled_trainable_state",
    "_eval_epoch_iterator",
    "_functional",
    "_inputs",
    "_inputs_struct",
    "_nodes",
    "_nodes_by_depth",
    "_operations_by_depth",
    "_outputs",
    "_outputs_struct",
    "_self_name_based_restores",
    "_self_saveable_object_factories",
    "_self_unconditional_checkpoint_dependencies",
    "_self_unconditional_deferred_dependencies",
    "_self_unconditional_dependency_names",
    "_self_update_uid",
    "history",
    "optimizer",
    "output_names",
    "stop_evaluating",
    "stop_predicting",
    "stop_training",
} - _READ_BY_CALL

# The models of tf_keras have two of their own, which never equal themselves.
_BOOKKEEPING_OF_MODULES = {*vars(tf.Module(name="bare")), "_metrics_lock", "_compiled_trainable_state"}

# Classes whose code reads no attribute but those that Keras keeps.
_PLAIN_BASES = {*keras.Model.__mro__}
# What Keras calls of a layer while a model is traced.
_CALLED_BY_KERAS = {"call", "compute_mask", "__call__", "quantized_call"}
# Keras' own layers read these while they are built or trained.
_OF_TRAINING = ("_initializer", "_regularizer", "_constraint")


@functools.lru_cache(maxsize=1024)
def _attributes_of(
    names: tuple[str, ...], is_own: bool
) -> tuple[tuple[str, ...], Callable[[dict[str, Any]], tuple[Any, ...]]]:
    """Those of the names in a layer that a computation may read, and what gets their values.

    Args:
        names: of all attributes.
        is_own: whether the layer is the user's: its computation may read anything.
    """
    read = tuple(name for name in names if name not in _BOOKKEEPING and (is_own or not name.endswith(_OF_TRAINING)))
    # Never one alone, which would come without a tuple: every layer has a dtype policy and a list of layers.
    return read, operator.itemgetter(*read)


# --- kinds of values ---

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None), tf.DType})
# A graph reads variables itself, and tensors do not change; the others are written in C and hold nothing.
_BY_IDENTITY = (
    *(keras.Variable, tf.Variable, keras.DTypePolicy),
    *(types.WrapperDescriptorType, types.MethodDescriptorType, types.GetSetDescriptorType, np.ufunc),
)
_MISSING = object()


class _Reading:
    """One reading of a value and of all that can be reached from it."""

    def __init__(self, value: Any):
        self._names: set[str] = set()
        # Objects whose attributes are read under the names that functions contain, with the names already read.
        self._open: list[tuple[int, Any, set[str]]] = []
        self._seen: dict[int, int] = {}
        # Ids are only unique among objects that live.
        self._held: list[Any] = []
        root = self._of(value)
        parts = list(self._attributes())
        self.key: Hashable = (root, *parts) if parts else root

    def _of(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in _PLAIN:
            return kind, value
        read = _reader(kind)
        if read is same_object:
            return read(value)
        if (place := self._seen.get(id(value))) is not None:
            return "again", place
        self._seen[id(value)] = len(self._seen)
        self._held.append(value)
        return read(self, value)

    def _all(self, values: Iterable[Any]) -> tuple[Hashable, ...]:
        return tuple([self._of(each) for each in values])

    def _tensor(self, value: Any) -> Hashable:
        # A tensor of another trace says nothing: this one cannot read it.
        is_known = tf.is_tensor(value) and not tf.is_symbolic_tensor(value)
        return same_object(value) if is_known else "a tensor of another trace"

    def _array(self, value: Any) -> Hashable:
        array = np.asarray(value)
        content = self._of(array.tolist()) if array.dtype.hasobject else array.tobytes()
        return array.shape, array.dtype.str, content

    def _items(self, value: Iterable[Any]) -> Hashable:
        kinds = tuple(map(type, value))
        return type(value), kinds, *(value if _PLAIN.issuperset(kinds) else self._all(value))

    def _pairs(self, value: Any) -> Hashable:
        return type(value), *self._all(itertools.chain.from_iterable(value.items()))

    def _set(self, value: Iterable[Any]) -> Hashable:
        return type(value), frozenset(self._all(value))

    def _partial(self, value: "functools.partial[Any]") -> Hashable:
        return type(value), *self._all((value.func, value.args, value.keywords))

    def _weak(self, value: "weakref.ref[Any]") -> Hashable:
        return type(value), self._of(value())

    def _module(self, value: types.ModuleType) -> Hashable:
        self._leave_open(value)
        return same_object(value)

    def _class(self, kind: type) -> Hashable:
        """A class, with the functions of the user's that can run without being named."""
        own = _own_classes(kind)
        if not own:
            return kind
        self._leave_open(kind)
        names = [name for base in own for name in vars(base)]
        if issubclass(kind, keras.Layer):
            names = [name for name in names if name in _CALLED_BY_KERAS]
        elif {*kind.__mro__} == {object, *own}:
            names = [name for name in names if name.startswith("__")]
        # A class of another library calls whatever a subclass defines.
        members = [inspect.getattr_static(kind, name) for name in names]
        return same_object(kind), *self._all(each for each in members if isinstance(each, types.FunctionType))

    # --- functions ---

    def _function(self, function: types.FunctionType) -> Hashable:
        if is_installed(function.__module__):
            # A wrapper that a library makes of a user's function holds it in a closure or under __wrapped__.
            inside = [function.__dict__.get("__wrapped__"), *_cells(function)]
            return same_object(function.__code__), *self._all(each for each in inside if _may_be_own(each))
        outside, attributes = names_in(function.__code__)
        self._names |= attributes
        known = function.__globals__
        return (
            function.__code__,
            *self._all((function.__defaults__, function.__kwdefaults__, *_cells(function))),
            *((name, self._of(known.get(name, sys.modules.get(name)))) for name in sorted(outside)),
        )

    def _method(self, method: types.MethodType) -> Hashable:
        return self._of(method.__func__), self._of(method.__self__)

    def _builtin(self, method: Any) -> Hashable:
        owner = method.__self__
        return method.__name__, same_object(owner) if isinstance(owner, types.ModuleType) else self._of(owner)

    # --- objects ---

    def _layer(self, layer: keras.Layer) -> Hashable:
        kind, kept = type(layer), vars(layer)
        own = _own_classes(kind)
        if own and {*kind.__mro__} <= {*own, *_PLAIN_BASES}:
            # Its own code alone reads its attributes. Those that are only written, such as an attention kept for later,
            # change nothing.
            self._leave_open(layer)
            self._names |= _CALLED_BY_KERAS
            kept = {name: kept[name] for name in _READ_BY_CALL if name in kept}
        names, read = _attributes_of(tuple(kept), bool(own))
        values = read(kept)
        # This is most of what is read at every call: a plain value is its own key, beside its type.
        kinds = tuple(map(type, values))
        parts = [value if kind in _PLAIN else self._of(value) for kind, value in zip(kinds, values, strict=True)]
        return same_object(layer), self._of(kind) if own else kind, names, kinds, *parts

    def _tf_module(self, value: tf.Module) -> Hashable:
        """A ``tf.Module``, such as a layer of tf_keras: by what its public attributes say, and its own private ones."""
        own = bool(_own_classes(type(value)))
        kept = (name for name in vars(value) if name not in _BOOKKEEPING_OF_MODULES and not name.startswith("_self_"))
        names = sorted(name for name in kept if own or not name.startswith("_"))
        layers = value.submodules if hasattr(type(value), "get_config") else ()
        parts = self._all([*(vars(value)[name] for name in names), *layers])
        return same_object(value), self._of(type(value)), tuple(names), *parts

    def _object(self, value: Any) -> Hashable:
        kind = type(value)
        if dataclass_fields := getattr(kind, "__dataclass_fields__", None):
            fields = ((name, self._of(getattr(value, name, _MISSING))) for name in dataclass_fields)
            return kind, self._of(kind), *fields
        if not is_installed(kind.__module__):
            if {*kind.__mro__} == {object, *_own_classes(kind)}:
                self._leave_open(value)
                return same_object(value), self._of(kind)
            content = same_object(value) if isinstance(value, threading.local) else self._content(value)
            return kind, self._of(kind), content, self._of(getattr(value, "__dict__", None))
        if isinstance(value, types.SimpleNamespace):
            return kind, self._of(vars(value))
        if (own := getattr(value, "python_function", None)) is not None:
            return same_object(value), self._of(own)
        if kind.__module__.partition(".")[0] in ("keras", "tensorflow", "tf_keras"):
            return same_object(value)
        content = self._content(value)
        if isinstance(content, _NothingEqual) and hasattr(value, "__dict__"):
            # What cannot be pickled, such as a sampler with a generator of random numbers, is what it holds.
            return same_object(value), self._of(vars(value))
        return kind, content

    def _content(self, value: Any) -> Hashable:
        """What pickle would write: all that an object written in C holds."""
        try:
            return pickle.dumps(value)
        except Exception:
            return _NothingEqual()

    def _leave_open(self, value: Any) -> None:
        self._open.append((len(self._open), value, set()))

    def _attributes(self) -> Iterator[Hashable]:
        """The attributes of the open objects under the names that functions contain; new functions add names."""
        progress = True
        while progress:
            progress = False
            for place, value, read in self._open:
                for name in sorted(self._names - read):
                    progress = True
                    read.add(name)
                    found = _static(value, name)
                    if found is not _MISSING:
                        yield place, name, self._of(found)


# How each kind of value is read; the first that fits.
_READERS: list[tuple[Any, Callable[..., Hashable]]] = [
    (_BY_IDENTITY, same_object),
    ((tf.Tensor, keras.KerasTensor), _Reading._tensor),
    (keras.Layer, _Reading._layer),
    (tf.Module, _Reading._tf_module),
    ((np.ndarray, np.generic), _Reading._array),
    ((list, tuple, deque), _Reading._items),
    ((dict, types.MappingProxyType), _Reading._pairs),
    ((set, frozenset), _Reading._set),
    (types.FunctionType, _Reading._function),
    (types.MethodType, _Reading._method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), _Reading._builtin),
    (functools.partial, _Reading._partial),
    (weakref.ReferenceType, _Reading._weak),
    (types.ModuleType, _Reading._module),
    (type, _Reading._class),
    (object, _Reading._object),
]


_reader_of: dict[type, Callable[..., Hashable]] = {}


def _reader(kind: type) -> Callable[..., Hashable]:
    found = _reader_of.get(kind)
    if found is None:
        found = next(read for kinds, read in _READERS if issubclass(kind, kinds))
        # Classes of the user's come and go with what they hold.
        if is_installed(kind.__module__):
            _reader_of[kind] = found
    return found


def _static(value: Any, name: str) -> Any:
    """An attribute without running a property; the functions of a property are attributes themselves."""
    if isinstance(value, types.ModuleType):
        return vars(value).get(name, _MISSING)
    if isinstance(value, keras.Layer):
        # Its class is read by itself.
        return _MISSING if name in _BOOKKEEPING else vars(value).get(name, _MISSING)
    found = inspect.getattr_static(value, name, _MISSING)
    if isinstance(found, types.MemberDescriptorType):
        return getattr(value, name, _MISSING)
    if isinstance(found, property):
        return [found.fget]
    if isinstance(found, classmethod | staticmethod):
        return found.__func__
    return found


def _cells(function: types.FunctionType) -> list[Any]:
    """The variables of a closure; an empty one is missing."""
    return [_content(cell) for cell in function.__closure__ or ()]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _may_be_own(value: Any) -> bool:
    return callable(value) and not isinstance(value, type)


class _Names(NamedTuple):
    """The names in code, also in the lambdas and comprehensions within it.

    Attributes:
        outside: what it reads from its module.
        attributes: what it reads of objects; texts count, for ``getattr``. An attribute that is only written, such as
            the attention kept for later, is none.
    """

    outside: frozenset[str]
    attributes: frozenset[str]


@functools.lru_cache(maxsize=4096)
def names_in(code: CodeType) -> _Names:
    """The names that code reads, found once."""
    outside, attributes = set(), set()
    for step in dis.get_instructions(code):
        if step.opname in _READS_MODULE:
            outside.add(step.argval)
        elif step.opname in _READS_OBJECT and isinstance(step.argval, str) and step.argval.isidentifier():
            attributes.add(step.argval)
    inner = [names_in(each) for each in code.co_consts if isinstance(each, CodeType)]
    return _Names(
        frozenset(outside).union(*(each.outside for each in inner)),
        frozenset(attributes).union(*(each.attributes for each in inner)),
    )


_READS_MODULE = ("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME")
_READS_OBJECT = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "LOAD_CONST", "IMPORT_FROM")


def _own_classes(kind: type) -> tuple[type, ...]:
    """A class and those that it inherits from, as far as they are the user's."""
    return () if is_installed(kind.__module__) else tuple(c for c in kind.__mro__ if not is_installed(c.__module__))


_PYTHON = map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))
# Packages may lie in folders that Python was told of, such as those of another environment or of ``pip --target``.
_LIBRARIES = (str(Path(inspect.getfile(module)).parent) for module in (keras, np, tf))
_INSTALLED = tuple(f"{place}{os.sep}" for place in {*_PYTHON, *_LIBRARIES, str(Path(__file__).parents[1])})
_OF_PACKAGES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))


@functools.lru_cache(maxsize=4096)
def is_installed(module: str | None) -> bool:
    """Whether a module belongs to Python, to this package, or to another package that pip installed."""
    known = sys.modules.get(module or "")
    if known is None or module == "__main__":
        return False
    file = str(getattr(known, "__file__", None) or _INSTALLED[0])
    return file.startswith(_INSTALLED) or any(place in file for place in _OF_PACKAGES)
