"""Reads the weight files that PyTorch wrote before its zip format, without PyTorch.

Such a file is a row of pickles (magic number, protocol, machine, state dictionary, storage keys) followed by
the raw storages. A pickle can call anything it can name, so the unpickler here knows four names and refuses the rest.
"""

import collections
import pickle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


class _View(NamedTuple):
    """A tensor as the pickle describes it: a strided view, in elements, into a storage that comes later."""

    storage: tuple[str, np.dtype]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _view(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> _View:
    return _View(storage, offset, shape, strides)


_KNOWN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"The weight file asks for {module}.{name}, which is neither a tensor nor a dictionary. "
                "It is not a plain file of weights: do not load it."
            ) from None

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype]:
        _, dtype, key, *_ = pid
        return key, dtype


def load_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a legacy PyTorch weight file.

    Args:
        path: the ``.pth`` file.

    Returns:
        Parameter name -> array, float32 or int64.

    Raises:
        ValueError: the file is not in the legacy format.
        pickle.UnpicklingError: the pickle names anything but tensors and dictionaries.
    """
    with open(path, "rb") as file:
        magic, _, machine = (_Unpickler(file).load() for _ in range(3))
        if magic != MAGIC_NUMBER or not machine["little_endian"]:
            raise ValueError(f"Expected a legacy little-endian PyTorch file. Received: {path}")
        views: dict[str, _View] = _Unpickler(file).load()
        dtypes = dict(view.storage for view in views.values())
        storages = {key: _read_storage(file, dtypes[key]) for key in _Unpickler(file).load()}
    return {name: _to_array(view, storages) for name, view in views.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype) -> np.ndarray:
    count = int(np.frombuffer(file.read(8), "<i8")[0])
    return np.frombuffer(file.read(count * dtype.itemsize), dtype)


def _to_array(view: _View, storages: dict[str, np.ndarray]) -> np.ndarray:
    storage = storages[view.storage[0]]
    # numpy checks nothing here, and a view that leaves its storage would read foreign memory.
    last = view.offset + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    if min(view.offset, *view.strides, 0) < 0 or last >= storage.size:
        raise ValueError(f"A tensor of shape {view.shape} does not fit its storage of {storage.size} numbers.")
    strides = [stride * storage.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, strides, writeable=False)
