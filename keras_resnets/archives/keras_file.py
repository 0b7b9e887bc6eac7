"""Keras 3's `.keras` files: a zip of the configuration as JSON, and of the weights by their layers' places."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from keras_resnets.archives import hdf5_file, zips
from keras_resnets.archives.archive import Archive
from keras_resnets.archives.files import LONGEST_TEXT, File, told

CONFIG, _WEIGHTS, _ABOUT = "config.json", "model.weights.h5", "metadata.json"
_LONGEST_CLASS, _DEEPEST = 100, 32
_RANDOM = re.compile(r"(^|/)(seed_generator(_\d+)?|random_generator)/")


def read(file: File, members: dict[str, zips.Member]) -> Archive:
    """Returns a `.keras` file's archive. The configuration is read as JSON; nothing is built from it."""
    if _WEIGHTS not in members:
        file.fail(f"is no .keras file: its zip lacks {_WEIGHTS}", "save the model with model.save(file)")
    config = file.json(zips.content(file, members[CONFIG], LONGEST_TEXT), CONFIG)
    about = file.json(zips.content(file, members[_ABOUT], LONGEST_TEXT), _ABOUT) if _ABOUT in members else {}
    archive = _weights(file, members[_WEIGHTS])
    layers = dict(_layers(file, config, "", 0))
    paths = [path for path in archive if not _RANDOM.search(path)]
    if not layers:
        # A model whose class is not known here: its arrays keep their places, and the optimiser's are left out.
        kept = {path: path for path in paths if not path.startswith("optimizer/")}
    else:
        kept = hdf5_file.named(file, _names(file, layers, paths))
    metadata = {key: value for key, value in about.items() if isinstance(value, str)} | archive.metadata
    tensors = {name: archive[path] for path, name in kept.items()}
    return Archive("keras", file.path, tensors, metadata, archive.close)


def _layers(file: File, entry: dict[str, Any], place: str, depth: int) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """The place of each layer, with its name and those of its variables in order (none where they are not known)."""
    inner = _of(file, entry, "config", dict).get("layers")
    if not isinstance(inner, list):
        return
    if depth > _DEEPEST:
        file.fail(f"is damaged: {CONFIG} has models in more than {_DEEPEST} others")
    counts: Counter[str] = Counter()
    for layer in inner:
        if not isinstance(layer, dict):
            file.fail(f"is damaged: {CONFIG} has a layer that is no JSON object")
        kind, config = _of(file, layer, "class_name", str), _of(file, layer, "config", dict)
        name = _of(file, config, "name", str)
        base = _snake(kind)
        # As Keras counts them: conv2d, conv2d_1, ... by class, whatever the layers are called.
        here = f"{place}layers/{base}" + (f"_{counts[base]}" if counts[base] else "")
        counts[base] += 1
        yield here, (name, _variables(kind, config))
        yield from _layers(file, layer, f"{here}/", depth + 1)


def _of(file: File, entry: dict[str, Any], key: str, kind: type) -> Any:
    value = entry.get(key)
    if not isinstance(value, kind):
        file.fail(f"is damaged: {CONFIG} has {told(value)} as a layer's {key}")
    return value


def _snake(name: str) -> str:
    """A class's name as Keras writes it."""
    name = re.sub(r"\W+", "", name[:_LONGEST_CLASS])
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _variables(kind: str, config: dict[str, Any]) -> list[str]:
    if kind in ("Conv2D", "Dense", "DepthwiseConv2D"):
        return ["kernel", "bias"] if config.get("use_bias", True) else ["kernel"]
    if kind == "BatchNormalization":
        own = [("gamma", config.get("scale", True)), ("beta", config.get("center", True))]
        return [name for name, is_there in own if is_there] + ["moving_mean", "moving_variance"]
    return []


def _names(file: File, layers: dict[str, tuple[str, list[str]]], paths: list[str]) -> dict[str, str]:
    """LAYER/WEIGHT by path. What is in no layer, such as the optimiser's state, is left out."""
    found, counts = {}, Counter(path.rsplit("/", 1)[0] for path in paths)
    for path in paths:
        parts = path.split("/")
        places = ("/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
        place = next((place for place in places if place in layers), None)
        if place is None:
            continue
        layer, variables = layers[place]
        inner = path.removeprefix(f"{place}/")
        number = inner.removeprefix("vars/")
        if not variables or not number.isdecimal():
            found[path] = f"{layer}/{inner}"
        elif counts[f"{place}/vars"] != len(variables) or number not in map(str, range(len(variables))):
            file.fail(f"is damaged: the layer {told(layer)} does not have {', '.join(variables)}, as in {CONFIG}")
        else:
            found[path] = f"{layer}/{variables[int(number)]}"
    return found


def _weights(file: File, member: zips.Member) -> Archive:
    with hdf5_file.folder(file) as place:
        inner = place / _WEIGHTS
        with inner.open("xb") as target:
            zips.verify(file, member, target)
        return hdf5_file.arrays(file, inner, "keras")
