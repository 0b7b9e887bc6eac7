"""What a result depends on: versions of packages, and fingerprints of arrays."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.explaining import explained


@explained
def environment(*further: str) -> dict[str, Any]:
    """Returns what a result depends on besides its arguments: versions, backend, command line.

    Args:
        *further: packages whose versions are included, in addition to the usual ones.
    """
    import keras

    packages = ("keras_resnets", "keras", "tensorflow", "jax", "torch", "numpy", *further)
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "versions": versions,
        "backend": keras.config.backend(),
        "python": platform.python_version(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


@explained
def fingerprint(arrays: Iterable[Any]) -> str:
    """Returns a short hash of arrays, to check that two results come from the same weights or data."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.asarray(array)
        digest.update(str((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
