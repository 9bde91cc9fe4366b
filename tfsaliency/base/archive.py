"""A ``.npz`` file of arrays and one record in JSON that finds its own damage.

The arrays are readable with `numpy.load`. The record stands among them as text, and holds the dtype, the shape and the
SHA-256 of each array, and the SHA-256 of itself. A file may come from anywhere: its sizes are compared with each other
before an array is read.
"""

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

# Bytes that hold any header of an array of at most 64 axes.
HEADER = 4096
# Bytes of a record: four for each character, as NumPy keeps text.
RECORD = 2**24
# Deflate makes no more than 1032 bytes of one.
DEFLATE = 1032
ENCRYPTED = 1


@dataclass(frozen=True)
class Header:
    """What a file says about one array before its numbers are read."""

    member: zipfile.ZipInfo
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Any


def write(file: IO[bytes], record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by their names, and a record that JSON can hold.

    Raises:
        ValueError: an array holds Python objects, or the record is too long.
    """
    for name, array in arrays.items():
        if not _plain(array.dtype):
            raise ValueError(f"Only arrays of numbers or text can be written. Received: {array.dtype} for {name!r}")
    described = {**record, "arrays": {name: _described(array) for name, array in arrays.items()}}
    # The checksum is of what comes back: JSON has no tuples and no keys but text.
    described = json.loads(json.dumps(described))
    text = np.array(json.dumps({**described, "sha256": _checksum(described)}))
    if text.nbytes > RECORD - HEADER:
        raise ValueError(f"A record has at most {(RECORD - HEADER) // 4} characters. Received: {text.nbytes // 4}")
    named: dict[str, Any] = {"record": text, **arrays}
    np.savez_compressed(file, **named)


class Archive:
    """The arrays and the record of an open file. Only the record is read at first.

    Attributes:
        record: the record, a dict.
        headers: name -> shape and dtype of each array.

    Raises:
        ValueError: the file is damaged, its sizes contradict each other, or it has no record. A damaged zip file can
            raise almost any other error.
    """

    def __init__(self, file: IO[bytes]):
        self._zip = zipfile.ZipFile(file)
        members = _members(self._zip.infolist(), file.seek(0, os.SEEK_END))
        if "record" not in members:
            raise ValueError("it has no record")
        if members["record"].file_size > RECORD:
            raise ValueError(f"its record has {members['record'].file_size} bytes, and at most {RECORD} are read")
        self.headers = {name: self._header(name, member) for name, member in members.items()}
        record = json.loads(str(self._array("record", self.headers.pop("record"))))
        if not isinstance(record, dict):
            raise ValueError(f"its record is of type {type(record).__name__}, and not a dict")
        self.record: dict[str, Any] = record

    def check_record(self) -> None:
        """Compares the record with its checksum, and the headers with the record.

        Raises:
            ValueError: something has changed since `write`, or was not written by it.
        """
        record = dict(self.record)
        if record.pop("sha256", None) != _checksum(record):
            raise ValueError("its record has changed since it was written")
        described = record["arrays"]
        for name in sorted(described.keys() ^ self.headers.keys()):
            raise ValueError(f"the array {name!r} is {'missing' if name in described else 'not in its record'}")
        for name, header in self.headers.items():
            given = [header.dtype.str, list(header.shape)]
            written = [described[name]["dtype"], described[name]["shape"]]
            if given != written:
                raise ValueError(f"the array {name!r} has changed: it is {given}, and its record says {written}")

    def array(self, name: str, *, checked: bool) -> np.ndarray:
        """Reads one array, read-only.

        Args:
            name: a key of `headers`.
            checked: whether the record holds checksums.

        Raises:
            ValueError: the array is damaged, or it is not the one that was written.
        """
        array = self._array(name, self.headers[name])
        if checked and self.record["arrays"][name]["sha256"] != _described(array)["sha256"]:
            raise ValueError(f"the array {name!r} has changed since it was written")
        return array

    def _header(self, name: str, member: zipfile.ZipInfo) -> Header:
        with _telling(name), self._zip.open(member) as stream:
            head = BytesIO(stream.read(HEADER))
            shape, fortran, dtype = _read_header(head)
            if not _plain(dtype):
                raise ValueError(f"its dtype is {dtype}, and only numbers and text are read")
            header = Header(member, head.tell(), shape, dtype, "F" if fortran else "C")
            claimed = header.offset + prod(shape) * dtype.itemsize
            if min(shape, default=0) < 0 or claimed != member.file_size:
                raise ValueError(f"its header claims {claimed} bytes, and it has {member.file_size}")
            return header

    def _array(self, name: str, header: Header) -> np.ndarray:
        with _telling(name), self._zip.open(header.member) as stream:
            # The bytes are not copied, and cannot be written to.
            content = stream.read()
            return np.ndarray(header.shape, header.dtype, content, header.offset, order=header.order)


def _members(entries: list[zipfile.ZipInfo], length: int) -> dict[str, zipfile.ZipInfo]:
    """The arrays of a zip file of ``length`` bytes by their names, none larger than those bytes can hold."""
    members = {entry.filename.removesuffix(".npy"): entry for entry in entries}
    if len(members) < len(entries):
        raise ValueError("two of its arrays have the same name")
    # NumPy writes none. A damaged length makes a comment of the entry after it, and that array is gone.
    if any(entry.comment for entry in entries):
        raise ValueError("its directory has comments")
    if sum(entry.compress_size for entry in entries) > length:
        raise ValueError("its arrays claim more bytes than the file has")
    most = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: DEFLATE}
    for name, entry in members.items():
        if entry.flag_bits & ENCRYPTED:
            raise ValueError(f"the array {name!r} is encrypted")
        if entry.compress_type not in most:
            raise ValueError(f"the array {name!r} is compressed by method {entry.compress_type}, which is not read")
        if entry.file_size > most[entry.compress_type] * entry.compress_size:
            raise ValueError(
                f"the array {name!r} claims {entry.file_size} bytes, more than {entry.compress_size} can hold"
            )
    return members


def _read_header(head: BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first axis moves fastest, and dtype."""
    version = npy.read_magic(head)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"its header has version {version}")
    try:
        # A damaged header is read as a Python literal, which warns about what it looks like.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(head)
    except Exception as error:
        raise ValueError("its header is no header of an array") from error


def _plain(dtype: np.dtype[Any]) -> bool:
    """Whether an array of this dtype is numbers or text: neither objects, which are pickled, nor fields."""
    return not dtype.hasobject and dtype.names is None and dtype.subdtype is None


def _described(array: np.ndarray) -> dict[str, Any]:
    # A dtype of another library, such as bfloat16, comes back as bytes without a meaning.
    dtype = npy.descr_to_dtype(npy.dtype_to_descr(array.dtype))
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return {"dtype": dtype.str, "shape": array.shape, "sha256": hashlib.sha256(content.data).hexdigest()}


def _checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()


@contextmanager
def opened(path: Path, what: str) -> Iterator[Archive]:
    """Opens a file for reading.

    Args:
        path: of the file.
        what: is to be read, for the message of every error that is raised while the file is open.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        ValueError: anything else is wrong.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder or a device")
        with open(path, "rb") as file:
            yield Archive(file)
    except (FileNotFoundError, PermissionError):
        raise
    # Bytes from anywhere make zipfile, zlib, json and NumPy raise almost everything.
    except Exception as error:
        raise ValueError(f"{path} does not hold {what} that this version reads: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What an error says, or its type: a MemoryError says nothing."""
    return str(error) or type(error).__name__


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Names the array in every error about it: ``zipfile`` and ``zlib`` raise errors of many types and name none."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"the array {name!r} is damaged: {_reason(error)}") from error
