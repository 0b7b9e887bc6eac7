"""`open_archive`: open a weight file of any known format, recognised by its first bytes."""

from __future__ import annotations

import os

from keras_resnets.archives import hdf5_file, keras_file, mxnet_file, safetensors_file, torch_file, zips
from keras_resnets.archives.archive import Archive, WeightFileError
from keras_resnets.archives.bounded_file import File
from keras_resnets.errors import ArgumentError

_FORMATS = "a .safetensors, .pth, .params, .h5 or .keras file"
_HEAD = 512


def open_archive(path: str | os.PathLike) -> Archive:
    """Opens an untrusted weight file: safetensors, PyTorch, MXNet, or Keras' .h5 and .keras.

    Reads names, shapes and dtypes at once, and each array on request. The first bytes decide the format. Nothing in the
    file is executed, no more memory is taken than its size allows, and neither torch nor MXNet need be installed. A
    child process with limits reads HDF5, because libhdf5 may crash on a damaged file.

    Args:
        path: the file.

    Returns:
        The archive: arrays by name. PyTorch names join the keys of nested dictionaries with "."; MXNet names begin with
        "arg:" or "aux:"; Keras names are LAYER/WEIGHT, as in "conv1_conv/kernel".

    Raises:
        WeightFileError: an `ArgumentError`. The file is missing, damaged, of an unknown format, or contains something
            other than weights, such as a class to be called or compressed data; the message says which.

    Example:
        >>> import numpy as np, os, tempfile
        >>> from safetensors.numpy import save_file
        >>> file = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> save_file({"fc.bias": np.ones(3, "float32")}, file)
        >>> with open_archive(file) as archive:
        ...     archive.kind, archive["fc.bias"].shape, archive["fc.bias"].read()
        ('safetensors', (3,), array([1., 1., 1.], dtype=float32))
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"path must be the path of a weight file; got a {type(path).__name__}.")
    file = File(path)
    try:
        return _read_any(file)
    except WeightFileError:
        file.close()
        raise


def _read_any(file: File) -> Archive:
    """Chooses the reader by the file's first bytes."""
    head = file.read(0, min(file.size, _HEAD), "its beginning")
    if head.startswith(hdf5_file.MAGIC):
        return hdf5_file.read(file)
    if head.startswith(mxnet_file.MAGIC):
        return mxnet_file.read(file)
    if head.startswith(zips.MAGIC):
        return _read_zip(file)
    if head.startswith(b"\x80") and torch_file.MAGIC in head[:40]:
        return torch_file.read_stream(file)
    if head.startswith(b"version https://git-lfs"):
        file.fail("is a pointer of Git LFS in place of the file that it stands for", "fetch that with git lfs pull")
    if head[8:9] == b"{":
        return safetensors_file.read(file)
    if head.startswith(b"\x80"):
        file.fail("is a pickle of another program than torch.save", "save its arrays as safetensors")
    if head[257:262] == b"ustar":
        file.fail("is a tar, as torch wrote it before 0.2, or an archive of files", "unpack it, or save it anew")
    if head.startswith(b"\x1f\x8b"):
        file.fail("is compressed with gzip", "unpack it")
    if head.lstrip()[:1] == b"<":
        file.fail("is a web page in place of a weight file", "fetch the file itself")
    file.fail("is of no known kind", f"give {_FORMATS}")


def _read_zip(file: File) -> Archive:
    """Tells `.keras` files from torch's by the names of the members."""
    members = zips.list_members(file)
    if keras_file.CONFIG in members:
        return keras_file.read(file, members)
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    roots = [root for root in roots if root.count("/") == 1]
    if len(roots) != 1:
        file.fail("is a zip of another program than torch.save or Keras", f"give {_FORMATS}")
    return torch_file.read_zip(file, members, roots[0])
