"""A rank's rows of every batch, so that all ranks together train on the batches of one process."""

from __future__ import annotations

from typing import Any

import keras

from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError


class Rows(keras.utils.PyDataset):
    """The rows of one rank, in the order of the batch; `is_even` says so to the network's `evaluate`.

    Args:
        batches: batches by their number.
        rank: the number of the rank.
        ranks: how many there are.
    """

    is_even = True

    def __init__(self, batches: Any, rank: int, ranks: int):
        super().__init__()
        self._batches, self._rank, self._ranks = batches, rank, ranks

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(rows(part, self._rank, self._ranks) for part in self._batches[index])


def rows(part: Any, rank: int, ranks: int) -> Any:
    """Returns the rows of an array that are a rank's."""
    share = part.shape[0] // ranks
    return part[rank * share : (rank + 1) * share]


class Shares:
    """Data as one rank has them: its rows of the training's batches; other batches whole, unless all can be divided.

    Everything else is that of the data.

    Args:
        data: the data.
        rank: the number of the rank.
        ranks: how many there are.
    """

    def __init__(self, data: Data, rank: int, ranks: int):
        self._data, self._rank, self._ranks = data, rank, ranks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def epochs(self, first: int, last: int):
        """Returns the training batches of the epochs `first` to `last - 1`."""
        return self._rows(self._data.epochs(first, last))

    @property
    def train(self):
        return self._rows(self._data.train)

    def _rows(self, batches: Any) -> Any:
        if hasattr(batches, "element_spec"):  # tf.data
            import tensorflow as tf

            def own(*parts):
                share = tf.shape(parts[0])[0] // self._ranks
                return tuple(part[self._rank * share : (self._rank + 1) * share] for part in parts)

            return batches.map(own, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
        return Rows(batches, self._rank, self._ranks)


def check_even(data: Data, devices: int) -> None:
    """Raises `ArgumentError` unless the training's batches can be split evenly over so many devices."""
    size = data.options["batch_size"]
    if size % devices:
        low, high = size // devices * devices, -(-size // devices) * devices
        raise ArgumentError(
            f"batch_size must be a multiple of the {devices} devices, over which batches are split evenly; got {size}. "
            f"Give {f'{low} or {high}' if low else high}."
        )
    last = data.sizes["train"] % size
    if last % devices and not data.options["drop_remainder"]:
        raise ArgumentError(
            f"drop_remainder must be set: the last batch of an epoch has {last} examples of {data.name!r}, which "
            f"cannot be split evenly over {devices} devices. Give --set-recipe drop_remainder=true, or in Python "
            f"recipe.replace(drop_remainder=True)."
        )
