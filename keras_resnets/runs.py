"""Run directories: settings, atomically written checkpoints, and a lock for one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from keras_resnets.errors import ArgumentError

# The folder in which an interrupted study keeps its measurements.
UNFINISHED = ".unfinished"
# Endings of the files that are written into a run directory.
_WRITTEN = {".json", ".csv", ".keras", ".safetensors", ".png", ".svg"}
# The version of run.json. Files without one are older than the batching of data by a training's recipe.
FORMAT = 2


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path; the file or folder written there appears at `path` completely or not at all.

    After an exception, nothing is left.

    Example:
        >>> import pathlib, tempfile
        >>> from keras_resnets import runs
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
        >>> with runs.whole(file) as part:
        ...     _ = part.write_text("done")
        >>> file.read_text()
        'done'
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)) / path.name
    except OSError as error:
        raise OSError(f"{str(path)!r} cannot be written: {error.strerror}. Give another place.") from error
    try:
        yield part
        for file in [part, *part.rglob("*")] if part.is_dir() else [part]:
            if file.is_file():
                with open(file, "rb+") as handle:
                    os.fsync(handle.fileno())
        if path.is_dir() and not path.is_symlink():
            if not part.is_dir():
                raise OSError(f"{str(path)!r} is a folder, and a file is never put in its place. Give another place.")
            # A folder cannot be replaced in one step, so move the old one out of the way first.
            os.rename(path, part.parent / "old")
        os.replace(part, path)
    finally:
        shutil.rmtree(part.parent, ignore_errors=True)


def _is_half_written(part: Path) -> bool:
    """Returns whether a path is a folder that `whole` was writing a file in: named after the file, and hidden."""
    named = re.fullmatch(r"\..+(\.\w+)\.\w{4,}", part.name)
    return bool(named and named[1] in _WRITTEN and part.is_dir())


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Writes JSON, completely or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(values, indent=1) + "\n")


def read_csv(file: str | os.PathLike):
    """Reads a table with exactly the numbers that were written, to the last bit."""
    import pandas as pd

    is_old = tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1)  # the default from 3.1 on
    return pd.read_csv(file, **({"float_precision": "round_trip"} if is_old else {}))


def environment(*further: str) -> dict[str, Any]:
    """Returns what a result depends on besides its arguments: versions, backend, command line.

    Args:
        *further: packages whose versions are included, in addition to the usual ones.
    """
    import keras

    packages = ("keras_resnets", "keras", "tensorflow", "jax", "torch", "numpy", *further)
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "versions": versions,
        "backend": keras.config.backend(),
        "python": platform.python_version(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def fingerprint(arrays) -> str:
    """Returns a short hash of arrays, to check that two results come from the same weights or data."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.asarray(array)
        digest.update(str((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


class Busy(OSError):
    """Another process is working in a run directory."""


class Run:
    """A directory in which one process works at a time, and a later one can resume.

    It contains `run.json` (settings, versions, results), `checkpoints/`, `history.csv`, `logs/` and, when finished,
    `model.keras`.

    Args:
        out: the directory; it is created if it does not exist.
        asked: the settings of the work, as plain data. A directory with other settings is refused.
        spare: recovers the settings, or returns None, when `run.json` is damaged; by default from the last checkpoint.

    Raises:
        ArgumentError: the directory belongs to other work.
        OSError: it cannot be written, or another process is working in it.
    """

    def __init__(self, out: str | os.PathLike, asked: dict[str, Any], spare: Callable[[], Any] | None = None):
        self.path = Path(out)
        self._recover = spare or self._recover_from_checkpoint
        self.asked = json.loads(json.dumps(asked))
        self._lock = filelock.FileLock(self.path / ".lock", timeout=0)

    def __enter__(self) -> Run:
        with usable(self.path):
            pass
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise Busy(
                f"Another process is working in {str(self.path)!r}. Wait for it to end, or give another --out."
            ) from None
        try:
            self._remove_leftovers()
            self._repair_record()
            self._check_record()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._lock.release()

    def _remove_leftovers(self) -> None:
        """Removes half-written files of a killed process, also of checkpoints and logs."""
        for pattern in (".*", "checkpoints/.*", "logs/*/.*"):
            for part in filter(_is_half_written, self.path.glob(pattern)):
                shutil.rmtree(part, ignore_errors=True)

    def _repair_record(self) -> None:
        """Rewrites a damaged `run.json` from recovered settings; the results are then taken again from the files."""
        with contextlib.suppress(ArgumentError):
            _ = self.record
            return
        asked = self._recover()
        if asked is not None:
            write_json(self.path / "run.json", {"asked": asked, **environment()})

    def _recover_from_checkpoint(self) -> Any:
        """Reads the settings from the last checkpoint; None if there is none."""
        from safetensors import SafetensorError, safe_open

        file = self.path / "checkpoints" / "last.safetensors"
        try:
            with safe_open(file, "numpy") as archive:
                return json.loads(archive.metadata()["asked"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def _check_record(self) -> None:
        """Writes `run.json` in a new directory; raises if an old one has other settings."""
        record = self.record
        if record is None:
            others = [p.name for p in self.path.iterdir() if p.name != ".lock"]
            if others:
                raise ArgumentError(
                    f"{str(self.path)!r} holds {sorted(others)[0]!r} and no run.json, so it is not a run directory; "
                    f"give an empty or a new --out."
                )
            write_json(self.path / "run.json", {"format": FORMAT, "asked": self.asked, **environment()})
            return
        for key in sorted(self.asked.keys() | record["asked"].keys()):
            old, new = record["asked"].get(key), self.asked.get(key)
            old, new = _without_modules(old), _without_modules(new)
            if old != new:
                if isinstance(old, dict) and isinstance(new, dict):
                    inner = next((k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)), None)
                    if inner is None:
                        continue  # one lacks an option that the other sets to None
                    key, old, new = f"{key}.{inner}", old.get(inner), new.get(inner)
                raise ArgumentError(
                    f"{str(self.path)!r} was started with {key} = {old!r}, now {new!r} is asked; "
                    f"give what it was started with, or another --out."
                )

    @property
    def record(self) -> dict[str, Any] | None:
        """The contents of `run.json`, or None."""
        file = self.path / "run.json"
        if not file.exists():
            return None
        try:
            record = json.loads(file.read_text())
            record["asked"].keys()
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            raise ArgumentError(f"{str(file)!r} is damaged; remove {str(self.path)!r} and start anew.") from None
        return record

    @property
    def finished(self) -> bool:
        """Whether the work was completed."""
        return bool(self.record and "results" in self.record)

    def finish(self, results: dict[str, Any]) -> None:
        """Records the results, which marks the run as finished."""
        write_json(self.path / "run.json", {**(self.record or {}), "results": results})

    def save(self, name: str, variables: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        """Writes a checkpoint, arrays and plain data in one file, completely or not at all."""
        from safetensors.numpy import save_file

        metadata = {"state": json.dumps(state), "asked": json.dumps(self.asked)}
        with whole(self.path / "checkpoints" / f"{name}.safetensors") as part:
            save_file({k: np.asarray(v, order="C") for k, v in variables.items()}, part, metadata)

    def restore(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Reads a checkpoint; returns None if it does not exist."""
        from safetensors import SafetensorError, safe_open

        file = self.path / "checkpoints" / f"{name}.safetensors"
        if not file.exists():
            return None
        try:
            with safe_open(file, "numpy") as archive:
                keys = archive.keys()
                return {key: archive.get_tensor(key) for key in keys}, json.loads(archive.metadata()["state"])
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ArgumentError(f"{str(file)!r} is damaged; remove it to train from the start again.") from error


def _without_modules(asked: Any) -> Any:
    """Returns settings without the modules of serialised classes, which may move between versions."""
    if isinstance(asked, dict):
        is_class = "class_name" in asked
        return {key: _without_modules(value) for key, value in asked.items() if not (is_class and key == "module")}
    return [_without_modules(value) for value in asked] if isinstance(asked, list) else asked


@contextlib.contextmanager
def usable(path: Path) -> Iterator[None]:
    """Creates a directory; raises `OSError` if it cannot be written. After an error, removes it if new and empty."""
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(f"{str(path)!r} cannot be written: {error.strerror}. Give another --out.") from error
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
