"""`open_archive`: tells a weight file's format by its first bytes, and hands it to that format's reader."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from keras_resnets.errors import ArgumentError
from keras_resnets.weights import hdf5_file, keras_file, mxnet_file, safetensors_file, torch_file
from keras_resnets.weights.archive import Archive, WeightFileError, refuse

KINDS = "safetensors, torch (.pth, .pt, .th), MXNet (.params), Keras (.h5, .keras)"


def open_archive(path: str | os.PathLike) -> Archive:
    """Opens a weight file: names, shapes and types are read, the numbers only when asked for.

    Nothing in the file is executed, pickles included, and no more memory is taken than the file has bytes for.

    Args:
        path: a `.safetensors` file; a torch state dict, also in torch's format from before 1.6; an MXNet `.params`
            file; a Keras `.h5` or `.keras` file. The content decides, not the ending.

    Returns:
        An `Archive`, to be used in a `with` statement. Names of nested torch dicts are joined with dots, those of Keras
        layers and their weights with a slash.

    Raises:
        ArgumentError: there is no such file.
        WeightFileError: it is none of these, or it is damaged.

    Example:
        >>> import numpy as np, os, tempfile
        >>> from safetensors.numpy import save_file
        >>> from keras_resnets.weights.reading import open_archive
        >>> file = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> save_file({"conv1.weight": np.ones((8, 3, 3, 3), "float32")}, file)
        >>> with open_archive(file) as archive:
        ...     archive.kind, archive["conv1.weight"].shape
        ('safetensors', (8, 3, 3, 3))
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ArgumentError(f"The weight file {str(path)!r} {what}; give a file: {KINDS}.")
    try:
        return _reader(path)(path)
    except WeightFileError:
        raise
    except OSError as error:
        raise refuse(path, f"{error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise refuse(path, "it is damaged") from error
    except (MemoryError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise refuse(path, "it is damaged") from error


def _reader(path: Path):
    with path.open("rb") as file:
        start = file.read(512)
    if start[:8] == b"\x89HDF\r\n\x1a\n":
        return hdf5_file.open_file
    if start[:4] == b"PK\x03\x04":
        return keras_file.open_file if keras_file.is_keras(path) else torch_file.open_zip
    if start[:8] == mxnet_file.MAGIC:
        return mxnet_file.open_file
    if torch_file.is_legacy(start):
        return torch_file.open_legacy
    if start[257:262] == b"ustar":
        raise refuse(path, "it is in the tar format of torch 0.1; load and save it with a newer torch")
    if start[8:9] == b"{":
        return safetensors_file.open_file
    raise refuse(path, f"it is none of {KINDS}")
