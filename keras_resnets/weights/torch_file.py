"""Torch's state dicts, as zip files and as they were before torch 1.6, without torch and without unpickling."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
from pathlib import Path

import numpy as np

from keras_resnets.weights.archive import MOST_ARRAYS, MOST_DESCRIPTION, Archive, Tensor, elements, name_of, refuse
from keras_resnets.weights.keras_file import member
from keras_resnets.weights.pickles import Name, Stored, View, interpret

# Of the first pickle in a file from before torch 1.6.
_LEGACY = 0x1950A86A20F9469CFC6C
STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
_DEEPEST = 32


def is_legacy(start: bytes) -> bool:
    """Whether a file's first bytes are those that torch wrote before 1.6."""
    return start[:2] == b"\x80\x02" and _LEGACY.to_bytes(10, "little") in start[:16]


def open_zip(path: Path) -> Archive:
    """Opens a file of torch 1.6 or newer."""
    with zipfile.ZipFile(path) as file:
        infos = file.infolist()
        if len(infos) > 2 * MOST_ARRAYS:
            raise refuse(path, f"it has {len(infos):,} parts")
        pickles = [info.filename for info in infos if info.filename.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise refuse(path, "it is a zip file, and neither torch's nor Keras'")
        root = pickles[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if any(info.filename == order for info in infos) and member(path, file, order, 16) != b"little":
            raise refuse(path, "its numbers are not little-endian")
        content = interpret(path, io.BytesIO(member(path, file, pickles[0], MOST_DESCRIPTION)))
        parts = {}
        for info in infos:
            if info.filename.startswith(f"{root}data/"):
                key = info.filename.removeprefix(f"{root}data/")
                if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or key in parts:
                    raise refuse(path, f"{info.filename[:80]!r} in it is compressed, encrypted or there twice")
                parts[key] = (_start(path, info), info.file_size)
    return _archive(path, content, parts)


def _start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a part begin, behind a header of its own."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise refuse(path, f"{info.filename[:80]!r} is not where it should be")
    start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
    if start + info.file_size > path.stat().st_size:
        raise refuse(path, f"{info.filename[:80]!r} claims more bytes than there are")
    return start


def open_legacy(path: Path) -> Archive:
    """Opens a file of torch 0.2 to 1.5: five pickles, and the numbers of each storage behind their count."""
    size = path.stat().st_size
    with path.open("rb") as file:
        described = io.BytesIO(file.read(MOST_DESCRIPTION))
        magic, protocol, system, content, keys = (interpret(path, described) for _ in range(5))
        if magic != _LEGACY or protocol != 1001 or not isinstance(keys, list) or len(keys) > MOST_ARRAYS:
            raise refuse(path, "it is not as torch wrote files before 1.6")
        if not (isinstance(system, dict) and system.get("little_endian") is True):
            raise refuse(path, "its numbers are not little-endian")
        kinds = {stored.key: stored.kind for stored in _storages(path, content)}
        place, parts = described.tell(), {}
        for key in keys:
            if key not in kinds:
                raise refuse(path, "it has numbers of no array")
            file.seek(place)
            head = file.read(8)
            if len(head) < 8:
                raise refuse(path, "it ends in the middle")
            width = _width(_kind(path, kinds[key]))
            count = elements(path, str(key), struct.unpack("<q", head), (size - place - 8) // width)
            parts[key] = (place + 8, count * width)
            place += 8 + count * width
    return _archive(path, content, parts)


def _walk(path: Path, content):
    """Yields the tensors of nested dicts with their names, dots between."""
    waiting, visited = [("", content, 0)], 0
    while waiting:
        prefix, value, depth = waiting.pop()
        visited += 1
        if visited > 4 * MOST_ARRAYS or depth > _DEEPEST:
            raise refuse(path, "its dicts are too many, or too deep")
        if isinstance(value, View):
            yield name_of(path, prefix or "tensor"), value
        elif isinstance(value, dict):
            if len(value) > 4 * MOST_ARRAYS:
                raise refuse(path, f"a dict in it has {len(value):,} entries")
            for key, item in value.items():
                if isinstance(key, str):
                    waiting.append((f"{prefix}.{key}" if prefix else key, item, depth + 1))


def _storages(path: Path, content):
    for _, view in _walk(path, content):
        yield view.storage


def _archive(path: Path, content, parts: dict[str, tuple[int, int]]) -> Archive:
    found: dict[str, Tensor] = {}
    for name, view in _walk(path, content):
        if name in found:
            raise refuse(path, f"it has two arrays of the name {name[:80]!r}")
        if len(found) >= MOST_ARRAYS:
            raise refuse(path, "it has too many arrays")
        found[name] = _tensor(path, name, view, parts)
    # In the order of the file, which the walk from the end has turned round.
    return Archive("torch", path, dict(reversed(found.items())))


def _kind(path: Path, kind: Name) -> str:
    if kind.module not in ("torch", "torch.storage", "torch.cuda") or kind.name not in STORAGES:
        raise refuse(path, f"an array is stored as {kind.module}.{kind.name}"[:120])
    return STORAGES[kind.name]


def _width(stored: str) -> int:
    return 2 if stored == "bfloat16" else np.dtype(stored).itemsize


def _tensor(path: Path, name: str, view: View, parts: dict[str, tuple[int, int]]) -> Tensor:
    storage: Stored = view.storage
    stored = _kind(path, storage.kind)
    if storage.key not in parts:
        raise refuse(path, f"the numbers of {name[:80]!r} are missing")
    start, size = parts[storage.key]
    width = _width(stored)
    room = size // width
    if room < storage.count:
        raise refuse(path, f"{name[:80]!r} claims {storage.count:,} numbers where there are {room:,}")
    count = elements(path, name, view.shape, room)
    last = view.offset + sum((side - 1) * step for side, step in zip(view.shape, view.strides, strict=True))
    if count and not (view.offset >= 0 and min(view.strides, default=0) >= 0 and last < room):
        raise refuse(path, f"{name[:80]!r} reaches beyond its numbers")
    read = functools.partial(_read, path, start, stored, view, last + 1 if count else 0)
    return Tensor(view.shape, np.dtype("float32" if stored == "bfloat16" else stored), read)


def _read(path: Path, start: int, stored: str, view: View, reach: int) -> np.ndarray:
    plain = np.dtype("<u2" if stored == "bfloat16" else stored).newbyteorder("<")
    count = max(0, reach - view.offset)
    with path.open("rb") as file:
        file.seek(start + view.offset * plain.itemsize)
        numbers = np.fromfile(file, plain, count)
    if len(numbers) < count:
        raise refuse(path, "it ends in the middle")
    if not count:
        numbers = np.zeros(view.shape, plain)
    else:
        steps = tuple(step * plain.itemsize for step in view.strides)
        numbers = np.ascontiguousarray(np.lib.stride_tricks.as_strided(numbers, view.shape, steps))
    if stored == "bfloat16":
        return (numbers.astype("uint32") << 16).view("float32")
    return numbers.astype(stored, copy=False)
