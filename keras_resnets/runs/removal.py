"""Removal of what this package wrote, and of nothing else.

Whatever removes or replaces files that were there before does so by these functions. What others put there, above all a
folder in the place of a file, stays where it is, and is told.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from keras_resnets.errors import notice

# In the folder of a half-written file, a file that its writer holds locked for as long as it lives.
ALIVE = ".alive"


def half_written(name: str) -> str:
    """Returns the pattern of what is in the folder of a half-written file: it, its checksum, what libraries write.

    Keras and safetensors write under another name first, `tmp` or `.tmp` and eight or six letters.

    Args:
        name: the pattern of the file's name.
    """
    return rf"(?:{re.escape(ALIVE)}|{name}|[^/]+\.json\.part|\.?tmp\w{{6,8}})"


def strangers(folder: str | os.PathLike, own: str) -> list[Path]:
    """Returns what stands in a folder and was not written there by this package.

    Args:
        folder: the folder; without one, there is nothing.
        own: the pattern of the files that are written there, of their whole paths from the folder. A folder or link of
            such a name is no such file; a folder without a file is nobody's.
    """
    root, found = Path(folder), []
    for place, folders, files in os.walk(root):
        for name in sorted([*files, *(name for name in folders if os.path.islink(os.path.join(place, name)))]):
            path = Path(place, name)
            is_own = re.fullmatch(own, path.relative_to(root).as_posix()) and path.is_file() and not path.is_symlink()
            if not is_own and os.path.lexists(path):  # another process may have removed it
                found.append(path)
    return found


def remove(path: Path, own: str | None = None) -> None:
    """Removes a file, or of a folder what this package wrote; what else stands there stays, and is told.

    Args:
        path: the file or folder; it need not be there.
        own: of a folder, as for `strangers`; None for a file.
    """
    others = [path] if own is not None and path.is_file() else strangers(path, own or "(?!)")
    for place, _, files in os.walk(path, topdown=False):
        for file in {Path(place, name) for name in files}.difference(others):
            with contextlib.suppress(OSError):
                file.unlink()
        with contextlib.suppress(OSError):  # something is left in it
            os.rmdir(place)
    if own is None and not path.is_dir():
        with contextlib.suppress(OSError):
            path.unlink()
    if others:
        notice(
            f"{str(others[0])!r} was not written by this package, and stays where it is. Nothing else in {str(path)!r} "
            f"is needed: move away what is yours, and remove the rest."
        )


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes those of the folders that are empty; each is given before the one that it is in."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def check_free(path: Path) -> None:
    """Raises `OSError` where a folder stands in the place of a file that is about to be written."""
    if path.is_dir() and not path.is_symlink():
        raise OSError(
            f"{str(path)!r} is a folder, and a file is never put in its place. Move it away, or give another place."
        )
