"""`Run`: a run directory, its settings, checkpoints and results, and a lock for one process at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from keras_resnets.errors import ArgumentError, notice
from keras_resnets.explaining import explained
from keras_resnets.runs import removal
from keras_resnets.runs.facts import environment
from keras_resnets.runs.files import is_in_use, read_json, whole, write_json, writing
from keras_resnets.runs.sums import SUMS, Damaged, keep, set_aside, verified

# The folder in which an interrupted study keeps its measurements.
UNFINISHED = ".unfinished"
# What is written there, as `removal.remove` takes it: the results of batches, by what was measured.
_BATCH = r"\d+_[0-9a-f]{16}\.npy"
MEASURED = rf"[0-9a-f]{{16}}/(?:{_BATCH}|\.sums/{_BATCH}\.json|\.{_BATCH}\.\w{{8}}/{removal.half_written(_BATCH)})"
# Endings of the files that are written into a run directory.
_WRITTEN = {".json", ".csv", ".keras", ".safetensors", ".png", ".svg"}
# The version of run.json. Files without one are older than the batching of data by a training's recipe.
FORMAT = 2
# The newest checkpoint, and the one before it.
LAST = "last"
_GENERATIONS = (LAST, "previous")


def _is_half_written(part: Path) -> bool:
    """Returns whether a path is a folder that `whole` was writing a file in: named after the file, and hidden."""
    named = re.fullmatch(r"\..+(\.\w+)\.\w{4,}", part.name)
    return bool(named and named[1] in _WRITTEN and part.is_dir())


class Busy(OSError):
    """Another process is working in a run directory."""


@explained
class Run:
    """A directory in which one process works at a time, and a later one can resume.

    It contains `run.json` (settings, versions, results), `checkpoints/`, `history.csv`, `logs/` and, when finished,
    `model.keras`; in hidden folders `.sums`, the checksums of these.

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
        self._recovered_format: str | None = None
        self.asked = json.loads(json.dumps(asked))
        self._lock = filelock.FileLock(self.path / ".lock", timeout=0)

    def __enter__(self) -> Run:
        with usable(self.path):
            pass
        try:
            with writing(self._lock.lock_file):
                self._lock.acquire()
        except filelock.Timeout:
            raise Busy(
                f"Another process is working in {str(self.path)!r}. Wait for it to end, or give another --out."
            ) from None
        try:
            self.sweep()
            self._repair_record()
            self._check_record()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._lock.release()

    def sweep(self) -> None:
        """Removes half-written files of a killed process, also of checkpoints and logs.

        Who works here does it first; who finds the work finished, and so leaves it, has it to do as well.
        """
        for pattern in (".*", "checkpoints/.*", "logs/*/.*"):
            for part in filter(_is_half_written, self.path.glob(pattern)):
                if not is_in_use(part):
                    removal.remove(part, removal.half_written(re.escape(part.name[1:].rpartition(".")[0])))
        for pattern in ("", "checkpoints/", "logs/*/"):
            for file in self.path.glob(f"{pattern}{SUMS}/*.part"):
                removal.remove(file)

    def _repair_record(self) -> None:
        """Rewrites a damaged `run.json` from recovered settings; the results are then taken again from the files."""
        try:
            self._read_record()
            return
        except (Damaged, FileNotFoundError):
            record = self.record
        if record is not None:
            if self._file.exists():
                set_aside(self._file)
            self._write_record({**record, **environment()})

    def _recover_from_checkpoint(self) -> Any:
        """Reads the settings from a checkpoint; None if there is none."""
        for name in (*_GENERATIONS, "best"):
            with contextlib.suppress(ValueError, FileNotFoundError):
                _, metadata = self._open_checkpoint(name, arrays=False)
                if isinstance(asked := json.loads(metadata.get("asked", "null")), dict):
                    self._recovered_format = metadata.get("format")
                    return asked
        return None

    def _check_record(self) -> None:
        """Writes `run.json` in a new directory; raises if an old one has other settings."""
        record = self.record
        if record is None:
            others = [p.name for p in self.path.iterdir() if p.name not in (".lock", SUMS)]
            if others:
                raise ArgumentError(
                    f"{str(self.path)!r} holds {sorted(others)[0]!r} and no run.json, so it is not a run directory; "
                    f"give an empty or a new --out."
                )
            self._write_record({"format": FORMAT, "asked": self.asked, **environment()})
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
    def _file(self) -> Path:
        return self.path / "run.json"

    @property
    def record(self) -> dict[str, Any] | None:
        """The contents of `run.json`; of a damaged one, or one missing beside checkpoints, what they hold; or None.

        Raises:
            Damaged: neither holds anything.
        """
        try:
            return self._read_record()
        except (Damaged, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and not self.has_checkpoint:
                return None
            asked = self._recover()
            if asked is None:
                raise Damaged(
                    f"{str(self._file)!r} is missing or damaged, and no checkpoint says what it held. All else in "
                    f"{str(self.path)!r} is left as it is; give another --out."
                ) from error
            notice(
                f"{str(self._file)!r} is missing or damaged; the settings of this work are taken from its other files."
            )
            found = self._recovered_format
            return {"format": int(found), "asked": asked} if found else {"asked": asked}

    def _read_record(self) -> dict[str, Any]:
        if not self._file.exists():
            raise FileNotFoundError(self._file)
        record = read_json(self._file)
        if not isinstance(record, dict) or not isinstance(record.get("asked"), dict):
            raise Damaged(f"{str(self._file)!r} is damaged: it has no settings.")
        return record

    def _write_record(self, record: dict[str, Any]) -> None:
        write_json(self._file, record, sealed=True)

    @property
    def finished(self) -> bool:
        """Whether the work was completed."""
        return bool(self.record and "results" in self.record)

    def note(self, **values: Any) -> None:
        """Adds entries to `run.json` beside the settings, for whoever opens the run; they are not compared."""
        record, values = self.record or {}, json.loads(json.dumps(values))
        if any(record.get(name) != value for name, value in values.items()):
            self._write_record({**record, **values})

    def finish(self, results: dict[str, Any]) -> None:
        """Records the results, which marks the run as finished."""
        self._write_record({**(self.record or {}), "results": results})

    @property
    def has_checkpoint(self) -> bool:
        """Whether the state of a whole epoch is stored."""
        return any(self._checkpoint(name).exists() for name in _GENERATIONS)

    def save(self, name: str, variables: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        """Writes a checkpoint, arrays and plain data in one file, completely or not at all.

        Beside `"last"`, the one before it is kept.
        """
        from safetensors.numpy import save_file

        metadata = {"state": json.dumps(state), "asked": json.dumps(self.asked), "format": str(FORMAT)}
        with whole(self._checkpoint(name), sealed=True) as part:
            save_file({k: np.asarray(v, order="C") for k, v in variables.items()}, part, metadata)
            if name == LAST:
                keep(self._checkpoint(LAST), self._checkpoint(_GENERATIONS[1]), part.parent)

    def restore(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Reads a checkpoint; returns None if it does not exist. In place of a damaged `"last"`, the one before it.

        Raises:
            Damaged: it is damaged, and there is no other.
        """
        names = _GENERATIONS if name == LAST else (name,)
        damaged: Damaged | None = None
        for generation in names:
            try:
                arrays, metadata = self._open_checkpoint(generation)
                restored = arrays, json.loads(metadata["state"])
            except FileNotFoundError:
                continue
            except (Damaged, KeyError, ValueError) as error:
                damaged = error if isinstance(error, Damaged) else _unreadable(self._checkpoint(generation), error)
                continue
            if damaged is not None:
                aside = set_aside(self._checkpoint(name))
                notice(
                    f"The newest checkpoint in {str(self.path)!r} was damaged, and is {aside.name!r} now; the training "
                    f"goes on from the one before it, of an epoch earlier."
                )
            return restored
        if damaged is not None:
            raise damaged
        return None

    def _checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / f"{name}.safetensors"

    def _open_checkpoint(self, name: str, arrays: bool = True) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Reads the arrays and the metadata of a checkpoint.

        Raises:
            Damaged: it is not as it was written.
            FileNotFoundError: there is none.
        """
        from safetensors import SafetensorError, safe_open

        file = self._checkpoint(name)
        try:
            with safe_open(verified(file), "numpy") as archive:
                keys = archive.keys() if arrays else ()
                return {key: archive.get_tensor(key) for key in keys}, archive.metadata() or {}
        except FileNotFoundError:
            raise
        except (Damaged, OSError, SafetensorError, ValueError) as error:
            raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> Damaged:
    reason = "it does not have its checksum" if isinstance(error, Damaged) else type(error).__name__
    return Damaged(
        f"{str(file)!r} is damaged ({reason}), and no other checkpoint can be gone on from. Move the "
        f"folder {file.parent.name!r} elsewhere to train from the start again, or give another --out."
    )


def _without_modules(asked: Any) -> Any:
    """Returns settings without the modules of serialised classes, which may move between versions."""
    if isinstance(asked, dict):
        is_class = "class_name" in asked
        return {key: _without_modules(value) for key, value in asked.items() if not (is_class and key == "module")}
    return [_without_modules(value) for value in asked] if isinstance(asked, list) else asked


@contextlib.contextmanager
def usable(path: Path) -> Iterator[None]:
    """Creates a directory; raises `OSError` if it cannot be written. After an error, removes it if new and empty.

    Args:
        path: the directory.
    """
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        raise _unwritable(path, getattr(error, "strerror", None) or str(error)) from error
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def check_usable(path: str | os.PathLike, *, is_file: bool = False) -> None:
    """Raises the `OSError` of `usable` of a directory, or of a file's, where it can be told without creating it."""
    path = Path(path)
    try:
        places = (*(() if is_file else (path,)), *path.absolute().parents)
    except FileNotFoundError:
        raise _unwritable(path, "the working directory, from which it is given, is gone") from None
    there = next((place for place in places if place.exists()), Path("/"))
    if not there.is_dir():
        raise _unwritable(path, os.strerror(errno.EEXIST if there == path else errno.ENOTDIR))
    if not os.access(there, os.W_OK | os.X_OK):
        raise _unwritable(path, os.strerror(errno.EACCES))


def _unwritable(path: Path, reason: str) -> OSError:
    return OSError(f"{str(path)!r} cannot be written: {reason}. Give another --out.")
