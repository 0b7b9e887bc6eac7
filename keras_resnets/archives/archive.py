"""`Archive`: the arrays of a weight file by name, each read only on request."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.errors import ArgumentError


class WeightFileError(ArgumentError):
    """A weight file is missing, damaged, of an unknown format, or contains something other than weights."""


@dataclass(frozen=True)
class Tensor:
    """An array that is still in its file.

    Attributes:
        shape: its shape.
        dtype: its dtype once read; bfloat16, which NumPy lacks, is read as float32.
        read: reads the array, which has exactly this shape and dtype. Raises `WeightFileError`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


class Archive(Mapping[str, Tensor]):
    """The arrays of a file by name, and a context manager that closes the file.

    Attributes:
        kind: `"safetensors"`, `"torch"`, `"mxnet"`, `"hdf5"` or `"keras"`.
        path: the file.
        metadata: the file's own metadata, and the texts that stand beside torch's tensors.
        public: what is known of the file beside its contents, if it is one of public weights; else None.
        prefix: beginning of the names of the network that is meant, where the file holds several; None otherwise.
    """

    kind: str
    path: Path
    metadata: dict[str, str]
    public: Any = None
    prefix: str | None = None

    def __init__(self, kind, path, tensors, metadata=None, close: Callable[[], None] | None = None):
        self.kind, self.path, self._tensors, self.metadata = kind, Path(path), dict(tensors), metadata or {}
        self._close = close

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def under(self, prefix: str) -> Archive:
        """Returns the same archive, of which the network under a prefix is meant."""
        other = copy.copy(self)
        other.prefix = prefix
        return other

    def close(self) -> None:
        """Closes the file; its arrays can no longer be read."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_) -> None:
        self.close()
