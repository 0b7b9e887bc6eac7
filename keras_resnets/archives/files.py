"""`File`: a file that nobody vouches for, read at places that are checked against its size first."""

from __future__ import annotations

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

# The deepest network of the papers, resnet1202, has some 7,200 arrays, and an optimiser as many again.
MOST_TENSORS = 50_000
MOST_DIMENSIONS = 32
LONGEST_NAME = 1000
# A list of nothing takes three bytes of JSON and eighty of memory, so text is bounded by its length and by its parts.
LONGEST_TEXT = 16 << 20
_MOST_PARTS = 1_000_000
FETCH, A_NETWORKS = "fetch it again", "give one of a network"


@dataclass(frozen=True)
class Kind:
    """How numbers lie in a file: their type there, the type they are read as, and the way from one to the other."""

    stored: np.dtype
    dtype: np.dtype
    convert: Callable[[np.ndarray], np.ndarray]


def _plain(name: str) -> Kind:
    dtype = np.dtype(name)
    return Kind(dtype.newbyteorder("<"), dtype, lambda array: array.astype(dtype, copy=False))


def _widened(array: np.ndarray) -> np.ndarray:
    return (array.astype(np.uint32) << 16).view(np.float32)


_PLAIN = (
    "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8",
)  # fmt: skip
KINDS = {name: _plain(name) for name in _PLAIN} | {
    "bfloat16": Kind(np.dtype("<u2"), np.dtype(np.float32), _widened),
    "bool": Kind(np.dtype(np.uint8), np.dtype(np.bool_), lambda array: array != 0),
}


class File:
    """A file that is open for reading.

    Args:
        path: where it is.
        descriptor: an open descriptor to read instead, which is closed with the file.

    Raises:
        WeightFileError: it is missing, no ordinary file, empty, or may not be read.
    """

    def __init__(self, path: str | os.PathLike, descriptor: int | None = None):
        self.path = Path(path)
        try:
            # A pipe without a writer would never open.
            self._at = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK) if descriptor is None else descriptor
        except FileNotFoundError:
            raise WeightFileError(f"There is no weight file at {str(self.path)!r}; check the path.") from None
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or error
            raise WeightFileError(f"{told_path(self.path)} cannot be opened: {told}; check the path.") from None
        self.close = weakref.finalize(self, os.close, self._at)
        found = os.fstat(self._at)
        self.size = found.st_size
        if not stat.S_ISREG(found.st_mode):
            self.fail(f"is a {'folder' if stat.S_ISDIR(found.st_mode) else 'device'}", "give a file")
        if not self.size:
            self.fail("is empty")

    def fail(self, wrong: str, remedy: str = FETCH) -> NoReturn:
        """Raises the sentence that says what is wrong, and what to do."""
        raise WeightFileError(f"{told_path(self.path)} {wrong}; {remedy}.")

    def check(self, offset: int, count: int, what: str) -> None:
        """Refuses bytes that the file does not have."""
        if offset < 0 or count < 0 or offset + count > self.size:
            self.fail(f"is damaged: {what} is said to be {told(count)} bytes at {told(offset)} of {self.size:,}")

    def read(self, offset: int, count: int, what: str, most: int | None = None) -> bytes:
        """Reads exactly these bytes; refuses more than `most`."""
        self.check(offset, count, what)
        if most is not None and count > most:
            self.fail(f"is no weight file: {what} has {count:,} bytes, where {most:,} are allowed", A_NETWORKS)
        return self._filled(np.empty(count, np.uint8), offset).tobytes()

    def _filled(self, array: np.ndarray, offset: int) -> np.ndarray:
        if not self.close.alive:
            raise WeightFileError(f"{told_path(self.path)} was closed; read its arrays inside the with block.")
        view, done = array.view(np.uint8).data, 0
        while done < len(view):
            try:
                got = os.preadv(self._at, [view[done : done + (1 << 30)]], offset + done)
            except OSError as error:
                self.fail(f"cannot be read: {error.strerror}")
            if not got:
                self.fail("was cut while it was read")
            done += got
        return array

    def numbers(self, offset: int, count: int, kind: Kind, what: str) -> np.ndarray:
        """Reads `count` numbers, in a row and as they are stored."""
        self.check(offset, count * kind.stored.itemsize, what)
        return self._filled(np.empty(count, kind.stored), offset)

    def tensor(self, offset: int, shape: tuple[int, ...], kind: Kind, what: str) -> Tensor:
        """An array that lies in a row; nothing of it is read yet."""
        count = self.count(shape, what)
        self.check(offset, count * kind.stored.itemsize, what)
        return Tensor(shape, kind.dtype, lambda: kind.convert(self.numbers(offset, count, kind, what)).reshape(shape))

    def count(self, shape: tuple[int, ...], what: str) -> int:
        """How many numbers an array has; refuses shapes that are none."""
        if len(shape) > MOST_DIMENSIONS:
            self.fail(f"is damaged: {what} has {len(shape):,} dimensions, where {MOST_DIMENSIONS} are allowed")
        for side in shape:
            # Where one side is 0, the others would be bounded by nothing.
            if isinstance(side, bool) or not isinstance(side, int) or not 0 <= side < 1 << 48:
                self.fail(f"is damaged: {what} has a side of {told(side)}")
        return math.prod(shape)

    def name(self, name: str, taken: Container[str], number: int) -> str:
        """Refuses an array's name that is long, or that another one has, and one array too many."""
        if number > MOST_TENSORS:
            self.fail(f"is no weight file: it has more than {MOST_TENSORS:,} arrays", A_NETWORKS)
        if len(name) > LONGEST_NAME:
            self.fail(f"is damaged: the name {told(name)} has {len(name):,} characters")
        if name in taken:
            self.fail(f"is damaged: it has two arrays of the name {told(name)}")
        return name

    def json(self, text: bytes, what: str) -> dict[str, Any]:
        """Returns what JSON says, which must be an object without a name twice."""
        parts = sum(text.count(sign) for sign in b"[{,")
        if parts > _MOST_PARTS:
            self.fail(f"is no weight file: {what} has {parts:,} parts, where {_MOST_PARTS:,} are allowed", A_NETWORKS)
        try:
            found = json.loads(text.decode(), object_pairs_hook=self._once)
        except WeightFileError:
            raise
        except (ValueError, RecursionError):
            self.fail(f"is damaged: {what} is no JSON")
        if not isinstance(found, dict):
            self.fail(f"is damaged: {what} is no JSON object")
        return found

    def _once(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self.fail("is damaged: its JSON has a name twice in one object")
        return found


def told(value: object, most: int = 80) -> str:
    """Something out of a file, fit for a sentence: printable, and short."""
    if isinstance(value, str):
        text = repr(value[:most])
    elif isinstance(value, bool | None):
        text = repr(value)
    elif isinstance(value, int | float):
        text = f"{value:.6g}" if isinstance(value, float) else hex(value) if abs(value) >> 64 else f"{value:,}"
    else:
        text = f"a {type(value).__name__}"
    return text if len(text) <= most + 2 else f"{text[:most]}..."


def told_path(path: Path) -> str:
    return repr(str(path))
