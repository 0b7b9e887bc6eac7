"""MXNet's `.params`: a list of arrays in any of four forms, and the list of their names."""

from __future__ import annotations

import struct

import numpy as np

from keras_resnets.archives.archive import Archive, Tensor
from keras_resnets.archives.files import A_NETWORKS, KINDS, LONGEST_NAME, MOST_DIMENSIONS, MOST_TENSORS, File, told

MAGIC = struct.pack("<Q", 0x112)
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_STORAGE = {1: "row_sparse", 2: "csr"}
_KINDS = dict(enumerate(("float32", "float64", "float16", "uint8", "int32", "int8", "int64")))


class _Reader:
    """Goes through a file number by number."""

    def __init__(self, file: File, at: int):
        self.file, self.at = file, at

    def take(self, form: str, what: str) -> tuple:
        form = f"<{form}"
        values = struct.unpack(form, self.file.read(self.at, struct.calcsize(form), what))
        self.at += struct.calcsize(form)
        return values

    def one(self, form: str, what: str) -> int:
        return self.take(form, what)[0]

    def number(self, what: str, least: int) -> int:
        """How many entries a list has, of which each takes `least` bytes or more."""
        count, left = self.one("Q", f"the number of {what}"), self.file.size - self.at
        if count * least > left:
            self.file.fail(f"is damaged: it is said to have {count:,} {what}, and {left:,} bytes are left for them")
        if count > MOST_TENSORS:
            self.file.fail(f"is no weight file: it has {count:,} {what}", A_NETWORKS)
        return count


def read(file: File) -> Archive:
    """Returns the archive of a `.params` file."""
    reader = _Reader(file, len(MAGIC))
    if reader.one("Q", "its header"):
        file.fail("is damaged: the second word of an MXNet file is 0")
    arrays = [_array(reader, f"array {number}") for number in range(reader.number("arrays", 4))]
    count = reader.number("names", 8)
    if count not in (0, len(arrays)):
        file.fail(f"is damaged: it has {len(arrays):,} arrays and {count:,} names")
    # MXNet saves a list without names.
    names: dict[str, None] = {} if count else dict.fromkeys(map(str, range(len(arrays))))
    for number in range(count):
        length = reader.one("Q", f"the length of name {number}")
        try:
            name = file.read(reader.at, length, f"name {number}", 4 * LONGEST_NAME).decode()
        except UnicodeDecodeError:
            file.fail(f"is damaged: name {number} is no text")
        names[file.name(name, names, number)] = None
        reader.at += length
    if reader.at != file.size:
        file.fail(f"is damaged: it has {file.size - reader.at:,} bytes behind its end")
    return Archive("mxnet", file.path, zip(names, arrays, strict=True), None, file.close)


def _array(reader: _Reader, what: str) -> Tensor:
    file, first = reader.file, reader.one("I", f"the form of {what}")
    if first in (_V2, _V3):
        storage = reader.one("i", f"the storage of {what}")
        if storage:
            kept = _STORAGE.get(storage, f"of the kind {storage}")
            file.fail(f"has {what} in sparse storage, {kept}", "save it dense, with tostype('default')")
    dimensions = first if first < _V1 else reader.one("i" if first == _V3 else "I", f"the dimensions of {what}")
    # Without numpy's semantics an array of no dimension is none; with them it is a number, and -1 stands for none.
    if dimensions == (-1 if first == _V3 else 0):
        return Tensor((0,), np.dtype(np.float32), lambda: np.empty(0, np.float32))
    if not 0 <= dimensions <= MOST_DIMENSIONS or first > _V3:
        file.fail(f"is damaged: {what} is said to have {dimensions:,} dimensions, or to be of a form not known")
    shape = reader.take(f"{dimensions}{'I' if first < _V1 else 'q'}", f"the shape of {what}")
    *_, number = reader.take("iii", f"the type of {what}")
    if number not in _KINDS:
        file.fail(f"has {what} of type number {number}", f"save it as one of {', '.join(_KINDS.values())}")
    tensor = file.tensor(reader.at, shape, KINDS[_KINDS[number]], f"{what}, of shape {told_shape(shape)},")
    reader.at += file.count(shape, what) * KINDS[_KINDS[number]].stored.itemsize
    return tensor


def told_shape(shape: tuple[int, ...]) -> str:
    return told("x".join(map(str, shape)))
