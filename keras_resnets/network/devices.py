"""Batches on several devices, by Keras' data-parallel distribution on JAX: split evenly in training, else whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


class Parallel(keras.distribution.DataParallel):
    """Data parallelism in which a process feeds its own rows of each batch, or whole batches where `whole` is set.

    Whole batches are computed by every device alike. So evaluation takes every example, however many there are, and
    what a network predicts can be read in each process.
    """

    def __init__(self) -> None:
        super().__init__(devices=keras.distribution.list_devices(), auto_shard_dataset=False)
        self.whole = False

    def get_data_layout(self, data_shape):
        if self.whole:
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
        return super().get_data_layout(data_shape)


@contextlib.contextmanager
def whole_batches(data: Any = None) -> Iterator[None]:
    """Gives whole batches to every device, unless data say by `is_even` that their batches are a process's rows."""
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, Parallel) or getattr(data, "is_even", False):
        yield
        return
    distribution.whole, before = True, distribution.whole
    try:
        yield
    finally:
        distribution.whole = before
