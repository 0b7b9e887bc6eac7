"""Keras' `.h5` files, read in a process of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from keras_resnets.weights import hdf5_child
from keras_resnets.weights.archive import Archive, Tensor, refuse
from keras_resnets.weights.safetensors_file import open_file as open_safetensors

SECONDS = 120


def open_file(path: Path) -> Archive:
    """Opens a `.h5` file of weights or of a whole model; names are those of layers and their weights."""
    archive = converted(path, path)
    if any(name.startswith(("layers/", "_layer_checkpoint")) for name in archive):
        return Archive("keras", path, archive, archive.metadata, archive._close)  # by position, as Keras 3 writes them
    found: dict[str, Tensor] = {}
    for name in archive:
        parts = name.removeprefix("model_weights/").split("/")
        if len(parts) < 2 or parts[0] in ("optimizer_weights", "top_level_model_weights"):
            continue
        short = f"{parts[0]}/{parts[-1].split(':')[0]}"
        if short in found:
            archive.__exit__()
            raise refuse(path, f"it has two arrays of the name {short[:80]!r}")
        found[short] = archive[name]
    return Archive("hdf5", path, found, archive.metadata, archive._close)


def converted(file: Path, path: Path) -> Archive:
    """The arrays of an HDF5 file by their paths in it.

    Args:
        file: the file.
        path: what a message calls it.
    """
    folder = Path(tempfile.mkdtemp(prefix="keras_resnets_"))

    def close() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    target = folder / "arrays.safetensors"
    command = [sys.executable, "-I", hdf5_child.__file__, os.fspath(file.resolve()), os.fspath(target)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS + file.stat().st_size // 2**22, check=False)
        if done.returncode == 3:
            raise refuse(path, done.stdout.decode("utf-8", "replace")[:200] or "it is damaged")
        if done.returncode != 0:
            raise refuse(path, "it is damaged, so that reading it failed")
        return open_safetensors(target, "hdf5", close)
    except subprocess.TimeoutExpired as error:
        close()
        raise refuse(path, f"reading it took more than {error.timeout:.0f} seconds") from error
    except BaseException:
        close()
        raise
