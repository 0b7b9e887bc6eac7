"""Keras' HDF5 files, read by a child process (`hdf5_child`)."""

from __future__ import annotations

import contextlib
import json
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
from keras_resnets.archives.bounded_file import File, quote

MAGIC = b"\x89HDF\r\n\x1a\n"
_SECONDS, _BYTES_PER_SECOND = 60, 10 << 20
# The variables of a layer in the order of the file, by its class and their number.
_NORM, _WEIGHTED = ("gamma", "beta", "moving_mean", "moving_variance"), ("kernel", "bias")
VARIABLES = {("batch_normalization", 4): _NORM, ("batch_norm", 4): _NORM} | {
    (kind, count): _WEIGHTED[:count] for kind in ("conv2d", "dense", "depthwise_conv2d") for count in (1, 2)
}
_SEED_GENERATOR = re.compile(r"(^|/)seed_generator(_\d+)?/")


def read(file: File) -> Archive:
    """Returns the archive of a file of weights or of a whole model."""
    archive = read_arrays(file, file.path, "hdf5")
    names = [name for name in archive if not _SEED_GENERATOR.search(name)]
    if any(name.startswith(("layers/", "_layer_checkpoint_dependencies/")) for name in names):
        # A weights-only file of Keras 3; the state of an optimiser is left out.
        names = [name for name in names if not name.startswith("optimizer/")]
        renamed = _recorded_names(file, names, json.loads(archive.metadata.pop("names", "{}")))
        tensors = {new: archive[old] for old, new in renamed.items()}
        return Archive("keras", file.path, tensors, archive.metadata, archive.close)
    archive.metadata.pop("names", None)
    renamed = make_unique(file, dict(zip(names, _legacy_names(names), strict=True)))
    tensors = {new: archive[old] for old, new in renamed.items()}
    return Archive("hdf5", file.path, tensors, archive.metadata, archive.close)


def _recorded_names(file: File, paths: list[str], layers: dict[str, str]) -> dict[str, str]:
    """Returns names LAYER/WEIGHT by path, made of the names of layers in the file.

    Where two layers have one name, as in the blocks of a chain, all names begin with those of the layers around. A path
    keeps what Keras 3 has no names for, as before 3.6.
    """
    whole: dict[str, str] = {}
    counts = Counter(path.rpartition("/vars/")[0] for path in paths)
    for path in paths:
        holder, _, number = path.rpartition("/vars/")
        parts = holder.split("/")
        parents = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        if holder not in layers or not number.isdecimal():
            continue
        variables = VARIABLES.get((re.sub(r"_\d+$", "", parts[-1]), counts[holder]), ())
        variable = variables[int(number)] if int(number) < len(variables) else number
        name = "/".join([*(layers[parent] for parent in parents if parent in layers), variable])
        whole[path] = file.check_name(name, (), 0)
    short = {path: "/".join(name.split("/")[-2:]) for path, name in whole.items()}
    chosen = short if len(set(short.values())) == len(short) else whole
    return make_unique(file, {path: chosen.get(path, path) for path in paths})


def _legacy_names(names: list[str]) -> list[str]:
    """Turns paths into LAYER/WEIGHT, where LAYER is the innermost one of a nested model."""
    parts = [name.split("/") for name in names]
    scopes: dict[str, set[tuple[str, ...]]] = {}
    for layer, *path in parts:
        scopes.setdefault(layer, set()).add(tuple(path[:-1]))
    short_names = []
    for part in parts:
        # The arrays of a nested model have more than one scope.
        layer = part[0] if len(scopes[part[0]]) == 1 else part[-2]
        short_names.append("/".join([layer, *part[1:][-1:]]).split(":")[0])
    return short_names


def make_unique(file: File, names: dict[str, str]) -> dict[str, str]:
    """Replaces the short names of arrays (by path) by their full paths where two would share a name."""
    taken = Counter(names.values())
    names = {old: new if taken[new] == 1 else old.split(":")[0] for old, new in names.items()}
    taken = Counter(names.values())
    for name, count in taken.items():
        if count > 1:
            file.fail(f"is damaged: {count:,} of its arrays have the name {quote(name)}")
    return names


@contextlib.contextmanager
def temporary_folder(file: File) -> Iterator[Path]:
    """Makes a temporary folder, and removes it afterwards."""
    try:
        with tempfile.TemporaryDirectory(prefix="keras_resnets_", ignore_cleanup_errors=True) as path:
            yield Path(path)
    except OSError as error:
        reason = error.strerror or error
        file.fail(f"cannot be read: it needs room in the temporary folder, {reason}", "free some, or set TMPDIR")


def read_arrays(file: File, source: Path, kind: str) -> Archive:
    """Returns the arrays of the HDF5 file `source` by path; `source` is `file`, or was extracted from it."""
    with temporary_folder(file) as folder:
        target = folder / "arrays.safetensors"
        _run_child(file, source, target)
        if not target.exists():
            file.fail("is damaged: libhdf5 wrote no output")
        # The content of a deleted file stays readable until its descriptor is closed.
        return safetensors_file.read(File(file.path, os.open(target, os.O_RDONLY)), kind)


def _run_child(file: File, source: Path, target: Path) -> None:
    environment = {
        **os.environ, "HDF5_PLUGIN_PRELOAD": "::", "HDF5_USE_FILE_LOCKING": "FALSE", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    # -P keeps the modules beside the program from shadowing others of the same name.
    command = [sys.executable, "-P", str(hdf5_child.__file__), str(source.absolute()), str(target)]
    seconds = _SECONDS + file.size // _BYTES_PER_SECOND
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        file.fail(f"is damaged: libhdf5 did not finish within {seconds} seconds")
    except OSError as error:
        file.fail(f"cannot be read: its child process does not start, {error}", "free some memory")
    if child.returncode == hdf5_child.REFUSED:
        output = child.stdout[-2000:].decode(errors="replace").strip().splitlines() or ["nothing"]
        file.fail(f"cannot be read: {''.join(c if c.isprintable() else '?' for c in output[-1][:300])}")
    if child.returncode:
        file.fail(f"is damaged: libhdf5 exited with status {child.returncode}")
