"""Keras' HDF5 files, read through a process of their own (`hdf5_child`)."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from keras_resnets.archives import hdf5_child, safetensors_file
from keras_resnets.archives.archive import Archive
from keras_resnets.archives.files import File, told

MAGIC = b"\x89HDF\r\n\x1a\n"
_SECONDS, _BYTES_PER_SECOND = 60, 10 << 20
_RANDOM = re.compile(r"(^|/)seed_generator(_\d+)?/")


def read(file: File) -> Archive:
    """Returns the archive of a file of weights, or of a whole model."""
    archive = arrays(file, file.path, "hdf5")
    names = [name for name in archive if not _RANDOM.search(name)]
    if any(name.startswith(("layers/", "_layer_checkpoint_dependencies/")) for name in names):
        # Keras 3's weights alone: there is no name of a layer in them.
        return Archive("keras", file.path, {name: archive[name] for name in names}, archive.metadata, archive.close)
    renamed = named(file, dict(zip(names, _legacy(names), strict=True)))
    tensors = {new: archive[old] for old, new in renamed.items()}
    return Archive("hdf5", file.path, tensors, archive.metadata, archive.close)


def _legacy(names: list[str]) -> list[str]:
    """LAYER/WEIGHT for paths below the layers, of which a layer of layers has more than one."""
    parts = [name.split("/") for name in names]
    scopes: dict[str, set[tuple[str, ...]]] = {}
    for layer, *path in parts:
        scopes.setdefault(layer, set()).add(tuple(path[:-1]))
    found = []
    for part in parts:
        layer = part[0] if len(scopes[part[0]]) == 1 else part[-2]
        found.append("/".join([layer, *part[1:][-1:]]).split(":")[0])
    return found


def named(file: File, names: dict[str, str]) -> dict[str, str]:
    """Gives back their full path to arrays that would share a name."""
    taken = Counter(names.values())
    names = {old: new if taken[new] == 1 else old.split(":")[0] for old, new in names.items()}
    taken = Counter(names.values())
    for name, count in taken.items():
        if count > 1:
            file.fail(f"is damaged: {count:,} of its arrays have the name {told(name)}")
    return names


@contextlib.contextmanager
def folder(file: File) -> Iterator[Path]:
    """A temporary folder, which is gone afterwards."""
    try:
        with tempfile.TemporaryDirectory(prefix="keras_resnets_", ignore_cleanup_errors=True) as path:
            yield Path(path)
    except OSError as error:
        told_so = error.strerror or error
        file.fail(f"cannot be read: it needs room in the temporary folder, {told_so}", "free some, or set TMPDIR")


def arrays(file: File, source: Path, kind: str) -> Archive:
    """Returns the arrays of the HDF5 file `source`, which `file` is or has inside, by their paths."""
    with folder(file) as place:
        target = place / "arrays.safetensors"
        _run(file, source, target)
        if not target.exists():
            file.fail("is damaged: libhdf5 left nothing of it")
        # What was written stays until the descriptor is closed, whatever happens to this process.
        return safetensors_file.read(File(file.path, os.open(target, os.O_RDONLY)), kind)


def _run(file: File, source: Path, target: Path) -> None:
    environment = {
        **os.environ, "HDF5_PLUGIN_PRELOAD": "::", "HDF5_USE_FILE_LOCKING": "FALSE", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    # -P keeps the modules beside the program from being taken for others of the same name.
    command = [sys.executable, "-P", str(hdf5_child.__file__), str(source.absolute()), str(target)]
    seconds = _SECONDS + file.size // _BYTES_PER_SECOND
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        file.fail(f"is damaged: libhdf5 did not come to an end with it in {seconds} seconds")
    except OSError as error:
        file.fail(f"cannot be read: the process for it does not start, {error}", "free some memory")
    if done.returncode == hdf5_child.REFUSED:
        said = done.stdout[-2000:].decode(errors="replace").strip().splitlines() or ["nothing"]
        file.fail(f"cannot be read: {''.join(c if c.isprintable() else '?' for c in said[-1][:300])}")
    if done.returncode:
        file.fail(f"is damaged: libhdf5 ended with {done.returncode} on it")
