"""Files that appear whole or not at all, JSON that holds every number, and tables."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from keras_resnets.explaining import explained
from keras_resnets.runs import removal
from keras_resnets.runs.sums import REMEDY, Damaged, seal, verified

# Numbers that JSON lacks.
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


# What a disk can have against a write. It is looked for in the text of an error, too, because safetensors, HDF5 and
# TensorFlow raise errors of their own.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# What can stand in the way of a file.
_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Has an error of the disk name what is written, whichever library raised it; other errors pass.

    Args:
        path: the file or folder that is written inside.

    Raises:
        OSError: the disk is full, cannot be written to, or fails, or something else is in the place of the file.
    """
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, OSError) and number in _IN_THE_WAY and (there := _beside(path, error)):
            raise OSError(
                f"{str(path)!r} cannot be written: {error.strerror}{there}. Move away what is in its place or make it "
                f"writable, or give another place; the same command goes on."
            ) from error
        reason = next((n for n in _DISK if n == number or os.strerror(n) in str(error)), None)
        if reason is None or "cannot be written" in str(error):  # the latter has its sentence
            raise
        raise OSError(
            f"{str(path)!r} cannot be written: {os.strerror(reason)}. Make room there, or give another place; the same "
            f"command goes on."
        ) from error


def _beside(path: str | os.PathLike, error: OSError) -> str:
    """Returns in words what stands in the way of a file; an empty text if an error is about something else."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else None
    if name is None or not Path(name).is_relative_to(Path(path).parent):
        return ""
    there = next(place for place in (Path(name), *Path(name).parents) if os.path.lexists(place))
    return " there" if there == Path(path) else f": {str(there)!r}"


@contextlib.contextmanager
def whole(path: str | os.PathLike, *, sealed: bool = False, own: str | None = None) -> Iterator[Path]:
    """Yields a temporary path; the file or folder written there appears at `path` completely or not at all.

    After an exception, nothing is left. What a killed process left of an earlier attempt is removed.

    Args:
        path: where it is to appear.
        sealed: whether to record the file's checksum, which `sound`, `verified`, `read_json` and `read_csv` check.
        own: of a folder, the pattern of the files that are written there, of their whole paths inside of it. A folder
            with anything else in it is not replaced. None for a file, and for a folder that may be replaced with
            whatever is in it.

    Raises:
        OSError: it cannot be written, a file would take the place of a folder, or a folder that of someone else's.

    Example:
        >>> import pathlib, tempfile
        >>> from keras_resnets import runs
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
        >>> with runs.whole(file) as part:
        ...     _ = part.write_text("done")
        >>> file.read_text()
        'done'
    """
    path, made = Path(path), []
    try:
        made = [place for place in path.parents if not place.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path, own)
        folder, alive = _held_folder(path, made)
        part = folder / path.name
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        removal.remove_empty(made)
        reason = getattr(error, "strerror", None) or error
        there = _beside(path, error) if isinstance(error, OSError) and error.errno in _IN_THE_WAY else ""
        raise OSError(f"{str(path)!r} cannot be written: {reason}{there}. Give another place.") from error
    try:
        with writing(path):
            yield part
            _put(path, part, sealed, own)
    finally:
        _bring_back(part.parent, path)
        shutil.rmtree(folder, ignore_errors=True)  # made here, and what it took the place of was looked through
        alive.close()
        removal.remove_empty(made)


def _held_folder(path: Path, made: list[Path]) -> tuple[Path, IO]:
    """Makes the folder in which a path is written, which goes to the front of `made`; returns it, and its lock."""
    while True:
        made.insert(0, Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)))
        try:
            alive = open(made[0] / removal.ALIVE, "w")  # noqa: SIM115
        except FileNotFoundError:  # swept by another process: an empty one is what a kill at this moment leaves
            made.pop(0)
            continue
        with contextlib.suppress(OSError):  # some network drives have no locks
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return made[0], alive


def _bring_back(folder: Path, path: Path) -> None:
    """Puts a folder that was to be replaced back in its place, if nothing has taken it."""
    if (folder / "old").is_dir() and not path.exists():
        os.rename(folder / "old", path)


def _put(path: Path, part: Path, sealed: bool, own: str | None) -> None:
    """Moves a file or folder to its place once all of it is on the disk."""
    for file in [part, *part.rglob("*")] if part.is_dir() else [part]:
        if file.is_file():
            with open(file, "rb+") as handle:
                os.fsync(handle.fileno())
    if path.is_dir() and not path.is_symlink():
        if not part.is_dir():
            removal.check_free(path)
        if own is not None and (others := removal.strangers(path, own)):
            raise OSError(
                f"{str(others[0])!r} was not written by this package, and would be lost, because {str(path)!r} is "
                f"replaced. Move it away, or give another place."
            )
        # A folder cannot be replaced in one step, so move the old one out of the way first.
        os.rename(path, part.parent / "old")
    if sealed:
        seal(path, part)
    os.replace(part, path)


def _sweep(path: Path, own: str | None) -> None:
    """Removes what killed processes left of this path; a folder that was to be replaced returns."""
    prefix = f".{path.name}."
    for name in os.listdir(path.parent):
        # The ends are those of `tempfile.mkdtemp`.
        if not name.startswith(prefix) or not re.fullmatch(r"\w{8}", name.removeprefix(prefix)):
            continue
        folder = path.parent / name
        if folder.is_symlink():
            continue
        with contextlib.suppress(OSError):  # an empty one; who was about to write there makes another
            os.rmdir(folder)
        if not folder.is_dir() or is_in_use(folder):
            continue
        _bring_back(folder, path)
        written = removal.half_written(re.escape(path.name))
        removal.remove(folder, written if own is None else rf"{written}|(?:{re.escape(path.name)}|old)/(?:{own})")


def is_in_use(folder: Path) -> bool:
    """Whether a process is still writing in a folder of `whole`: it holds the file there that says so."""
    try:
        with open(folder / removal.ALIVE, "rb") as alive:
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except (FileNotFoundError, IsADirectoryError):  # whoever removed it, or put a folder there, is no writer
        return False
    except OSError:
        return True


@explained
def to_json(values: Any, indent: int | None = 1) -> str:
    """Returns values as JSON; numbers that JSON lacks as the texts `"NaN"`, `"Infinity"` and `"-Infinity"`.

    Args:
        values: plain data: lists, dictionaries, texts, numbers.
        indent: spaces of each level; None for one line.
    """
    return json.dumps(_without_nan(values), indent=indent, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@explained
def from_json(text: str | bytes) -> Any:
    """Returns the values of `to_json`.

    Raises:
        ValueError: the text is not JSON, or nested too deeply to be read.
    """
    try:
        return _with_nan(json.loads(text))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_nan(inner) for inner in value]
    return _NUMBERS.get(value, value) if isinstance(value, str) else value


@explained
def write_json(path: str | os.PathLike, values: Any, *, sealed: bool = False) -> None:
    """Writes JSON, completely or not at all.

    Args:
        path: the file.
        values: plain data, as for `to_json`.
        sealed: as for `whole`.
    """
    with whole(path, sealed=sealed) as part:
        part.write_text(to_json(values))


@explained
def read_json(path: str | os.PathLike) -> Any:
    """Reads the JSON that `write_json` wrote.

    Args:
        path: the file.

    Raises:
        Damaged: the file is not as it was written.
        OSError: it cannot be read.
    """
    try:
        return from_json(verified(path).read_bytes())
    except Damaged:
        raise
    except ValueError as error:
        raise Damaged(f"{str(path)!r} is damaged: it is not JSON ({error}). {REMEDY}") from None


@explained
def read_csv(file: str | os.PathLike, texts: Sequence[str] = ()):
    """Reads a table with exactly the numbers that were written, to the last bit.

    Args:
        file: the file.
        texts: columns that hold texts, also where these look like something else, as `01` and `None` do. What stands in
            others is a number, a truth value or missing where it looks like one.

    Raises:
        Damaged: the file is not as it was written, or not a table.
        OSError: it cannot be read.
    """
    import pandas as pd

    is_old = tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1)  # the default from 3.1 on
    try:
        rows = pd.read_csv(verified(file), **({"float_precision": "round_trip"} if is_old else {}))
        if texts:
            plain = {"dtype": str, "keep_default_na": False, "na_values": [""]}
            words = pd.read_csv(file, usecols=lambda column: column in texts, **plain)
            rows = rows.assign(**{column: words[column] for column in words})
        return rows
    except Damaged:
        raise
    except ValueError as error:
        raise Damaged(f"{str(file)!r} is damaged: it is not a table ({error}). {REMEDY}") from None
