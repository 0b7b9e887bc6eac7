"""What has to come of a command under a fault: the result of the undisturbed one, or a sentence that refuses."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from soak.running import Ran

# Columns and keys that hold times, numbers of a process, the command line, the size of a file, in which TensorFlow
# writes a random number of its own, and the path from a run to its data, which may be on another disk.
_CLOCK = re.compile(r"seconds|latency|date_saved|shared_object_id|^command$|^bytes$|^beside$")
# Keras numbers the optimisers of a process.
_OPTIMIZER = re.compile(r"(sgd|adamw|adam_w)_[0-9]+")
# Not compared: locks and checksums, which say how often a file was written, events, which hold the times of epochs, and
# cards in Markdown, which say in words what those in JSON say.
_ASIDE = re.compile(r"(^|/)(\.lock|\.sums/.*|logs/.*|fingerprint\.pb|.*\.sha256|.*\.damaged|.*\.card\.md)$")
# What is looked at, and not read again by a command.
SEEN_BY_EYE = re.compile(r"\.(png|svg|html|md)$|(^|/)(logs/.*|\.lock|\.sums/.*)$")


class Lost(Exception):
    """A fault that cost more than the promises allow: a sentence says what."""


class Skipped(Exception):
    """What cannot be tried here: a sentence says why."""


def contents(folder: Path, timed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns what a folder holds, file by file, without times, in a form that can be compared and stored as JSON.

    Args:
        folder: the folder.
        timed: ends of the names of files which draw times; of these it counts that they are there.
    """
    found = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.is_file() and not _ASIDE.search(name):
            try:
                found[name] = "there" if name.endswith(timed or ("//",)) else _content(file, folder)
            except Exception as error:
                found[name] = f"cannot be read: {type(error).__name__}"
    return found


def _content(file: Path, root: Path) -> Any:
    raw, here = file.read_bytes(), str(root.parent).encode()
    if file.suffix == ".keras":
        return {name: _array_file(data) if name.endswith(".h5") else _plain(data) for name, data in _members(raw)}
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, "numpy") as archive:
            metadata = {
                key: _plain(value.encode().replace(here, b"PLACE")) for key, value in (archive.metadata() or {}).items()
            }
            return {"metadata": metadata, **{key: _digest(archive.get_tensor(key)) for key in list(archive.keys())}}
    raw = raw.replace(here, b"PLACE")
    if file.suffix == ".json":
        return _plain(raw)
    if file.suffix == ".jsonl":
        return [_plain(line) for line in raw.splitlines()]
    if file.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(raw.decode())))
        return [{key: value for key, value in row.items() if not _CLOCK.search(key or "")} for row in rows]
    if file.suffix == ".html":
        raw = re.sub(rb"<time>.*?</time>", b"", raw)
    return hashlib.sha256(raw).hexdigest()


def _members(raw: bytes):
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for name in sorted(archive.namelist()):
            yield name, archive.read(name)


def _array_file(raw: bytes) -> dict[str, str]:
    import h5py

    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = _digest(item[()])

    with h5py.File(io.BytesIO(raw)) as file:
        file.visititems(visit)
    return found


def _digest(array) -> str:
    array = np.ascontiguousarray(array)
    return hashlib.sha256(str((array.dtype, array.shape)).encode() + array.tobytes()).hexdigest()[:16]


def _plain(raw: bytes) -> Any:
    try:
        return _without_times(json.loads(raw))
    except ValueError:
        return raw.decode(errors="replace")


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        # A journal's checksum of a line is one of its times, too.
        return {k: _without_times(v) for k, v in value.items() if not _CLOCK.search(k) and k != "sha256"}
    if isinstance(value, str) and _OPTIMIZER.fullmatch(value):
        return value.rpartition("_")[0]
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Returns the files in which two folders differ, by `contents`."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def first_difference(one: Any, other: Any, at: str = "") -> str:
    """Returns in words where the contents of two files differ first; an empty text if they do not."""
    if isinstance(one, dict) and isinstance(other, dict):
        inner = [(key, one.get(key, "nothing"), other.get(key, "nothing")) for key in sorted(one.keys() | other.keys())]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        inner = [(number, *pair) for number, pair in enumerate(zip(one, other, strict=True))]
    else:
        return "" if one == other else f"{at or 'all of it'}: {str(one)[:100]!r} and not {str(other)[:100]!r}"
    return next((said for key, *pair in inner if (said := first_difference(*pair, at=f"{at}/{key}"))), "")


def opens(file: Path) -> None:
    """Opens a file as its readers do; raises whatever they raise, or an AssertionError, if it is not whole."""
    from keras_resnets import runs
    from keras_resnets.export import integrity

    if file.suffix == ".keras":
        with zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
    elif file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, "numpy") as archive:
            assert archive.keys()
    elif file.suffix in (".json", ".csv"):
        (runs.read_json if file.suffix == ".json" else runs.read_csv)(file)
    elif file.suffix == ".jsonl":
        from keras_resnets.search.journal import Journal

        assert Journal(file).read()[1] == 0, "a line is damaged"
    elif file.suffix in (".svg", ".html"):
        assert file.read_text().rstrip().endswith(("</svg>", "</html>")), "it is cut"
    elif file.suffix in (".tflite", ".onnx"):
        integrity.check(file)
    elif file.name == "saved_model.pb":
        integrity.check(file.parent)
    assert not runs.changed(file), "it does not have its checksum"


def check_words(ran: Ran, what: str) -> None:
    """Raises `Lost` unless a command ended by itself, in plain words."""
    if ran.status < 0:
        raise Lost(f"{what}: it ended by signal {-ran.status}: {_last(ran.err)}")
    if ran.status not in (0, 1, 2) or "Traceback" in ran.err or "Exception ignored" in ran.err:
        raise Lost(f"{what}: status {ran.status}: {ran.err[-600:]!r}")


def check_refused(ran: Ran, what: str, names: str) -> None:
    """Raises `Lost` unless a command was refused by one sentence which names a path and what to do."""
    check_words(ran, what)
    said = [line for line in ran.err.splitlines() if line.startswith("keras-resnets: ")]
    if not said:
        raise Lost(f"{what}: status {ran.status} without a sentence: {_last(ran.err)}")
    sentence = said[-1].removeprefix("keras-resnets: ")
    if names not in sentence or sentence[-1] not in ".?!" or len(sentence) > 900:
        raise Lost(f"{what}: the sentence does not name the file and what to do: {sentence!r}")


def check_same(ran: Ran, folder: Path, expected: dict[str, Any], what: str, timed: tuple[str, ...] = ()) -> None:
    """Raises `Lost` unless a command had the result of the undisturbed one, and left nothing half-written."""
    check_words(ran, what)
    if ran.status:
        raise Lost(f"{what}: status {ran.status}: {_last(ran.err)}")
    found = contents(folder, timed)
    if different := differences(found, expected):
        where = first_difference(found.get(different[0], "no file"), expected.get(different[0], "no file"))
        raise Lost(f"{what}: differs from the undisturbed result in {', '.join(different[:4])} (at {where})")
    check_clean(folder, what)


def check_clean(folder: Path, what: str, *, refused: bool = False) -> None:
    """Raises `Lost` if something half-written is left, or a file does not have its checksum.

    Args:
        folder: what a command wrote.
        what: the case.
        refused: whether it was refused on its way; then measurements that are done may wait for it to go on.
    """
    from keras_resnets.runs import UNFINISHED, sound

    for path in folder.rglob("*"):
        if refused and path.name == UNFINISHED and any(inner.is_file() for inner in path.rglob("*")):
            continue
        if path.suffix == ".part" or (path.name.startswith(".") and path.name not in (".lock", ".sums")):
            raise Lost(f"{what}: {path.relative_to(folder)} is left half-written")
        if path.is_file() and path.parent.name != ".sums" and path.suffix != ".damaged" and not sound(path):
            raise Lost(f"{what}: {path.relative_to(folder)} does not have its checksum")


def _last(text: str) -> str:
    return repr((text.strip().splitlines() or ["nothing said"])[-1][-400:])
