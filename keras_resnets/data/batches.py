"""Batches of any data that a study takes, and a fingerprint of their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from keras_resnets.errors import ArgumentError

BATCH = 256


def batches(data, rows: int = BATCH) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields arrays of at most `rows` inputs with their labels, or with None if there are none.

    Args:
        data: `(x, y)` arrays, batched `tf.data`, or what `keras_resnets.data.load` gives, of which
            the test split is used. `(x, None)`, and `tf.data` of inputs alone, have no labels.
        rows: the largest number of inputs in an array.

    Raises:
        ArgumentError: `data` is none of these, or empty.
    """
    empty = True
    if isinstance(data, tuple) and len(data) == 2:
        x, y = np.asarray(data[0]), None if data[1] is None else np.asarray(data[1])
        if y is not None and len(x) != len(y):
            raise ArgumentError(f"data must have a label for every input; got {len(x)} inputs and {len(y)} labels.")
        parts = [slice(i, i + rows) for i in range(0, len(x), rows)]
        source = ((x[part], None if y is None else y[part]) for part in parts)
    else:
        dataset = getattr(data, "test", data)
        if not hasattr(dataset, "rebatch"):
            raise ArgumentError(
                f"data must be (x, y) arrays, batched tf.data or the result of keras_resnets.data.load; "
                f"got {type(data).__name__}."
            )
        source = dataset.rebatch(rows).as_numpy_iterator()
    for batch in source:
        empty = False
        yield batch if isinstance(batch, tuple) else (batch, None)
    if empty:
        raise ArgumentError("data must hold at least one example; got none.")


def examples_in(data) -> int | None:
    """Returns the number of examples, or None if it is unknown before they are read."""
    if isinstance(data, tuple):
        return len(data[0])
    if hasattr(data, "evaluated"):
        return data.evaluated("test")
    return None


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
