"""Batches that feed Keras on any backend. The rest of the room finds and checks data without Keras."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

Pair = tuple[np.ndarray, Any]
# What users of `tf.data` may look for.
_OF_TF_DATA = {
    "batch",
    "cache",
    "cardinality",
    "element_spec",
    "filter",
    "map",
    "prefetch",
    "repeat",
    "shuffle",
    "unbatch",
}


class Batches(keras.utils.PyDataset):
    """Batches that can be read in any order, each a pair of arrays: images and labels.

    `fit`, `evaluate` and `predict` of a Keras network take them on any backend, as they take `tf.data`; `len` is their
    number, `[i]` reads one, a loop reads all. Where each pass is to be another epoch, every loop and every epoch of
    `fit` goes on where the one before it ended.

    Args:
        sizes: the number of examples in each batch.
        read: gives a batch by its number. With `turning`, numbers go on beyond `sizes`.
        turning: whether each pass is another epoch.
        workers: threads that read ahead in `fit`.
    """

    # Of the data set that they are of, where that is said.
    name: str | None = None

    def __init__(self, sizes: Sequence[int], read: Callable[[int], Pair], turning: bool = False, workers: int = 1):
        super().__init__(workers=workers)
        self.sizes, self._read, self._turning, self._pass = tuple(sizes), read, turning, 0

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches, from 0; got {index}.")
        return self._read(index + (self._pass * len(self) if self._turning else 0))

    def __iter__(self) -> Iterator[Pair]:
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        self._pass += 1

    def __getattr__(self, name: str) -> Any:
        remedy = "; stream() gives these batches as tf.data, which has it" if name in _OF_TF_DATA else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{remedy}.")

    def as_numpy_iterator(self) -> Iterator[Pair]:
        """Reads all batches, one after the other, as the method of `tf.data` of this name does."""
        return iter(self)

    def take(self, count: int) -> Batches:
        """Returns the first batches."""
        return Batches(self.sizes[:count], self._read, self._turning, self.workers)

    def first(self, examples: int) -> Batches:
        """Returns the batches of the first examples, the last of them cut where it must be."""
        ends = np.cumsum(self.sizes)
        kept = int(np.searchsorted(ends, examples)) + 1
        sizes = list(self.sizes[:kept])
        sizes[-1] -= max(0, sum(sizes) - examples)

        def read(index: int) -> Pair:
            images, labels = self[index]
            return images[: sizes[index]], None if labels is None else labels[: sizes[index]]

        return Batches(sizes, read, workers=self.workers)

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> Batches:
        """Returns the same batches, with their images passed through a function."""

        def read(index: int) -> Pair:
            images, labels = self._read(index)
            return function(images), labels

        return Batches(self.sizes, read, self._turning, self.workers)

    def unlabelled(self) -> Batches:
        """Returns the same batches with None for labels, for measurements that need none."""
        return Batches(self.sizes, lambda index: (self._read(index)[0], None), self._turning, self.workers)

    def rebatch(self, size: int) -> Batches:
        """Returns the same examples in batches of another size."""
        ends = np.cumsum(self.sizes)
        total, starts = int(ends[-1]), ends - np.array(self.sizes)
        last = functools.lru_cache(maxsize=1)(self.__getitem__)  # a batch may be spread over several

        def read(index: int) -> Pair:
            begin, end = index * size, min((index + 1) * size, total)
            parts = []
            for number in range(int(np.searchsorted(ends, begin, "right")), int(np.searchsorted(ends, end)) + 1):
                images, labels = last(number)
                there = slice(max(0, begin - int(starts[number])), end - int(starts[number]))
                parts.append((images[there], None if labels is None else labels[there]))
            if len(parts) == 1:
                return parts[0]
            images, labels = zip(*parts, strict=True)
            return np.concatenate(images), None if labels[0] is None else np.concatenate(labels)

        return Batches([min(size, total - begin) for begin in range(0, total, size)], read, workers=self.workers)

    def concatenate(self, other: Batches) -> Batches:
        """Returns these batches, and then others."""
        both = (self, other)

        def read(index: int) -> Pair:
            return both[0][index] if index < len(self) else both[1][index - len(self)]

        return Batches(self.sizes + other.sizes, read, workers=max(self.workers, other.workers))

    def stream(self) -> Any:
        """Returns the batches as `tf.data`."""
        import tensorflow as tf

        found = [tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in self[0] if part is not None]
        pairs = len(found) == 2

        def parts():
            for images, labels in self:
                yield (images, labels) if pairs else images

        dataset = tf.data.Dataset.from_generator(parts, output_signature=tuple(found) if pairs else found[0])
        return dataset.apply(tf.data.experimental.assert_cardinality(len(self)))


def joined(parts: Sequence[Any]) -> Any:
    """Returns batches one after the other; as `tf.data`, if one of them is."""
    if not all(isinstance(part, Batches) for part in parts):
        parts = [part.stream() if isinstance(part, Batches) else part for part in parts]
    return functools.reduce(lambda one, other: one.concatenate(other), parts)


def first_of(batches: Any, examples: int) -> Any:
    """Returns the batches of the first examples; as `tf.data`, if they are."""
    if isinstance(batches, Batches):
        return batches.first(examples)
    size = next(iter(batches.take(1).as_numpy_iterator()))
    return batches.unbatch().take(examples).batch(len(size[0] if isinstance(size, tuple) else size))


def mapped(batches: Any, function: Callable) -> Any:
    """Returns batches with their images passed through a function; as `tf.data`, if they are."""
    if isinstance(batches, Batches):
        return batches.mapped(function)
    return batches.map(lambda x, *y: (function(x), *y) if y else function(x))


def unlabelled(batches: Any) -> Any:
    """Returns batches without their labels; as `tf.data`, if they are."""
    return batches.unlabelled() if isinstance(batches, Batches) else batches.map(lambda x, y: x)
