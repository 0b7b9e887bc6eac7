"""The door through which data enter a measurement: checked batches of any data, and a fingerprint of their contents."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_resnets.data.labels import IGNORE
from keras_resnets.errors import ArgumentError

BATCH = 256

Shape = Sequence[int | None]


def batches(
    data, rows: int = BATCH, *, shape: Shape | None = None, classes: int | None = None, argument: str = "data"
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields arrays of at most `rows` inputs with their labels, or with None if there are none.

    Keras checks what `fit` and `predict` are given, but not what a layer is called with. A measurement that calls
    layers reads its data here, so that nothing is measured on inputs that the network was not made for.

    Args:
        data: `(x, y)` arrays, batched `tf.data`, or what `keras_resnets.data.load` gives, of which
            the test split is used. `(x, None)`, and `tf.data` of inputs alone, have no labels.
        rows: the largest number of inputs in an array.
        shape: the shape of one input, None for a side of any length; None does not check it.
        classes: the number of classes; then labels must be theirs, as for `class_labels`. None does not check them.
        argument: what messages call the data.

    Raises:
        ArgumentError: `data` is none of these, empty or endless, or holds inputs or labels that break these rules.
    """
    empty = True
    for x, y in _parts(data, rows, shape):
        empty = False
        check_inputs(x, shape, argument)
        if y is not None:
            _check_lengths(x, y)
            if classes is None:
                _check_numbers("labels", y)
            else:
                class_labels(y, classes)
        yield x, y
    if empty:
        raise ArgumentError("data must hold at least one example; got none.")


def as_array(values: Any, argument: str = "data") -> np.ndarray:
    """Returns what a user gives as an array.

    Raises:
        ArgumentError: it holds parts of several lengths, or is masked: its hidden values would be measured.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ArgumentError(f"{argument} must be a whole array; got one with masked values. Give array.filled(...).")
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise ArgumentError(
            f"{argument} must be an array; got {type(values).__name__} of parts that make none. Bring all to one shape."
        ) from error


def name_of(data) -> str:
    """Returns the name under which data were loaded, or `"given"` for arrays, `tf.data` and the like, without one."""
    name = data if isinstance(data, str | os.PathLike) else getattr(data, "name", None)
    return "given" if not isinstance(name, str | os.PathLike) or str(name) == "arrays" else str(name)


def class_labels(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns the labels of a batch, class numbers or one-hot rows, as whole numbers.

    Args:
        labels: numbers of shape (examples,) or (examples, 1), or one-hot rows of shape (examples, classes).
        classes: the number of classes.

    Raises:
        ArgumentError: a label is not one of the classes.
    """
    labels = as_array(labels, "data: labels")
    _check_numbers("labels", labels)
    if labels.ndim > 2 or (labels.ndim == 2 and labels.shape[1] not in (1, classes)):
        raise ArgumentError(
            f"data: labels must be a class number for each example, or one-hot rows of {classes}, the outputs of the "
            f"network; got labels of shape {labels.shape}."
        )
    if labels.ndim == 2 and labels.shape[1] > 1:
        one_hot = ((labels == 0) | (labels == 1)).all(1) & (labels.sum(1) == 1)
        if not one_hot.all():
            raise ArgumentError(
                f"data: rows of labels must be one-hot, a 1 at the class and else 0; got "
                f"{labels[~one_hot][0].tolist()}. Several labels for an example, or shares, are not supported."
            )
        return labels.argmax(1)
    labels = labels.reshape(-1)
    outside = _outside(labels, classes)
    if outside.any():
        raise ArgumentError(
            f"data: labels must be whole numbers from 0 to {classes - 1}, the outputs of the network; got "
            f"{labels[outside][0]}."
        )
    return labels.astype(int)


def _outside(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns which labels are not the number of a class."""
    return (labels < 0) | (labels >= classes) | (labels != np.floor(labels))


def pixel_labels(labels: np.ndarray, classes: int, ignore: int = IGNORE) -> np.ndarray:
    """Returns the labels of the pixels of a batch as whole numbers of shape (examples, height, width).

    Args:
        labels: numbers of that shape, or with a last axis of 1.
        classes: the number of classes.
        ignore: the label of pixels without a class.

    Raises:
        ArgumentError: a label is not one of the classes.
    """
    labels = as_array(labels, "data: labels")
    _check_numbers("labels", labels)
    if labels.ndim not in (3, 4) or (labels.ndim == 4 and labels.shape[3] != 1):
        raise ArgumentError(
            f"data: labels must be a class number for each pixel, (examples, height, width); got {labels.shape}."
            + (" Turn one-hot masks into numbers: y.argmax(-1)." if labels.ndim == 4 else "")
        )
    labels = labels.reshape(labels.shape[:3])
    outside = _outside(labels, classes) & (labels != ignore)
    if outside.any():
        raise ArgumentError(
            f"data: labels of pixels must be whole numbers from 0 to {classes - 1}, or {ignore} for none; got "
            f"{labels[outside][0]}."
        )
    return labels.astype(int)


def examples_in(data) -> int | None:
    """Returns the number of examples, or None if it is unknown before they are read."""
    if isinstance(data, tuple):
        return len(data[0]) if data and getattr(data[0], "ndim", hasattr(data[0], "__len__")) else None
    if hasattr(data, "evaluated"):
        return data.evaluated("test")
    return None


def _parts(data, rows: int, shape: Shape | None) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields the batches of arrays or of `tf.data`, not yet checked."""
    if isinstance(data, tuple):
        x, y = _pair(data)
        x, y = as_array(x, "data: inputs"), None if y is None else as_array(y, "data: labels")
        if not x.ndim or (y is not None and not y.ndim):
            raise ArgumentError("data: (x, y) must be arrays with an axis of examples; got a single number or text.")
        if y is not None:
            _check_lengths(x, y)  # of the whole; parts of them could be of one length
        for i in range(0, len(x), rows):
            yield x[i : i + rows], None if y is None else y[i : i + rows]
        return
    dataset = getattr(data, "test", data)
    if not hasattr(dataset, "rebatch"):
        raise ArgumentError(
            f"data must be (x, y) arrays, batched tf.data or the result of keras_resnets.data.load; "
            f"got {type(data).__name__}."
        )
    _check_dataset(dataset, shape)
    for batch in dataset.rebatch(rows).as_numpy_iterator():
        yield _pair(batch)


def _check_dataset(dataset, shape: Shape | None) -> None:
    """Checks what is known of `tf.data` before it is read: that it ends, and that it holds batches."""
    tf = sys.modules.get("tensorflow")
    if tf is None or not isinstance(dataset, tf.data.Dataset):
        return
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ArgumentError(
            "data must end; this tf.data repeats for ever. Leave out its repeat, or take a number of batches."
        )
    x, y = _pair(dataset.element_spec)
    if any(part is not None and part.shape.rank == 0 for part in (x, y)):
        raise ArgumentError("data must be batches; this tf.data holds single examples. Batch it: data.batch(32).")
    if shape is not None and x.shape.rank and fits(x.shape.as_list(), shape) and x.shape[0] is not None:
        raise ArgumentError(
            f"data must be batches of inputs of {tuple(shape)}; this tf.data holds single ones. Batch it: "
            f"data.batch(32)."
        )


def _pair(batch: Any) -> tuple[Any, Any]:
    """Returns inputs and labels, None if there are none."""
    parts = batch if isinstance(batch, tuple) else (batch,)
    if len(parts) not in (1, 2) or any(isinstance(part, dict | tuple) for part in parts):
        raise ArgumentError(
            f"data must be pairs of one array of inputs and one of labels; got {_described(batch)}. Leave out sample "
            f"weights, and take the arrays out of a dictionary: data.map(lambda ...: (x, y))."
        )
    return parts[0], parts[1] if len(parts) == 2 else None


def _described(batch: Any) -> str:
    """Describes a batch that is no pair."""
    if isinstance(batch, dict):
        return f"a dictionary of {', '.join(map(repr, batch))}"
    nested = [f"{_described(part)}" for part in batch if isinstance(part, dict | tuple)]
    return f"{len(batch)} parts" + (f", one of them {nested[0]}" if nested else "")


def check_inputs(x: np.ndarray, shape: Shape | None, argument: str = "data") -> None:
    """Checks a batch of inputs: its type, its shape, and that its numbers are finite."""
    _check_numbers("inputs", x)
    if shape is None:
        return
    found = np.shape(x)[1:]
    if not fits(found, shape):
        raise ArgumentError(
            f"{argument} must hold inputs of {tuple(shape)}, as the network takes them; got {found}."
            + _channels_missing(found, shape)
        )


def fits(found: Sequence[int | None], shape: Shape) -> bool:
    """Returns whether an array has a shape in which None stands for a side of any length."""
    return len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found, strict=True))


def _channels_missing(found: Shape, shape: Shape) -> str:
    """Returns a remedy for inputs without an axis of channels, or with it first."""
    if len(found) == len(shape) - 1:
        return " Give images an axis of channels, the last: x[..., None]."
    if len(found) == len(shape) > 1 and found[0] == shape[-1] != found[-1]:
        return " The channels come last: np.moveaxis(x, 1, -1)."
    return ""


def _check_lengths(x, y) -> None:
    if len(x) != len(y):
        raise ArgumentError(f"data must have a label for every input; got {len(x)} inputs and {len(y)} labels.")


def _check_numbers(what: str, values: np.ndarray) -> None:
    """Raises `ArgumentError` unless an array holds finite real numbers."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf" and values.dtype.name != "bfloat16":
        raise ArgumentError(f"data: {what} must be numbers; got {values.ravel()[:1].tolist()} of type {values.dtype}.")
    if values.dtype.kind not in "biu" and not np.isfinite(values.astype("float32")).all():
        raise ArgumentError(f"data: {what} must be finite; got NaN or infinity.")


class DataFingerprint:
    """Identifies data by contents, whatever the batch size."""

    def __init__(self):
        self._digests = hashlib.sha256(), hashlib.sha256()

    def add(self, x: np.ndarray, y: np.ndarray | None) -> None:
        """Adds the next batch."""
        for digest, array in zip(self._digests, (x, y), strict=True):
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())

    @property
    def text(self) -> str:
        return "".join(digest.hexdigest()[:8] for digest in self._digests)
