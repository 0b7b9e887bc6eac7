"""PyTorch's files, in the zip format (1.6 and later) and the older one; neither torch nor pickle is used."""

from __future__ import annotations

import collections
import functools
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from keras_resnets.archives import pickles, zips
from keras_resnets.archives.archive import Archive, Tensor
from keras_resnets.archives.bounded_file import ENCODINGS, MOST_DIMENSIONS, Encoding, File, quote

# The number that begins a file written before 1.6, as pickle writes it.
MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
_PROTOCOL = 1001
_STORAGES = {
    "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Int": "int32",
    "Long": "int64", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
}  # fmt: skip
_REBUILT = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_PARAMETER = "torch._utils._rebuild_parameter"
_NUMPY = (
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode",
)  # fmt: skip
# What else `torch.load(weights_only=True)` lets stand beside weights; none of it is a tensor.
_BESIDE = (
    "collections.Counter", "torch.device", "torch.serialization._get_layout",
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("set", "bytearray", "complex")),
)  # fmt: skip
_DTYPES = (
    "float16", "float32", "float64", "half", "float", "double", "bfloat16", "int8", "int16", "int32", "int64", "short",
    "int", "long", "uint8", "uint16", "uint32", "uint64", "bool", "complex32", "complex64", "complex128",
)  # fmt: skip
_ALLOWED = frozenset(
    {*(f"torch.{name}Storage" for name in _STORAGES), *_REBUILT, _PARAMETER, *_NUMPY, *_BESIDE}
    | {"collections.OrderedDict", "torch.Size", *(f"torch.{name}" for name in _DTYPES)}
)
_LONGEST_TEXT = 200
_MOST_DEPTH, _MOST_ENTRIES = 32, 200_000


@dataclass
class _Storage:
    """Contiguous numbers that tensors share; in the older format, its offset is known only after the pickles."""

    encoding: Encoding
    count: int
    member: zips.Member | None = None
    offset: int = 0
    is_checked: bool = False


@dataclass(frozen=True)
class _View:
    """A tensor: a strided view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Objects:
    """Gives values to the names and identifiers in a torch pickle, and collects its tensors."""

    def __init__(self, file: File, storages: dict[str, zips.Member] | None):
        self.file, self.members = file, storages
        self.storages: dict[str, _Storage] = {}
        self.entries = 0
        self.rules = pickles.Rules(_ALLOWED, self._call, self._load_storage)

    def _call(self, name: str, arguments: tuple) -> object:
        if name == "collections.OrderedDict":
            return self._ordered_dict(*arguments)
        if name == "torch.Size":
            (sizes,) = arguments
            is_size = isinstance(sizes, list | tuple) and len(sizes) <= MOST_DIMENSIONS
            return tuple(sizes) if is_size else self._fail_invalid("size")
        if name in _REBUILT:
            return self._make_view(*arguments[:4])
        if name == _PARAMETER:
            view, *_ = arguments
            return view if isinstance(view, _View) else self._fail_invalid("parameter")
        if name in _NUMPY or name in _BESIDE:
            return pickles.Ignored()
        self.file.fail(f"cannot be read: its pickle calls {quote(name)}", "save its state_dict alone")

    def _fail_invalid(self, label: str) -> NoReturn:
        self.file.fail(f"is damaged: its pickle has an invalid {label}")

    def _ordered_dict(self, pairs: object = ()) -> collections.OrderedDict:
        if not isinstance(pairs, list | tuple):
            self._fail_invalid("dictionary")
        # A small pickle could pass the same list many times.
        self._count_entries(pairs)
        values: collections.OrderedDict = collections.OrderedDict()
        for key, value in pairs:
            if not isinstance(key, str):
                self._fail_invalid("key")
            values[key] = value
        return values

    def _load_storage(self, identifier: object) -> _Storage:
        if not isinstance(identifier, tuple) or len(identifier) not in (5, 6) or identifier[0] != "storage":
            kind = identifier[0] if isinstance(identifier, tuple) and identifier else identifier
            self.file.fail(f"cannot be read: its pickle refers to {quote(kind)}", "save its state_dict alone")
        _, cls, key, _, count, *view = identifier
        name = cls.name.removesuffix("Storage") if isinstance(cls, pickles.Name) else ""
        if name not in _STORAGES or not isinstance(key, str) or type(count) is not int or not 0 <= count < 1 << 48:
            self._fail_invalid("storage")
        if view and view[0] is not None:
            self.file.fail("cannot be read: its pickle has a storage within another", "save it with a newer torch")
        storage = self.storages.get(key)
        if storage is None:
            storage = self.storages[key] = _Storage(ENCODINGS[_STORAGES[name]], count)
            if self.members is not None:
                self._locate(storage, key)
        elif (storage.encoding, storage.count) != (ENCODINGS[_STORAGES[name]], count):
            self.file.fail(f"is damaged: its storage {quote(key)} is said to be of two kinds")
        return storage

    def _locate(self, storage: _Storage, key: str) -> None:
        member = (self.members or {}).get(key)
        if member is None:
            self.file.fail(f"is damaged: it lacks the storage {quote(key)}")
        size = storage.count * storage.encoding.stored.itemsize
        if member.size != size:
            self.file.fail(f"is damaged: its storage {quote(key)} has {member.size:,} bytes, where {size:,} are needed")
        storage.member, storage.offset = member, member.offset

    def _make_view(self, storage: Any, offset: Any, sizes: Any, strides: Any) -> _View:
        if not isinstance(storage, _Storage) or not isinstance(sizes, tuple) or not isinstance(strides, tuple):
            self._fail_invalid("tensor")
        count = self.file.count_numbers(sizes, "a tensor")
        if len(strides) != len(sizes) or any(type(step) is not int for step in (offset, *strides)):
            self._fail_invalid("tensor")
        last = offset + sum((side - 1) * step for side, step in zip(sizes, strides, strict=True))
        if offset < 0 or min(strides, default=0) < 0 or (count and last >= storage.count):
            self.file.fail("is damaged: a tensor reaches out of its storage")
        if count > storage.count:
            self.file.fail("has a tensor that repeats the numbers of its storage", "save its .contiguous()")
        return _View(storage, offset, sizes, strides)

    def _count_entries(self, entries: Collection) -> None:
        self.entries += len(entries)
        if self.entries > _MOST_ENTRIES:
            self.file.fail(f"has more than {_MOST_ENTRIES:,} entries in its dictionaries", "save its state_dict alone")

    def archive(self, root: object) -> Archive:
        """Returns the archive of the tensors in `root`, the unpickled object."""
        tensors: dict[str, Tensor] = {}
        for name, view in self._walk(root):
            self.file.check_name(name, tensors, len(tensors))
            dtype = view.storage.encoding.dtype
            tensors[name] = Tensor(view.shape, dtype, functools.partial(self._read, view))
        return Archive("torch", self.file.path, tensors, _texts(root), self.file.close)

    def _walk(self, root: object) -> Iterator[tuple[str, _View]]:
        """Yields the tensors in nested dictionaries and lists, with their keys joined by "."; these may form cycles."""
        if isinstance(root, _View):
            self.file.fail("is one tensor without a name", "save a dictionary of tensors")
        waiting: list[tuple[str, int, Any]] = [("", 0, root)]
        while waiting:
            name, depth, value = waiting.pop()
            if isinstance(value, _View):
                yield name, value
            elif isinstance(value, dict | list | tuple):
                self._count_entries(value)
                if depth > _MOST_DEPTH:
                    self.file.fail(f"has dictionaries in more than {_MOST_DEPTH} others", "save its state_dict alone")
                pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
                waiting += [
                    (self._join(name, key), depth + 1, inner)
                    for key, inner in reversed(pairs)
                    if isinstance(inner, _View | dict | list | tuple)
                ]

    def _join(self, name: str, key: object) -> str:
        return self.file.check_name(f"{name}.{key}" if name else str(key), (), 0)

    def _read(self, view: _View) -> np.ndarray:
        file, storage, encoding = self.file, view.storage, view.storage.encoding
        if storage.member is not None and not storage.is_checked:
            zips.verify(file, storage.member)
            storage.is_checked = True
        if not all(view.shape):
            return np.zeros(view.shape, encoding.dtype)
        span = 1 + sum((side - 1) * step for side, step in zip(view.shape, view.strides, strict=True))
        size = encoding.stored.itemsize
        numbers = file.read_numbers(storage.offset + view.offset * size, span, encoding, "a tensor")
        steps = tuple(step * size for step in view.strides)
        return encoding.convert(np.lib.stride_tricks.as_strided(numbers, view.shape, steps).copy())


def _texts(root: object) -> dict[str, str]:
    """Returns what a training script wrote beside the tensors as text, such as the name of the network in `arch`."""
    entries = root.items() if isinstance(root, dict) else ()
    return {
        key: value
        for key, value in entries
        if isinstance(key, str) and isinstance(value, str) and len(key) + len(value) <= _LONGEST_TEXT
    }


def read_zip(file: File, members: dict[str, zips.Member], root: str) -> Archive:
    """Returns the archive of a torch zip whose members are in the folder `root`."""
    order = members.get(f"{root}byteorder")
    if order is not None and zips.read_member(file, order, 16) != b"little":
        file.fail("was written on a big-endian machine", "save it on another")
    folder = f"{root}data/"
    storages = {name.removeprefix(folder): member for name, member in members.items() if name.startswith(folder)}
    data = zips.read_member(file, members[f"{root}data.pkl"], pickles.LONGEST)
    objects = _Objects(file, storages)
    root_object, end = pickles.load(file, data, objects.rules)
    if end != len(data):
        file.fail("is damaged: its pickle has bytes behind its end")
    return objects.archive(root_object)


def read_stream(file: File) -> Archive:
    """Returns the archive of a file written by torch before 1.6: consecutive pickles, followed by the storages."""
    data = file.read(0, min(file.size, pickles.LONGEST), "its pickles")
    objects = _Objects(file, None)
    _, at = pickles.load(file, data, objects.rules)
    protocol, at = pickles.load(file, data, objects.rules, at)
    if protocol != _PROTOCOL:
        file.fail(f"is of torch's protocol {quote(protocol)}, where {_PROTOCOL} is known", "save it with a newer torch")
    system, at = pickles.load(file, data, objects.rules, at)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        file.fail("was written on a big-endian machine, or is damaged", "save it on another")
    root, at = pickles.load(file, data, objects.rules, at)
    keys, at = pickles.load(file, data, objects.rules, at)

    # Equal lengths and equal sets together mean that no key occurs twice.
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        file.fail("is damaged: its list of storages is invalid")
    if len(keys) != len(objects.storages) or set(keys) != objects.storages.keys():
        file.fail("is damaged: its list of storages is not that of its tensors")

    # Each storage is its length, followed by its numbers.
    for key in keys:
        storage = objects.storages[key]
        (count,) = struct.unpack("<q", file.read(at, 8, f"the length of the storage {quote(key)}"))
        if count != storage.count:
            file.fail(f"is damaged: its storage {quote(key)} is said to have {storage.count:,} numbers and {count:,}")
        storage.offset = at + 8
        size = count * storage.encoding.stored.itemsize
        file.check_range(storage.offset, size, f"its storage {quote(key)}")
        at = storage.offset + size
    if at != file.size:
        file.fail(f"is damaged: it has {file.size - at:,} bytes behind its end")
    return objects.archive(root)
