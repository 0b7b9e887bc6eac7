"""Checksums of the files that are read again, so that a damaged one is noticed, and of small ones a copy to mend it.

The record of a file stands beside it, in the hidden folder `.sums`, as JSON: its SHA-256 and, of tables and JSON files,
its text. A file without a record, such as one that an earlier version wrote, is taken as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from keras_resnets.errors import ArgumentError, notice
from keras_resnets.explaining import explained
from keras_resnets.runs import removal

SUMS = ".sums"
# The files of these kinds are small, and a copy of them is kept with the checksum.
_COPIED = (".json", ".csv")
# A process may be killed between record and file, so the checksums of earlier states count.
_STATES = 4


class Damaged(ArgumentError):
    """A file is not as it was written."""


@explained
def seal(path: str | os.PathLike, part: str | os.PathLike | None = None) -> None:
    """Records the checksum of a file, or of the one that is about to take its place (`part`).

    Args:
        path: the file, or the place that `part` is about to take.
        part: the file under its temporary name; None for `path` itself.
    """
    path, source = Path(path), Path(part or path)
    record: dict[str, Any] = {"sha256": [_digest(source), *_digests(path)]}
    if path.suffix in _COPIED:
        record["copy"] = source.read_bytes().decode()
    _write(path, record, None if part is None else Path(part).parent)


@explained
def has_sum(path: str | os.PathLike) -> bool:
    """Whether a checksum is recorded for a file, be it damaged, so that it is one of this package's.

    Args:
        path: the file.
    """
    return os.path.lexists(_file(Path(path)))


@explained
def changed(path: str | os.PathLike) -> bool:
    """Whether a file has a checksum and is not as it was written; nothing is mended.

    Args:
        path: the file.
    """
    digests = _digests(Path(path))
    return bool(digests) and Path(path).is_file() and _digest(Path(path)) not in digests


@explained
def sound(path: str | os.PathLike) -> bool:
    """Whether there is a file as it was written. A damaged one with a copy is set aside and mended, with a word.

    Args:
        path: the file.

    Raises:
        Damaged: it could be mended, but not where it lies.
    """
    path = Path(path)
    if not path.is_file():
        return False
    digests = _digests(path)
    if not digests or _digest(path) in digests:
        return True
    copy = _read(path).get("copy")
    if not isinstance(copy, str):
        return False
    content = copy.encode()
    if content == path.read_bytes():  # what is damaged is the checksum
        seal(path)
        return True
    if hashlib.sha256(content).hexdigest() not in digests:
        return False
    try:
        aside = _mend(path, content)
    except OSError as error:
        raise Damaged(
            f"{str(path)!r} is damaged, and cannot be mended where it lies from the copy that is kept of it: "
            f"{error.strerror}. Make its folder writable, or copy the whole folder to one that is."
        ) from error
    notice(f"{str(path)!r} was damaged and is mended from its copy; the damaged one is {aside.name!r} now.")
    return True


def _mend(path: Path, content: bytes) -> Path:
    """Puts the right content in the place of a damaged file, at every moment of which there is one; returns the latter.

    Raises:
        OSError: it cannot be written.
    """
    aside = _aside(path)
    shutil.copyfile(path, aside)
    part = _file(path).with_name(f"{path.name}.part")
    try:
        _write_through(part, content)
        os.replace(part, path)
    except BaseException:
        for half in (part, aside):
            with contextlib.suppress(OSError):
                half.unlink()
        raise
    return aside


@explained
def verified(path: str | os.PathLike) -> Path:
    """Returns the path of a file that is as it was written.

    Raises:
        Damaged: it is not, and has no copy.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if path.exists() and not sound(path):
        raise Damaged(f"{str(path)!r} is damaged: it does not have the checksum that it was written with. {REMEDY}")
    return path


REMEDY = "Move it away, and the command that wrote it makes it again; nothing else is lost."


def set_aside(path: Path) -> Path:
    """Renames a damaged file, so that another can take its place; returns the new path."""
    aside = _aside(path)
    os.rename(path, aside)
    return aside


def _aside(path: Path) -> Path:
    """Returns a new name beside a damaged file; what earlier ones have is not replaced."""
    names = (path.with_name(f"{path.name}{number}.damaged") for number in ("", *(f".{n}" for n in range(2, 10_000))))
    return next(name for name in names if not os.path.lexists(name))


def keep(path: Path, kept: Path, beside: Path | None = None) -> None:
    """Renames a file, if there is one, together with its checksum; whenever it is killed, the file has one.

    Args:
        path: the file.
        kept: its new place.
        beside: a folder that is swept after a kill, for what is half-written.
    """
    if path.exists():
        removal.check_free(kept)
        _write(kept, {"sha256": [*_digests(path), *_digests(kept)] or [_digest(path)]}, beside)
        os.replace(path, kept)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(path: Path) -> Path:
    return path.parent / SUMS / f"{path.name}.json"


def _read(path: Path) -> dict[str, Any]:
    """Returns the record of a file; an empty one if there is none, or none that can be read."""
    try:
        record = json.loads(_file(path).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _digests(path: Path) -> list[str]:
    digests = _read(path).get("sha256")
    return [digest for digest in digests if isinstance(digest, str)] if isinstance(digests, list) else []


def _write(path: Path, record: dict[str, Any], beside: Path | None = None) -> None:
    """Writes the record of a file, completely or not at all, by way of a folder that is swept after a kill."""
    record["sha256"] = list(dict.fromkeys(record["sha256"]))[:_STATES]
    file = _file(path)
    in_the_way = [place for place in (file, file.parent) if place.exists() and place.is_dir() == (place == file)]
    if in_the_way:
        raise OSError(
            f"{str(in_the_way[0])!r} is in the place of a checksum, and was not written here. Move it away; nothing "
            f"else is lost."
        )
    is_new = not file.parent.exists()
    file.parent.mkdir(exist_ok=True)
    part = (beside or file.parent) / f"{file.name}.part"
    try:
        _write_through(part, (json.dumps(record, indent=1) + "\n").encode())
        os.replace(part, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        if is_new:
            with contextlib.suppress(OSError):
                file.parent.rmdir()
        raise


def _write_through(file: Path, content: bytes) -> None:
    """Writes a file, and returns when it is on the disk."""
    with open(file, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
