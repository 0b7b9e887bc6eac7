"""Opens files of a newer Keras than the one that is installed, as far as they use nothing new."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

from keras_resnets.network import trusted


@contextlib.contextmanager
def readable(file: Path) -> Iterator[Path]:
    """Gives a file that the installed Keras reads: a `.keras` file itself, or a copy without what is off.

    A newer Keras writes all options of a layer, also those that the installed one does not have yet, and that would
    be refused. One that is None or False is off, and a Keras without it does the same: so it is left out, and with it
    what only qualifies it (`renorm_momentum` of `renorm`). One that is on stays, and is refused. The name of an
    operation that cannot have one yet is left out, too; nothing refers to it.

    Args:
        file: as `trusted.check_file` has seen it.

    Yields:
        The file to load, which is gone afterwards if it is a copy.
    """
    if not is_newer(file):
        yield file
        return
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
        if not _without_what_is_off(config):
            yield file
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / file.name
            with zipfile.ZipFile(copy, "w") as older:
                for name in archive.namelist():
                    if name == "config.json":
                        older.writestr(name, json.dumps(config))
                        continue
                    with archive.open(name) as source, older.open(name, "w", force_zip64=True) as target:
                        shutil.copyfileobj(source, target)
            yield copy


def written_by(file: str | os.PathLike) -> str | None:
    """Returns the version of Keras that wrote a `.keras` file; None where it does not say."""
    try:
        with zipfile.ZipFile(file) as archive:
            version = json.loads(archive.read("metadata.json")).get("keras_version")
    except (zipfile.BadZipFile, KeyError, ValueError, AttributeError, OSError):
        return None
    return version if isinstance(version, str) else None


def is_newer(file: str | os.PathLike) -> bool:
    """Returns whether a newer Keras than the installed one wrote a file."""
    version = written_by(file)
    return version is not None and _numbers(version) > _numbers(keras.__version__)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split(".")[:2]:
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _without_what_is_off(config: Any) -> bool:
    """Takes from a configuration what is off and unknown; returns whether there was any."""
    changed = False
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        if not isinstance(item, dict):
            continue
        options = item.get("config")
        if isinstance(options, dict) and isinstance(item.get("class_name"), str):
            found = trusted.resolve(item)
            if inspect.isclass(found) and not issubclass(found, keras.Model):
                unknown = [name for name in options if name not in _options(found)]
                off = [name for name in unknown if options[name] is None or options[name] is False]
                if "name" in options and _is_nameless(found):
                    del options["name"]
                    changed = True
                for name in unknown:
                    if name in off or any(name.startswith(f"{one}_") for one in off):
                        del options[name]
                        changed = True
        waiting.extend(item.values())
    return changed


def _is_nameless(kind: type) -> bool:
    """Whether objects of a class cannot be given a name: those of most operations in earlier Keras."""
    if not issubclass(kind, keras.Operation) or issubclass(kind, keras.Layer):
        return False
    takes = inspect.signature(kind).parameters
    return "name" not in takes and all(one.kind is not one.VAR_KEYWORD for one in takes.values())


def _options(kind: type) -> set[str]:
    """The names that the constructors of a class and of those above it take."""
    constructors: list[Callable] = [vars(one)["__init__"] for one in kind.__mro__ if "__init__" in vars(one)]
    return {
        name for one in constructors if one is not object.__init__ for name in inspect.signature(one).parameters
    } | {"name", "trainable", "dtype"}
