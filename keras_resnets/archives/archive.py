"""`Archive`: what a weight file holds, by name, read only when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_resnets.errors import ArgumentError


class WeightFileError(ArgumentError):
    """A weight file is damaged, is of no known kind, or asks for what a file of weights may not ask for."""


@dataclass(frozen=True)
class Tensor:
    """An array that is still in its file.

    Attributes:
        shape: its shape.
        dtype: its type once read; bfloat16, which NumPy lacks, is read as float32.
        read: reads it now. The array has exactly this shape and type. Raises `WeightFileError`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


class Archive(Mapping[str, Tensor]):
    """The arrays of a file by name; to be left as a context, which closes the file.

    Attributes:
        kind: `"safetensors"`, `"torch"`, `"mxnet"`, `"hdf5"` or `"keras"`.
        path: the file.
        metadata: what the file says of itself.
    """

    kind: str
    path: Path
    metadata: dict[str, str]

    def __init__(self, kind, path, tensors, metadata=None, close: Callable[[], None] | None = None):
        self.kind, self.path, self._tensors, self.metadata = kind, Path(path), dict(tensors), metadata or {}
        self._close = close

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def close(self) -> None:
        """Closes the file: its arrays cannot be read any more."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_) -> None:
        self.close()
