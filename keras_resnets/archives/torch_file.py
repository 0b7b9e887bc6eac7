"""PyTorch's files, in the zip format (1.6 and later) and in the one before; neither torch nor pickle takes part."""

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
from keras_resnets.archives.files import KINDS, MOST_DIMENSIONS, File, Kind, told

# The first object of a file before 1.6, as pickle writes it.
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
_KNOWN = frozenset(
    {*(f"torch.{name}Storage" for name in _STORAGES), *_REBUILT, _PARAMETER, *_NUMPY}
    | {"collections.OrderedDict", "torch.Size"}
)
_DEEPEST, _MOST_ENTRIES = 32, 200_000


@dataclass
class _Storage:
    """Numbers in a row, which tensors share; its place is known once the file has been gone through."""

    kind: Kind
    count: int
    member: zips.Member | None = None
    offset: int = 0
    is_checked: bool = False


@dataclass(frozen=True)
class _View:
    """A tensor: the numbers of a storage that it consists of."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Objects:
    """What the names in a torch pickle stand for."""

    def __init__(self, file: File, storages: dict[str, zips.Member] | None):
        self.file, self.members = file, storages
        self.storages: dict[str, _Storage] = {}
        self.entries = 0
        self.rules = pickles.Rules(_KNOWN, self._call, self._find)

    def _call(self, name: str, arguments: tuple) -> object:
        if name == "collections.OrderedDict":
            return self._ordered(*arguments)
        if name == "torch.Size":
            (sizes,) = arguments
            is_size = isinstance(sizes, list | tuple) and len(sizes) <= MOST_DIMENSIONS
            return tuple(sizes) if is_size else self._damaged("a size")
        if name in _REBUILT:
            return self._view(*arguments[:4])
        if name == _PARAMETER:
            view, *_ = arguments
            return view if isinstance(view, _View) else self._damaged("a parameter")
        if name in _NUMPY:
            return pickles.Left()
        self.file.fail(f"cannot be read: its pickle calls {told(name)}", "save its state_dict alone")

    def _damaged(self, what: str) -> NoReturn:
        self.file.fail(f"is damaged: its pickle has {what} that is none")

    def _ordered(self, pairs: object = ()) -> collections.OrderedDict:
        if not isinstance(pairs, list | tuple):
            self._damaged("a dictionary")
        # One list may be given over and over.
        self._count(pairs)
        found: collections.OrderedDict = collections.OrderedDict()
        for key, value in pairs:
            if not isinstance(key, str):
                self._damaged("a key")
            found[key] = value
        return found

    def _find(self, identifier: object) -> _Storage:
        if not isinstance(identifier, tuple) or len(identifier) not in (5, 6) or identifier[0] != "storage":
            kind = identifier[0] if isinstance(identifier, tuple) and identifier else identifier
            self.file.fail(f"cannot be read: its pickle refers to {told(kind)}", "save its state_dict alone")
        _, cls, key, _, count, *view = identifier
        name = cls.name.removesuffix("Storage") if isinstance(cls, pickles.Name) else ""
        if name not in _STORAGES or not isinstance(key, str) or type(count) is not int or not 0 <= count < 1 << 48:
            self._damaged("a storage")
        if view and view[0] is not None:
            self.file.fail("cannot be read: its pickle has a storage within another", "save it with a newer torch")
        storage = self.storages.get(key)
        if storage is None:
            storage = self.storages[key] = _Storage(KINDS[_STORAGES[name]], count)
            if self.members is not None:
                self._place(storage, key)
        elif (storage.kind, storage.count) != (KINDS[_STORAGES[name]], count):
            self.file.fail(f"is damaged: its storage {told(key)} is said to be of two kinds")
        return storage

    def _place(self, storage: _Storage, key: str) -> None:
        member = (self.members or {}).get(key)
        if member is None:
            self.file.fail(f"is damaged: it lacks the storage {told(key)}")
        size = storage.count * storage.kind.stored.itemsize
        if member.size != size:
            self.file.fail(f"is damaged: its storage {told(key)} has {member.size:,} bytes, where {size:,} are needed")
        storage.member, storage.offset = member, member.offset

    def _view(self, storage: Any, offset: Any, sizes: Any, strides: Any) -> _View:
        if not isinstance(storage, _Storage) or not isinstance(sizes, tuple) or not isinstance(strides, tuple):
            self._damaged("a tensor")
        count = self.file.count(sizes, "a tensor")
        if len(strides) != len(sizes) or any(type(step) is not int for step in (offset, *strides)):
            self._damaged("a tensor")
        last = offset + sum((side - 1) * step for side, step in zip(sizes, strides, strict=True))
        if offset < 0 or min(strides, default=0) < 0 or (count and last >= storage.count):
            self.file.fail("is damaged: a tensor reaches out of its storage")
        if count > storage.count:
            self.file.fail("has a tensor that repeats the numbers of its storage", "save its .contiguous()")
        return _View(storage, offset, sizes, strides)

    def _count(self, entries: Collection) -> None:
        self.entries += len(entries)
        if self.entries > _MOST_ENTRIES:
            self.file.fail(f"has more than {_MOST_ENTRIES:,} entries in its dictionaries", "save its state_dict alone")

    def archive(self, root: object) -> Archive:
        tensors: dict[str, Tensor] = {}
        for name, view in self._named(root):
            self.file.name(name, tensors, len(tensors))
            kind = view.storage.kind
            tensors[name] = Tensor(view.shape, kind.dtype, functools.partial(self._read, view))
        return Archive("torch", self.file.path, tensors, None, self.file.close)

    def _named(self, root: object) -> Iterator[tuple[str, _View]]:
        """The tensors of nested dictionaries and lists, which may hold one another."""
        if isinstance(root, _View):
            self.file.fail("is one tensor without a name", "save a dictionary of tensors")
        waiting: list[tuple[str, int, Any]] = [("", 0, root)]
        while waiting:
            name, depth, value = waiting.pop()
            if isinstance(value, _View):
                yield name, value
            elif isinstance(value, dict | list | tuple):
                self._count(value)
                if depth > _DEEPEST:
                    self.file.fail(f"has dictionaries in more than {_DEEPEST} others", "save its state_dict alone")
                pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
                waiting += [
                    (self._joined(name, key), depth + 1, inner)
                    for key, inner in reversed(pairs)
                    if isinstance(inner, _View | dict | list | tuple)
                ]

    def _joined(self, name: str, key: object) -> str:
        return self.file.name(f"{name}.{key}" if name else str(key), (), 0)

    def _read(self, view: _View) -> np.ndarray:
        file, storage, kind = self.file, view.storage, view.storage.kind
        if storage.member is not None and not storage.is_checked:
            zips.verify(file, storage.member)
            storage.is_checked = True
        if not all(view.shape):
            return np.zeros(view.shape, kind.dtype)
        span = 1 + sum((side - 1) * step for side, step in zip(view.shape, view.strides, strict=True))
        size = kind.stored.itemsize
        held = file.numbers(storage.offset + view.offset * size, span, kind, "a tensor")
        steps = tuple(step * size for step in view.strides)
        return kind.convert(np.lib.stride_tricks.as_strided(held, view.shape, steps).copy())


def read_zip(file: File, members: dict[str, zips.Member], root: str) -> Archive:
    """Returns the archive of a torch zip whose members lie in the folder `root`."""
    order = members.get(f"{root}byteorder")
    if order is not None and zips.content(file, order, 16) != b"little":
        file.fail("was written on a big-endian machine", "save it on another")
    folder = f"{root}data/"
    storages = {name.removeprefix(folder): member for name, member in members.items() if name.startswith(folder)}
    data = zips.content(file, members[f"{root}data.pkl"], pickles.LONGEST)
    objects = _Objects(file, storages)
    root_object, end = pickles.load(file, data, objects.rules)
    if end != len(data):
        file.fail("is damaged: its pickle has bytes behind its end")
    return objects.archive(root_object)


def read_stream(file: File) -> Archive:
    """Returns the archive of a file as torch wrote it before 1.6: pickles in a row, and the storages behind them."""
    data = file.read(0, min(file.size, pickles.LONGEST), "its pickles")
    objects = _Objects(file, None)
    _, at = pickles.load(file, data, objects.rules)
    protocol, at = pickles.load(file, data, objects.rules, at)
    if protocol != _PROTOCOL:
        file.fail(f"is of torch's protocol {told(protocol)}, where {_PROTOCOL} is known", "save it with a newer torch")
    system, at = pickles.load(file, data, objects.rules, at)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        file.fail("was written on a big-endian machine, or is damaged", "save it on another")
    root, at = pickles.load(file, data, objects.rules, at)
    keys, at = pickles.load(file, data, objects.rules, at)
    # Equal lengths and equal sets: no key twice.
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        file.fail("is damaged: its list of storages is none")
    if len(keys) != len(objects.storages) or set(keys) != objects.storages.keys():
        file.fail("is damaged: its list of storages is not that of its tensors")
    for key in keys:
        storage = objects.storages[key]
        (count,) = struct.unpack("<q", file.read(at, 8, f"the length of the storage {told(key)}"))
        if count != storage.count:
            file.fail(f"is damaged: its storage {told(key)} is said to have {storage.count:,} numbers and {count:,}")
        storage.offset = at + 8
        size = count * storage.kind.stored.itemsize
        file.check(storage.offset, size, f"its storage {told(key)}")
        at = storage.offset + size
    if at != file.size:
        file.fail(f"is damaged: it has {file.size - at:,} bytes behind its end")
    return objects.archive(root)
