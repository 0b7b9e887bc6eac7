"""The names of the classes of known data sets, and `decode_predictions`."""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.explaining import explained

_TABLE = Path(__file__).with_name("classes.csv")


@functools.cache
def _rows() -> dict[str, tuple[tuple[str, str], ...]]:
    """The WordNet id, where there is one, and the name of each class, by the name of the data set."""
    found: dict[str, list[tuple[str, str]]] = {}
    with _TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["data"], []).append((row["id"], row["name"]))
    return {data: tuple(rows) for data, rows in found.items()}


def names(data: str) -> tuple[str, ...]:
    """Returns the names of the classes of `"imagenet"`, `"cifar10"` or `"cifar100"`, in the order of their numbers."""
    return tuple(name for _, name in _rows()[data])


@explained
def decode_predictions(predictions, top: int = 5, classes=None) -> list[list[tuple[str | int, str, float]]]:
    """Returns the likeliest classes of each image, as the function of this name of `keras.applications` does.

    Args:
        predictions: a row of scores for each image, an array or a tensor: what `model.predict` returns.
        top: how many classes to return for each image.
        classes: a network, whose `class_names` are taken; names, one for each score; `"imagenet"`, `"cifar10"` or
            `"cifar100"`; None for the 1,000 classes of ImageNet.

    Returns:
        For each image a list of (id, name, score), the highest score first; the id is WordNet's for ImageNet, else the
        number of the class. The names of ImageNet's are torchvision's: "great white shark" for Keras'
        "great_white_shark", and no two alike.

    Raises:
        ArgumentError: predictions are no rows of scores, or are not as many as the names.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> kr.decode_predictions(np.eye(1000)[[1]], top=1)
        [[('n01443537', 'goldfish', 1.0)]]
        >>> kr.decode_predictions(np.array([[0.2, 0.8]]), top=1, classes=("cat", "dog"))
        [[(1, 'dog', 0.8)]]
    """
    scores = np.asarray(predictions)
    if scores.ndim != 2 or not np.issubdtype(scores.dtype, np.number):
        raise ArgumentError(f"predictions must be a row of scores for each image; got shape {scores.shape}.")
    labels = _labels(classes)
    if scores.shape[1] != len(labels):
        raise ArgumentError(
            f"predictions must have a score for each of {len(labels):,} classes; got {scores.shape[1]:,}. Give "
            f"classes=: the network, or the names of its classes."
        )
    whole_number("top", top, 1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [[(*labels[n], float(row[n])) for n in order] for row, order in zip(scores, best, strict=True)]


def _labels(classes) -> Sequence[tuple[str | int, str]]:
    """Returns the id and the name of each class."""
    data = "imagenet" if classes is None else classes
    if isinstance(data, str):
        if data not in _rows():
            raise ArgumentError(
                f"classes must be one of {', '.join(map(repr, _rows()))}, a network or names; got {data!r}."
            )
        return [(code or number, name) for number, (code, name) in enumerate(_rows()[data])]
    own = getattr(data, "class_names", data)
    if isinstance(own, Sequence) and tuple(own) == names("imagenet"):
        return _labels("imagenet")
    if not isinstance(own, Sequence) or not all(isinstance(name, str) for name in own):
        raise ArgumentError(
            "classes must be a network that knows the names of its classes, or a text for each class; set "
            f"model.class_names, or give the names; got {type(classes).__name__}."
        )
    return list(enumerate(own))
