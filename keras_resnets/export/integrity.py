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
    found = _read(path)
    if found is not None:
        file, place, _, digest = found
        with open(file, "rb+") as handle:
            handle.seek(place)
            handle.write(_START + digest.encode())


def check(path: Path) -> None:
    """Raises `Damaged` if a file or folder does not have the checksum that it carries."""
    found = _read(path)
    if found is not None and found[2] != found[3]:
        raise Damaged(
            f"{str(path)!r} is damaged: it does not have the checksum that it was exported with. Export it again, or "
            f"copy it again from where it is whole."
        )


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _read(path: Path) -> tuple[Path, int, str, str] | None:
    """Reads a file or folder, each file once.

    Returns:
        The file that has the checksum, where in it, what it says, and the SHA-256 of all files in the order of their
        names, with zeros for the checksum; None if none has one.
    """
    marked = path
    if path.is_dir():
        marked = next((file for file in _files(path) if file.name == FILE), path)
    content = marked.read_bytes() if marked.is_file() else b""
    *_, mark = [None, *_MARK.finditer(content)]
    if mark is None:
        return None
    digest = hashlib.sha256()
    for file in _files(path):
        if path.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        for piece in _around(memoryview(content), *mark.span()) if file == marked else _pieces(file):
            digest.update(piece)
    said = mark.group()[len(_START) :].decode(errors="replace")
    return marked, mark.start(), said, digest.hexdigest()


def _around(content: memoryview, start: int, end: int) -> tuple[memoryview, bytes, memoryview]:
    """Returns what stands before the checksum, zeros, and what stands behind."""
    return content[:start], EMPTY.encode(), content[end:]


def _pieces(file: Path) -> Iterator[bytes]:
    with open(file, "rb") as handle:
        while piece := handle.read(1 << 20):
            yield piece
