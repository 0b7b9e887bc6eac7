"""`Archive`: what a weight file holds, by name, read only when asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """An array that is still in its file."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


class Archive(Mapping[str, Tensor]):
    """The arrays of a file by name."""

    kind: str
    path: Path
    metadata: dict[str, str]

    def __init__(self, kind, path, tensors, metadata=None):
        self.kind, self.path, self._tensors, self.metadata = kind, Path(path), dict(tensors), metadata or {}

    def __getitem__(self, name):
        return self._tensors[name]

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
