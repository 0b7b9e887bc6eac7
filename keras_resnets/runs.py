"""Run directories: what was asked, checkpoints that are whole or absent, one process at a time."""

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

# The folder of a study in which an interrupted one keeps what it has measured.
UNFINISHED = ".unfinished"
# Of run.json. Files without it were written before data were batched by the recipe of a training.
FORMAT = 2


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what is written there appears at `path` whole or not at all.

    Files and folders alike. After an exception, nothing is left.

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
            # A folder cannot be replaced in one step; the old one steps aside first.
            os.rename(path, part.parent / "old")
        os.replace(part, path)
    finally:
        shutil.rmtree(part.parent, ignore_errors=True)


def _is_half_written(part: Path) -> bool:
    """Whether a path is a folder that `whole` was writing in: named after what it holds, and holding nothing else."""
    named = re.fullmatch(r"\.(.+)\.[a-z0-9_]{8}", part.name)
    return bool(named and part.is_dir() and {file.name for file in part.iterdir()} <= {named[1], "old"})


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Writes JSON, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(values, indent=1) + "\n")


def read_csv(file: str | os.PathLike):
    """Reads a table with its numbers as they were written, to the last bit."""
    import pandas as pd

    old = tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1)  # since then, that is the default
    return pd.read_csv(file, **({"float_precision": "round_trip"} if old else {}))


def environment(*further: str) -> dict[str, Any]:
    """Returns what a result depends on beside its arguments: versions, backend, command line.

    Args:
        *further: packages whose versions count here, beside those that count everywhere.
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
    """Returns a short hash of arrays, to tell whether two results are of the same weights or data."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.asarray(array)
        digest.update(str((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


class Busy(OSError):
    """Another process works in a run directory."""


class Run:
    """A directory that one process works in at a time, and that a later one can go on in.

    Holds `run.json` (what was asked, versions, results), `checkpoints/`, `history.csv`, `logs/`
    and, when finished, `model.keras`.

    Args:
        out: the directory; made when absent.
        asked: what the work is, plain data. A directory with other work in it is refused.
        spare: gives what was asked, or None, from another file of the directory, to write a damaged
            `run.json` anew; by default from the last checkpoint.

    Raises:
        ArgumentError: the directory holds other work.
        OSError: it cannot be written, or another process works in it.
    """

    def __init__(self, out: str | os.PathLike, asked: dict[str, Any], spare: Callable[[], Any] | None = None):
        self.path = Path(out)
        self._spare = spare or self._asked_of_checkpoint
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
            self._sweep()
            self._mend()
            self._check()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._lock.release()

    def _sweep(self) -> None:
        """Removes what a killed process was writing, here and where checkpoints and logs lie."""
        for pattern in (".*", "checkpoints/.*", "logs/*/.*"):
            for part in filter(_is_half_written, self.path.glob(pattern)):
                shutil.rmtree(part, ignore_errors=True)

    def _mend(self) -> None:
        """Rebuilds a damaged `run.json`; its results are taken again from what is there."""
        with contextlib.suppress(ArgumentError):
            _ = self.record
            return
        asked = self._spare()
        if asked is not None:
            write_json(self.path / "run.json", {"asked": asked, **environment()})

    def _asked_of_checkpoint(self) -> Any:
        from safetensors import SafetensorError, safe_open

        file = self.path / "checkpoints" / "last.safetensors"
        try:
            with safe_open(file, "numpy") as archive:
                return json.loads(archive.metadata()["asked"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def _check(self) -> None:
        record = self.record
        if record is None:
            others = [p.name for p in self.path.iterdir() if p.name != ".lock"]
            if others:
                raise ArgumentError(
                    f"{str(self.path)!r} holds {sorted(others)[0]!r} and no run.json, so it is no run directory; "
                    f"give an empty or a new --out."
                )
            write_json(self.path / "run.json", {"format": FORMAT, "asked": self.asked, **environment()})
            return
        for key in sorted(self.asked.keys() | record["asked"].keys()):
            old, new = record["asked"].get(key), self.asked.get(key)
            old, new = _plain(old), _plain(new)
            if old != new:
                if isinstance(old, dict) and isinstance(new, dict):
                    inner = next((k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)), None)
                    if inner is None:
                        continue  # one of them does not know an option yet that the other leaves out
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
        """Notes the results and so marks the run as finished."""
        write_json(self.path / "run.json", {**(self.record or {}), "results": results})

    def save(self, name: str, variables: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        """Writes a checkpoint: arrays and plain data in one file, whole or not at all."""
        from safetensors.numpy import save_file

        known = {"state": json.dumps(state), "asked": json.dumps(self.asked)}
        with whole(self.path / "checkpoints" / f"{name}.safetensors") as part:
            save_file({k: np.asarray(v, order="C") for k, v in variables.items()}, part, known)

    def restore(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Reads a checkpoint back; None when there is none."""
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


def _plain(asked: Any) -> Any:
    """What was asked, without the modules that classes live in: they move, and the work stays the same."""
    if isinstance(asked, dict):
        named = "class_name" in asked
        return {key: _plain(value) for key, value in asked.items() if not (named and key == "module")}
    return [_plain(value) for value in asked] if isinstance(asked, list) else asked


@contextlib.contextmanager
def usable(path: Path) -> Iterator[None]:
    """Makes a directory, or says in a sentence why it cannot be written; after an error, leaves no empty one."""
    made = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(f"{str(path)!r} cannot be written: {error.strerror}. Give another --out.") from error
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
