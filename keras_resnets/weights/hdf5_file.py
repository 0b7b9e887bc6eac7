"""Keras' HDF5 files, read through a process of their own (`hdf5_child`)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from keras_resnets.weights import hdf5_child, safetensors_file
from keras_resnets.weights.archive import Archive
from keras_resnets.weights.files import File

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
    renamed = named(dict(zip(names, _legacy(names), strict=True)))
    tensors = {new: archive[old] for old, new in renamed.items()}
    return Archive("hdf5", file.path, tensors, archive.metadata, archive.close)


def _legacy(names: list[str]) -> list[str]:
    """LAYER/WEIGHT for paths below the layers, of which a layer of layers has more than one."""
    parts = [name.split("/") for name in names]
    scopes: dict[str, set[tuple[str, ...]]] = {}
    for layer, *path in parts:
        scopes.setdefault(layer, set()).add(tuple(path[:-1]))
    layers = [part[0] if len(scopes[part[0]]) == 1 else part[-2] for part in parts]
    return [f"{layer}/{part[-1].split(':')[0]}" for layer, part in zip(layers, parts, strict=True)]


def named(names: dict[str, str]) -> dict[str, str]:
    """Gives back their full path to arrays that would share a name."""
    taken = Counter(names.values())
    return {old: new if taken[new] == 1 else old.split(":")[0] for old, new in names.items()}


def arrays(file: File, source: Path, kind: str) -> Archive:
    """Returns the arrays of the HDF5 file `source`, which `file` is or has inside, by their paths."""
    folder = tempfile.mkdtemp(prefix="keras_resnets_")
    try:
        target = os.path.join(folder, "arrays.safetensors")
        _run(file, source, target)
        # The file stays until the descriptor is closed, whatever happens to this process.
        return safetensors_file.read(File(file.path, os.open(target, os.O_RDONLY)), kind)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(file: File, source: Path, target: str) -> None:
    environment = {
        **os.environ, "HDF5_PLUGIN_PRELOAD": "::", "HDF5_USE_FILE_LOCKING": "FALSE", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    # -P keeps the modules beside the program from being taken for others of the same name.
    command = [sys.executable, "-P", str(hdf5_child.__file__), str(source.absolute()), target]
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
