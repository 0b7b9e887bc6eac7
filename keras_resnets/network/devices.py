"""Batches on several devices, by Keras' data-parallel distribution on JAX: shared in training, else also whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras


class Parallel(keras.distribution.DataParallel):
    """Shares batches among devices, or has every device compute whole batches.

    Of several processes, each feeds its part of a batch that is shared, and all of one that is not. So evaluation takes
    all examples, however many there are, and each process can read what a network predicts.

    Args:
        devices: the names of the devices, those of other processes included.
        processes: how many processes there are.
    """

    def __init__(self, devices: Sequence[str], processes: int = 1):
        super().__init__(devices=list(devices), auto_shard_dataset=False)
        self._each, self.whole = len(devices) // processes, False

    def get_data_layout(self, data_shape):
        # Keras asks for the first batch only, and lays out those behind it alike.
        if self.whole or data_shape[0] % self._each:
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
        return super().get_data_layout(data_shape)


def entire(batches: Any) -> Any:
    """Marks batches that every device is to have whole, for `laid_out`; returns them."""
    batches.entire = True
    return batches


@contextlib.contextmanager
def laid_out(batches: Any) -> Iterator[None]:
    """Has every device compute whole batches, where they are not shared: those marked by `entire`, or None."""
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, Parallel) or not (batches is None or getattr(batches, "entire", False)):
        yield
        return
    distribution.whole, before = True, distribution.whole
    try:
        yield
    finally:
        distribution.whole = before
