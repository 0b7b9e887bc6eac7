"""What a repository of the Hugging Face hub itself says of its network: timm's and transformers' configurations."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_resnets.architecture.preprocessing import Preprocessing, Resizing
from keras_resnets.errors import ArgumentError, notice
from keras_resnets.weights.public import PublicSet

# Numbers of PIL's filters, in transformers' `preprocessor_config.json`.
_FILTERS = {2: "bilinear", 3: "bicubic"}


def complete(known: PublicSet, get: Callable[[str], Path | None]) -> PublicSet:
    """Returns a set with what its repository says; what it does not say is told.

    Args:
        known: the set.
        get: returns a file of the repository, or None.
    """
    config = _read(get("config.json"))
    fields = _of_timm(config) if "pretrained_cfg" in config else _of_transformers(config, get)
    if fields.get("preprocessing") is None:
        notice(f"The repository of {known.name!r} does not say how images are prepared: taken as its family has it.")
    return dataclasses.replace(known, **fields)


def _of_timm(config: dict[str, Any]) -> dict[str, Any]:
    own = config["pretrained_cfg"] if isinstance(config.get("pretrained_cfg"), dict) else {}
    labels = config.get("label_names")
    size = own.get("input_size") or [0]
    resizing = _resizing(own.get("crop_pct"), own.get("interpolation"))
    return {
        "labels": _texts(labels),
        "size": size[-1] if isinstance(size[-1], int) and size[-1] > 0 else None,
        "preprocessing": _preprocessing(own.get("mean"), own.get("std"), resizing),
    }


def _of_transformers(config: dict[str, Any], get: Callable[[str], Path | None]) -> dict[str, Any]:
    images = _read(get("preprocessor_config.json"))
    size = images.get("size")
    side = size.get("shortest_edge") if isinstance(size, dict) else size
    labels = config.get("id2label")
    labels = labels if isinstance(labels, dict) and all(key.isdigit() for key in labels) else {}
    names = [labels[key] for key in sorted(labels, key=int)] or None
    resizing = _resizing(images.get("crop_pct"), _FILTERS.get(images.get("resample", -1)))
    return {
        "labels": _texts(names),
        "size": side if isinstance(side, int) and side > 0 else None,
        "preprocessing": _preprocessing(images.get("image_mean"), images.get("image_std"), resizing),
    }


def _preprocessing(mean: Any, std: Any, resizing: Resizing | None) -> Preprocessing | None:
    try:
        return Preprocessing(tuple(255 * float(m) for m in mean), tuple(255 * float(s) for s in std), resizing=resizing)
    except (TypeError, ValueError):
        return None


def _resizing(crop: Any, interpolation: Any) -> Resizing | None:
    try:
        return Resizing(float(crop), interpolation)
    except (TypeError, ValueError):
        return None


def _texts(labels: Any) -> tuple[str, ...] | None:
    """Returns names of classes; None where there are none, or only the numbers that transformers puts for them."""
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        return None
    return None if all(name == f"LABEL_{number}" for number, name in enumerate(labels)) else tuple(labels)


def _read(file: Path | None) -> dict[str, Any]:
    """Returns the values of a JSON file; none if there is no file."""
    if file is None:
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{str(file)!r} is not JSON: {error}. Fetch it again.") from error
    return values if isinstance(values, dict) else {}
