"""`Archive`: what a weight file holds, by name, read only when asked. And what every reader refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_resnets.errors import ArgumentError

# More than any network of ours has, and little enough to list.
MOST_ARRAYS, MOST_AXES, MOST_NAME = 20_000, 8, 1024
# Of what describes the arrays: pickles, JSON. Those of real files have less than a megabyte.
MOST_DESCRIPTION = 2**24


class WeightFileError(ArgumentError):
    """A weight file is damaged, is not what it claims to be, or asks for what no weight file needs."""


@dataclass(frozen=True)
class Tensor:
    """An array that is still in its file.

    Attributes:
        shape: its shape.
        dtype: the type that `read` gives; stored bfloat16 becomes float32.
        read: reads it now.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


class Archive(Mapping[str, Tensor]):
    """The arrays of a file by name; a context manager, behind which they are not readable any more.

    Args:
        kind: `"safetensors"`, `"torch"`, `"mxnet"`, `"hdf5"` or `"keras"`.
        path: the file.
        tensors: its arrays.
        metadata: what the file says of itself.
        close: what to do at the end.
    """

    def __init__(
        self,
        kind: str,
        path: Path,
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, str] | None = None,
        close: Callable[[], None] | None = None,
    ):
        self.kind, self.path, self.metadata = kind, Path(path), dict(metadata or {})
        self._tensors, self._close = dict(tensors), close

    def __getitem__(self, name):
        return self._tensors[name]

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._close is not None:
            self._close()


def refuse(path: Path, what: str) -> WeightFileError:
    """The error that says what is wrong with a file."""
    return WeightFileError(f"{str(path)!r} cannot be read as a weight file: {what}. Give a whole file that you trust.")


def elements(path: Path, name: str, shape: Iterable[int], room: int) -> int:
    """Returns how many elements an array has, after checking that so many can be there.

    Args:
        path: the file.
        name: the array's.
        shape: its shape, as the file states it.
        room: how many elements there is room for.

    Raises:
        WeightFileError: they cannot.
    """
    shape = tuple(shape)
    if len(shape) > MOST_AXES or any(not isinstance(side, int) or side < 0 for side in shape):
        raise refuse(path, f"the array {name[:80]!r} claims the shape {shape[:MOST_AXES]}")
    count = math.prod(shape)
    if count > room:
        raise refuse(path, f"the array {name[:80]!r} claims {count:,} numbers where there is room for {room:,}")
    return count


def name_of(path: Path, name: object) -> str:
    """Returns the name of an array, after checking that it is one."""
    if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME or not name.isprintable():
        raise refuse(path, f"an array has the name {str(name)[:40]!r}")
    if name.startswith("/") or ".." in name.split("/"):
        raise refuse(path, f"an array has the name {name[:40]!r}, which is that of a place in a file system")
    return name
