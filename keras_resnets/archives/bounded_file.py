"""`File`: an untrusted file, in which every read is checked against the file's size and against limits first."""

from __future__ import annotations

import functools
import json
import math
import os
import stat
import weakref
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from keras_resnets.archives.archive import Tensor, WeightFileError

# The deepest network of the papers, resnet1202, has some 7,200 arrays, and its optimiser as many again.
MOST_TENSORS = 50_000
MOST_DIMENSIONS = 32
LONGEST_NAME = 1000
# An empty list takes three bytes of JSON and eighty of memory, so both the length of a text and its parts are limited.
LONGEST_TEXT = 16 << 20
_MOST_PARTS = 1_000_000
FETCH, A_NETWORKS = "fetch it again", "give one of a network"


@dataclass(frozen=True)
class Encoding:
    """How numbers are stored in a file: their dtype there, the dtype they are read as, and the conversion."""

    stored: np.dtype
    dtype: np.dtype
    convert: Callable[[np.ndarray], np.ndarray]


def _little_endian(name: str) -> Encoding:
    dtype = np.dtype(name)
    return Encoding(dtype.newbyteorder("<"), dtype, lambda array: array.astype(dtype, copy=False))


def _bfloat16_to_float32(array: np.ndarray) -> np.ndarray:
    # NumPy 1 makes 64 bits of a single number and a Python integer.
    return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)


_LITTLE_ENDIAN = (
    "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8",
)  # fmt: skip
ENCODINGS = {name: _little_endian(name) for name in _LITTLE_ENDIAN} | {
    "bfloat16": Encoding(np.dtype("<u2"), np.dtype(np.float32), _bfloat16_to_float32),
    "bool": Encoding(np.dtype(np.uint8), np.dtype(np.bool_), lambda array: array != 0),
}


class File:
    """A file that is open for reading.

    The argument `label` of its methods names the part of the file in error messages.

    Args:
        path: the file's path.
        descriptor: an open descriptor to read instead; it is closed with the file.

    Raises:
        WeightFileError: the file is missing, not a regular file, empty, or may not be read.
    """

    def __init__(self, path: str | os.PathLike, descriptor: int | None = None):
        self.path = Path(path)
        try:
            # Without O_NONBLOCK, opening a pipe without a writer would block forever.
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK) if descriptor is None else descriptor
        except FileNotFoundError:
            raise WeightFileError(f"There is no weight file at {str(self.path)!r}; check the path.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise WeightFileError(f"{quote_path(self.path)} cannot be opened: {reason}; check the path.") from None
        self.close = weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.fail(f"is a {'folder' if stat.S_ISDIR(status.st_mode) else 'device'}", "give a file")
        if not self.size:
            self.fail("is empty")

    def fail(self, problem: str, remedy: str = FETCH) -> NoReturn:
        """Raises `WeightFileError` with the file, the problem and the remedy."""
        raise WeightFileError(f"{quote_path(self.path)} {problem}; {remedy}.")

    def check_range(self, offset: int, count: int, label: str) -> None:
        """Raises unless the file has `count` bytes at `offset`."""
        if offset < 0 or count < 0 or offset + count > self.size:
            self.fail(f"is damaged: {label} is said to be {quote(count)} bytes at {quote(offset)} of {self.size:,}")

    def read(self, offset: int, count: int, label: str, most: int | None = None) -> bytes:
        """Reads exactly these bytes; raises if they are more than `most`."""
        self.check_range(offset, count, label)
        if most is not None and count > most:
            self.fail(f"is not a weight file: {label} has {count:,} bytes, where {most:,} are allowed", A_NETWORKS)
        return self._read_into(np.empty(count, np.uint8), offset).tobytes()

    def _read_into(self, array: np.ndarray, offset: int) -> np.ndarray:
        if not self.close.alive:
            raise WeightFileError(f"{quote_path(self.path)} was closed; read its arrays inside the with block.")
        view, done = array.view(np.uint8).data, 0
        while done < len(view):
            try:
                count = os.preadv(self._descriptor, [view[done : done + (1 << 30)]], offset + done)
            except OSError as error:
                self.fail(f"cannot be read: {error.strerror}")
            if not count:
                self.fail("was cut while it was read")
            done += count
        return array

    def read_numbers(self, offset: int, count: int, encoding: Encoding, label: str) -> np.ndarray:
        """Reads `count` contiguous numbers, without conversion."""
        self.check_range(offset, count * encoding.stored.itemsize, label)
        return self._read_into(np.empty(count, encoding.stored), offset)

    def tensor(self, offset: int, shape: tuple[int, ...], encoding: Encoding, label: str) -> Tensor:
        """Returns a contiguous array of the file, without reading it yet."""
        self.check_range(offset, self.count_numbers(shape, label) * encoding.stored.itemsize, label)
        return Tensor(shape, encoding.dtype, functools.partial(self._read_array, offset, shape, encoding, label))

    def _read_array(self, offset: int, shape: tuple[int, ...], encoding: Encoding, label: str) -> np.ndarray:
        return encoding.convert(self.read_numbers(offset, math.prod(shape), encoding, label)).reshape(shape)

    def count_numbers(self, shape: tuple[int, ...], label: str) -> int:
        """Returns the number of elements of an array; raises for an invalid shape."""
        if len(shape) > MOST_DIMENSIONS:
            self.fail(f"is damaged: {label} has {len(shape):,} dimensions, where {MOST_DIMENSIONS} are allowed")
        for side in shape:
            # Each side is limited on its own: if one is 0, the product does not limit the others.
            if isinstance(side, bool) or not isinstance(side, int) or not 0 <= side < 1 << 48:
                self.fail(f"is damaged: {label} has a side of {quote(side)}")
        # NumPy refuses such a shape although a side of 0 makes it empty.
        if 0 in shape and (others := math.prod(side or 1 for side in shape)) >= 1 << 48:
            self.fail(f"is damaged: {label} is empty, and its other sides make {quote(others)}")
        return math.prod(shape)

    def check_name(self, name: str, taken: Container[str], number: int) -> str:
        """Returns the name of the file's array `number`; raises if it is too long or taken, or there are too many."""
        if number > MOST_TENSORS:
            self.fail(f"is not a weight file: it has more than {MOST_TENSORS:,} arrays", A_NETWORKS)
        if len(name) > LONGEST_NAME:
            self.fail(f"is damaged: the name {quote(name)} has {len(name):,} characters")
        if name in taken:
            self.fail(f"is damaged: it has two arrays of the name {quote(name)}")
        return name

    def parse_json(self, text: bytes, label: str) -> dict[str, Any]:
        """Parses a JSON object; raises if a key occurs twice in an object."""
        parts = sum(text.count(sign) for sign in b"[{,")
        if parts > _MOST_PARTS:
            problem = f"is not a weight file: {label} has {parts:,} parts, where {_MOST_PARTS:,} are allowed"
            self.fail(problem, A_NETWORKS)
        try:
            value = json.loads(text.decode(), object_pairs_hook=self._refuse_duplicates)
        except WeightFileError:
            raise
        except (ValueError, RecursionError):
            self.fail(f"is damaged: {label} is not JSON")
        if not isinstance(value, dict):
            self.fail(f"is damaged: {label} is not a JSON object")
        return value

    def _refuse_duplicates(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            self.fail("is damaged: its JSON has a name twice in one object")
        return values


def quote(value: object, most: int = 80) -> str:
    """Formats a value from a file for an error message: printable, and at most about `most` characters."""
    if isinstance(value, str):
        text = repr(value[:most])
    elif isinstance(value, bool | None):
        text = repr(value)
    elif isinstance(value, int | float):
        text = f"{value:.6g}" if isinstance(value, float) else hex(value) if abs(value) >> 64 else f"{value:,}"
    else:
        text = f"a {type(value).__name__}"
    return text if len(text) <= most + 2 else f"{text[:most]}..."


def quote_path(path: Path) -> str:
    """Formats a path for an error message."""
    return repr(str(path))
