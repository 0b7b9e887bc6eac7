"""MXNet's `.params` files: a list of arrays in one of four formats, and a list of their names."""

from __future__ import annotations

import struct

import numpy as np

from keras_resnets.archives.archive import Archive, Tensor
from keras_resnets.archives.bounded_file import (
    A_NETWORKS,
    ENCODINGS,
    LONGEST_NAME,
    MOST_DIMENSIONS,
    MOST_TENSORS,
    File,
    quote,
)

MAGIC = struct.pack("<Q", 0x112)
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_STORAGE = {1: "row_sparse", 2: "csr"}
_DTYPES = dict(enumerate(("float32", "float64", "float16", "uint8", "int32", "int8", "int64")))


class _Reader:
    """Reads a file's numbers in order."""

    def __init__(self, file: File, at: int):
        self.file, self.at = file, at

    def take(self, form: str, label: str) -> tuple:
        """Reads the numbers of a `struct` format."""
        form = f"<{form}"
        values = struct.unpack(form, self.file.read(self.at, struct.calcsize(form), label))
        self.at += struct.calcsize(form)
        return values

    def take_one(self, form: str, label: str) -> int:
        return self.take(form, label)[0]

    def take_count(self, label: str, least: int) -> int:
        """Reads the length of a list whose entries take at least `least` bytes each."""
        count, left = self.take_one("Q", f"the number of {label}"), self.file.size - self.at
        if count * least > left:
            self.file.fail(f"is damaged: it is said to have {count:,} {label}, and {left:,} bytes are left for them")
        if count > MOST_TENSORS:
            self.file.fail(f"is not a weight file: it has {count:,} {label}", A_NETWORKS)
        return count


def read(file: File) -> Archive:
    """Returns the archive of a `.params` file."""
    reader = _Reader(file, len(MAGIC))
    if reader.take_one("Q", "its header"):
        file.fail("is damaged: the second word of an MXNet file is 0")
    arrays = [_read_array(reader, f"array {number}") for number in range(reader.take_count("arrays", 4))]
    count = reader.take_count("names", 8)
    if count not in (0, len(arrays)):
        file.fail(f"is damaged: it has {len(arrays):,} arrays and {count:,} names")
    # MXNet also saves lists without names.
    names: dict[str, None] = {} if count else dict.fromkeys(map(str, range(len(arrays))))
    for number in range(count):
        length = reader.take_one("Q", f"the length of name {number}")
        try:
            name = file.read(reader.at, length, f"name {number}", 4 * LONGEST_NAME).decode()
        except UnicodeDecodeError:
            file.fail(f"is damaged: name {number} is not UTF-8 text")
        names[file.check_name(name, names, number)] = None
        reader.at += length
    if reader.at != file.size:
        file.fail(f"is damaged: it has {file.size - reader.at:,} bytes behind its end")
    return Archive("mxnet", file.path, zip(names, arrays, strict=True), None, file.close)


def _read_array(reader: _Reader, label: str) -> Tensor:
    """Reads an array's header, and moves behind the array."""
    file, first = reader.file, reader.take_one("I", f"the form of {label}")
    if first in (_V2, _V3):
        storage = reader.take_one("i", f"the storage of {label}")
        if storage:
            storage_type = _STORAGE.get(storage, f"of the kind {storage}")
            file.fail(f"has {label} in sparse storage, {storage_type}", "save it dense, with tostype('default')")
    dimensions = first if first < _V1 else reader.take_one("i" if first == _V3 else "I", f"the dimensions of {label}")
    # An absent array has 0 dimensions, or -1 in the newest format, whose arrays of 0 dimensions are scalars.
    if dimensions == (-1 if first == _V3 else 0):
        return Tensor((0,), np.dtype(np.float32), lambda: np.empty(0, np.float32))
    if not 0 <= dimensions <= MOST_DIMENSIONS or first > _V3:
        file.fail(f"is damaged: {label} is said to have {dimensions:,} dimensions, or to be of an unknown form")
    shape = reader.take(f"{dimensions}{'I' if first < _V1 else 'q'}", f"the shape of {label}")
    *_, dtype_number = reader.take("iii", f"the type of {label}")
    if dtype_number not in _DTYPES:
        file.fail(f"has {label} of type number {dtype_number}", f"save it as one of {', '.join(_DTYPES.values())}")
    encoding = ENCODINGS[_DTYPES[dtype_number]]
    tensor = file.tensor(reader.at, shape, encoding, f"{label}, of shape {_quote_shape(shape)},")
    reader.at += file.count_numbers(shape, label) * encoding.stored.itemsize
    return tensor


def _quote_shape(shape: tuple[int, ...]) -> str:
    """Formats a shape for an error message."""
    return quote("x".join(map(str, shape)))
