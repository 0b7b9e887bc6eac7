"""MXNet's `.params` files, in the four forms that arrays have had (papers.md 8.2)."""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from keras_resnets.weights.archive import MOST_ARRAYS, MOST_AXES, MOST_NAME, Archive, Tensor, elements, name_of, refuse

MAGIC = struct.pack("<Q", 0x112)
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
TYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")


def open_file(path: Path) -> Archive:
    """Opens a `.params` file; names keep their `arg:` and `aux:`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        _, _, count = _take(path, file, "QQQ")
        if count > MOST_ARRAYS:
            raise refuse(path, f"it claims {count:,} arrays")
        tensors = [_array(path, file, size) for _ in range(count)]
        (named,) = _take(path, file, "Q")
        if named != count:
            raise refuse(path, f"it has {count} arrays and claims {named} names")
        found = {}
        for tensor in tensors:
            (length,) = _take(path, file, "Q")
            if length > MOST_NAME:
                raise refuse(path, f"a name claims {length:,} bytes")
            name = name_of(path, file.read(length).decode("utf-8"))
            if name in found:
                raise refuse(path, f"it has two arrays of the name {name[:80]!r}")
            found[name] = tensor
    return Archive("mxnet", path, {name: tensor for name, tensor in found.items() if tensor is not None})


def _take(path: Path, file: BinaryIO, form: str) -> tuple:
    """Reads numbers; the format is little-endian."""
    data = file.read(struct.calcsize(f"<{form}"))
    if len(data) < struct.calcsize(f"<{form}"):
        raise refuse(path, "it ends in the middle")
    return struct.unpack(f"<{form}", data)


def _array(path: Path, file: BinaryIO, size: int) -> Tensor | None:
    """Reads one array up to its numbers, and goes past them; None for an empty one."""
    (first,) = _take(path, file, "I")
    wide = first in (V1, V2, V3)
    if first in (V2, V3):
        (storage,) = _take(path, file, "i")
        if storage != 0:
            kind = {1: "row-sparse", 2: "compressed sparse row"}.get(storage, f"unknown ({storage})")
            raise refuse(path, f"an array is stored in the form {kind}; save it as a dense one")
    axes = _take(path, file, "i" if first == V3 else "I")[0] if wide else first
    # Nothing is behind the shape of an empty array; in the newest form, one without axes is a single number.
    if axes == (-1 if first == V3 else 0):
        return None
    if not 0 <= axes <= MOST_AXES:
        raise refuse(path, f"an array claims {axes:,} axes")
    shape = _take(path, file, f"{axes}{'q' if wide else 'I'}")
    _, _, number = _take(path, file, "iii")
    if not 0 <= number < len(TYPES):
        raise refuse(path, f"an array is of the type {number}, which is none of {', '.join(TYPES)}")
    dtype, start = np.dtype(TYPES[number]).newbyteorder("<"), file.tell()
    count = elements(path, "(its name follows)", shape, (size - start) // dtype.itemsize)
    file.seek(count * dtype.itemsize, 1)
    return Tensor(shape, dtype, functools.partial(read_at, path, start, dtype, shape))


def read_at(path: Path, start: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Reads an array that lies in one piece."""
    count = int(np.prod(shape, dtype="int64"))
    with path.open("rb") as file:
        file.seek(start)
        data = np.fromfile(file, dtype, count)
    if len(data) != count:
        raise refuse(path, "it ends in the middle")
    return data.reshape(shape)
