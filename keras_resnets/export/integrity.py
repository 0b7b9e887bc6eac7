"""The checksum that an exported file carries of itself, so that a changed bit is told wherever the file goes.

A `.tflite` file has it in the comment of the archive at its end, an ONNX file in its metadata, a SavedModel in a
file of `assets.extra/`. It is the SHA-256 of all bytes, with zeros in the place of the checksum. Files of early
versions have none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from keras_resnets.runs import Damaged

# What stands for the checksum until the file is whole.
_START = b"keras_resnets sha256:"
EMPTY = (_START + b"0" * 64).decode()
_MARK = re.compile(re.escape(_START) + b".{64}", re.DOTALL)
# The file of a SavedModel's folder that has it, in `carried.EXTRA`.
FILE = "keras_resnets.sha256"


def seal(path: Path) -> None:
    """Puts the checksum of a file or folder where `EMPTY` stands."""
    found = _find(path)
    if found is not None:
        file, place, _ = found
        with open(file, "rb+") as handle:
            handle.seek(place)
            handle.write(_START + _digest(path, file, place).encode())


def check(path: Path) -> None:
    """Raises `Damaged` if a file or folder does not have the checksum that it carries."""
    found = _find(path)
    if found is not None and found[2] != _digest(path, *found[:2]):
        raise Damaged(
            f"{str(path)!r} is damaged: it does not have the checksum that it was exported with. Export it again, or "
            f"copy it again from where it is whole."
        )


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _find(path: Path) -> tuple[Path, int, str] | None:
    """Returns the file that has the checksum, where in it, and what it says; None if none has."""
    files = [file for file in _files(path) if file.name == FILE] if path.is_dir() else [path]
    for file in files:
        *_, last = [None, *_MARK.finditer(file.read_bytes())]
        if last is not None:
            return file, last.start(), last.group()[len(_START) :].decode(errors="replace")
    return None


def _digest(path: Path, marked: Path, place: int) -> str:
    """Returns the SHA-256 of all files of a path in the order of their names, with zeros for the checksum."""
    digest = hashlib.sha256()
    for file in _files(path):
        if path.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        for piece in _pieces(file, place if file == marked else None):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(file: Path, place: int | None) -> Iterator[bytes]:
    if place is not None:
        content = file.read_bytes()
        yield content[:place] + EMPTY.encode() + content[place + len(EMPTY) :]
        return
    with open(file, "rb") as handle:
        while piece := handle.read(1 << 20):
            yield piece
