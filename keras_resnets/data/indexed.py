"""Splits whose examples can be read in any order.

All of it is NumPy: what a training sees is a function of the seed, the epoch and the number of the example or batch,
and the same on TensorFlow, JAX and torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_resnets.data.passes import Batches

Pair = tuple[np.ndarray, Any]
# Makes an example of an image, its label or mask, and the source of its random draws, None in evaluation.
Example = Callable[[np.ndarray, Any, np.random.Generator | None], tuple[Any, Any]]


def draws(seed: int, epoch: int, *numbers: int) -> np.random.Generator:
    """Returns the source of the random draws for a batch or an example of an epoch."""
    return np.random.default_rng((seed, epoch, *numbers))


@functools.lru_cache(maxsize=4)
def order(size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of the examples in an epoch."""
    return draws(seed, epoch).permutation(size)


def fitted(picture: np.ndarray, random: np.random.Generator | None, evaluated, trained) -> np.ndarray:
    """Brings a picture to its size: as in training, given draws and where that differs; else as in evaluation."""
    if random is not None and trained:
        return trained(picture, random)
    return evaluated(picture) if evaluated else picture


class Indexed:
    """A split whose examples can be read in any order.

    Attributes:
        size: the number of examples.
        labels: a label for each example, or its mask, as far as they are known without reading images; else None.
    """

    size: int
    labels: np.ndarray | None
    workers = 1

    def read(self, index: np.ndarray, draw: tuple[int, int] | None = None, example: Example | None = None) -> Pair:
        """Reads a batch.

        Args:
            index: numbers of the examples.
            draw: seed and epoch, of a training; None in evaluation.
            example: what to make of an image and its label; None leaves them as they are.
        """
        raise NotImplementedError

    def batches(self, size: int, example: Example | None = None) -> Batches:
        """Returns batches in stored order, as evaluation takes them."""
        from keras_resnets.data.passes import Batches

        starts = range(0, self.size, size)

        def read(number: int) -> Pair:
            return self.read(np.arange(starts[number], min(starts[number] + size, self.size)), None, example)

        return Batches([min(size, self.size - start) for start in starts], read, workers=self.workers)

    def take(self, index: np.ndarray) -> Indexed:
        """Returns the examples of these numbers."""
        raise NotImplementedError

    def _each(
        self, index: np.ndarray, draw: tuple[int, int] | None, one: Callable[[int, Any], tuple[Any, Any]]
    ) -> Pair:
        """Makes a batch of examples, several at a time, each with its own source of draws."""

        def of(number: int) -> tuple[Any, Any]:
            return one(number, None if draw is None else draws(*draw, 1, number))

        with ThreadPoolExecutor() as pool:
            images, labels = zip(*pool.map(of, index.tolist()), strict=True)
        return np.stack(images), np.stack(labels)


class Arrays(Indexed):
    """A split held in memory.

    Args:
        images: (examples, height, width, channels).
        labels: a class for each, or a mask.
    """

    labels: np.ndarray

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        # Masks stay bytes, a quarter of the memory.
        self.size, self.images = len(images), images
        self.labels = labels if labels.ndim > 1 else labels.astype("int32")

    def read(self, index, draw=None, example=None):
        if example is None:
            return self.images[index], self.labels[index]
        return self._each(index, draw, lambda i, random: example(self.images[i], self.labels[i], random))

    def take(self, index):
        return Arrays(self.images[index], self.labels[index])


class Pictures(Indexed):
    """A split of pictures of any size, each read when it is needed.

    Args:
        size: the number of examples.
        get: gives a picture and its label by number.
        labels: as of `Indexed`.
        evaluated: brings a picture to the size of a network's images; None leaves it as it is.
        trained: the same in training, by random draws; None as in evaluation.
    """

    workers = 2

    def __init__(
        self,
        size: int,
        get: Callable[[int], tuple[np.ndarray, Any]],
        labels: np.ndarray | None = None,
        evaluated: Callable[[np.ndarray], np.ndarray] | None = None,
        trained: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
    ):
        self.size, self.get, self.evaluated, self.trained = size, get, evaluated, trained
        self.labels = None if labels is None else np.asarray(labels, "int32")

    def read(self, index, draw=None, example=None):
        def one(number, random):
            picture, label = self.get(number)
            picture = fitted(picture, random, self.evaluated, self.trained)
            return (picture, label) if example is None else example(picture, label, random)

        images, labels = self._each(index, draw, one)
        return images, labels if labels.ndim > 1 else labels.astype("int32")

    def take(self, index):
        labels = None if self.labels is None else self.labels[index]
        return Pictures(len(index), lambda i: self.get(int(index[i])), labels, self.evaluated, self.trained)
