"""Keras 3's `.keras` files: a zip of the configuration as JSON, and of the weights by layer path."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from keras_resnets.archives import hdf5_file, zips
from keras_resnets.archives.archive import Archive
from keras_resnets.archives.bounded_file import LONGEST_TEXT, File, quote

CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_LONGEST_CLASS, _MOST_DEPTH = 100, 32
# A layer's name, and the names of its variables in order.
_Layer = tuple[str, list[str]]
_SEED_GENERATOR = re.compile(r"(^|/)(seed_generator(_\d+)?|random_generator)/")


def read(file: File, members: dict[str, zips.Member]) -> Archive:
    """Returns a `.keras` file's archive. The configuration is read as JSON; nothing is built from it."""
    if _WEIGHTS not in members:
        file.fail(f"is not a .keras file: its zip lacks {_WEIGHTS}", "save the model with model.save(file)")
    config = _read_json(file, members, CONFIG)
    metadata = _read_json(file, members, _METADATA) if _METADATA in members else {}
    archive = _read_weights(file, members[_WEIGHTS])
    layers = dict(_list_layers(file, config, "", 0))
    paths = [path for path in archive if not _SEED_GENERATOR.search(path)]
    if not layers:
        # A model without a list of layers: its arrays keep their paths, and the optimiser's are left out.
        names = {path: path for path in paths if not path.startswith("optimizer/")}
    else:
        names = hdf5_file.make_unique(file, _name_arrays(file, layers, paths))
    texts = {key: value for key, value in metadata.items() if isinstance(value, str)}
    tensors = {name: archive[path] for path, name in names.items()}
    archive.metadata.pop("names", None)  # they are in the configuration, too
    return Archive("keras", file.path, tensors, texts | archive.metadata, archive.close)


def _read_json(file: File, members: dict[str, zips.Member], name: str) -> dict[str, Any]:
    return file.parse_json(zips.read_member(file, members[name], LONGEST_TEXT), name)


def _list_layers(file: File, entry: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, _Layer]]:
    """Yields each layer's path, with its name and the names of its variables in order (empty if unknown)."""
    inner = _field(file, entry, "config", dict).get("layers")
    if not isinstance(inner, list):
        return
    if depth > _MOST_DEPTH:
        file.fail(f"is damaged: {CONFIG} has models in more than {_MOST_DEPTH} others")
    counts: Counter[str] = Counter()
    for layer in inner:
        if not isinstance(layer, dict):
            file.fail(f"is damaged: {CONFIG} has a layer that is not a JSON object")
        kind, config = _field(file, layer, "class_name", str), _field(file, layer, "config", dict)
        name = _field(file, config, "name", str)
        base = _snake_case(kind)
        # Keras numbers layers by class, conv2d, conv2d_1, ..., whatever their names.
        path = f"{prefix}layers/{base}" + (f"_{counts[base]}" if counts[base] else "")
        counts[base] += 1
        yield path, (name, _variable_names(kind, config))
        yield from _list_layers(file, layer, f"{path}/", depth + 1)


def _field(file: File, entry: dict[str, Any], key: str, kind: type) -> Any:
    """Returns a field of a layer's entry; raises unless it has the right type."""
    value = entry.get(key)
    if not isinstance(value, kind):
        file.fail(f"is damaged: {CONFIG} has {quote(value)} as a layer's {key}")
    return value


def _snake_case(name: str) -> str:
    """Converts a class name to snake case as Keras does."""
    name = re.sub(r"\W+", "", name[:_LONGEST_CLASS])
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _variable_names(kind: str, config: dict[str, Any]) -> list[str]:
    """Returns the names of a layer's variables in the order of the file; an empty list for other classes."""
    if kind in ("Conv2D", "Dense", "DepthwiseConv2D"):
        return ["kernel", "bias"] if config.get("use_bias", True) else ["kernel"]
    if kind == "BatchNormalization":
        own = [("gamma", config.get("scale", True)), ("beta", config.get("center", True))]
        return [name for name, is_there in own if is_there] + ["moving_mean", "moving_variance"]
    return []


def _name_arrays(file: File, layers: dict[str, _Layer], paths: list[str]) -> dict[str, str]:
    """Returns LAYER/WEIGHT by path; leaves out what is in no layer, such as the optimiser's state."""
    names, counts = {}, Counter(path.rsplit("/", 1)[0] for path in paths)
    for path in paths:
        parts = path.split("/")
        parents = ("/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
        parent = next((parent for parent in parents if parent in layers), None)
        if parent is None:
            continue
        layer, variables = layers[parent]
        inner = path.removeprefix(f"{parent}/")
        number = inner.removeprefix("vars/")
        if not variables or not number.isdecimal():
            names[path] = f"{layer}/{inner}"
        elif counts[f"{parent}/vars"] != len(variables) or number not in map(str, range(len(variables))):
            file.fail(f"is damaged: the layer {quote(layer)} does not have {', '.join(variables)}, as in {CONFIG}")
        else:
            names[path] = f"{layer}/{variables[int(number)]}"
    return names


def _read_weights(file: File, member: zips.Member) -> Archive:
    with hdf5_file.temporary_folder(file) as folder:
        extracted = folder / _WEIGHTS
        with extracted.open("xb") as target:
            zips.verify(file, member, target)
        return hdf5_file.read_arrays(file, extracted, "keras")
