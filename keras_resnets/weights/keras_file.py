"""Keras 3's `.keras` files: the weights, named by the layers of the configuration. No layer is made."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

from keras_resnets.weights.archive import MOST_DESCRIPTION, Archive, refuse
from keras_resnets.weights.hdf5_file import converted

# The order in which layers of a kind make their variables; what a setting leaves out is skipped.
VARIABLES = {
    "Conv2D": (("kernel", None), ("bias", "use_bias")),
    "Dense": (("kernel", None), ("bias", "use_bias")),
    "DepthwiseConv2D": (("depthwise_kernel", None), ("bias", "use_bias")),
    "BatchNormalization": (("gamma", "scale"), ("beta", "center"), ("moving_mean", None), ("moving_variance", None)),
}


def is_keras(path: Path) -> bool:
    """Whether a zip file is one of Keras."""
    try:
        with zipfile.ZipFile(path) as file:
            return "config.json" in file.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError, RecursionError):
        return False


def open_file(path: Path) -> Archive:
    """Opens a `.keras` file."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as file:
        config = json.loads(member(path, file, "config.json", MOST_DESCRIPTION))
        folder = Path(tempfile.mkdtemp(prefix="keras_resnets_"))
        try:
            weights = folder / "model.weights.h5"
            weights.write_bytes(member(path, file, "model.weights.h5", 16 * size))
            archive = converted(weights, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    try:
        places = _places(config)
    except BaseException:
        archive.__exit__()
        raise
    found = {}
    for name in archive:
        if match := re.fullmatch(r"(?:_layer_checkpoint_dependencies|layers)/([^/]+)/vars/(\d+)", name):
            layer, names = places.get(match[1], (match[1], ()))
            number = int(match[2])
            found[f"{layer}/{names[number] if number < len(names) else number}"] = archive[name]
    return Archive("keras", path, found, {"class": str(config.get("class_name"))}, archive._close)


def member(path: Path, file: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Reads one file of a zip, of no more than so many bytes."""
    infos = [info for info in file.infolist() if info.filename == name]
    if len(infos) != 1:
        raise refuse(path, f"it has {len(infos)} files of the name {name!r}")
    if infos[0].flag_bits & 1:
        raise refuse(path, f"{name!r} in it is encrypted")
    if infos[0].file_size > most:
        raise refuse(path, f"{name!r} in it claims {infos[0].file_size:,} bytes")
    with file.open(infos[0]) as opened:
        data = opened.read(most + 1)
    if len(data) != infos[0].file_size:
        raise refuse(path, f"{name!r} in it has not the size that it claims")
    return data


def _places(config: dict) -> dict[str, tuple[str, tuple[str, ...]]]:
    """For each place in the weights the name of its layer, and the names of the layer's variables."""
    found, counts = {}, Counter[str]()
    for layer in config["config"]["layers"]:
        kind, settings = layer["class_name"], layer["config"]
        base = re.sub(r"\W+", "", kind)
        base = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", base)).lower()
        place = f"{base}_{counts[base]}" if counts[base] else base
        counts[base] += 1
        names = tuple(name for name, switch in VARIABLES.get(kind, ()) if switch is None or settings.get(switch, True))
        found[place] = (str(settings["name"]), names)
    return found
