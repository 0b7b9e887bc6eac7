"""`open_archive`: a weight file by its path, or public weights by their name."""

from __future__ import annotations

import os

from keras_resnets.archives import reading
from keras_resnets.archives.archive import Archive
from keras_resnets.explaining import explained
from keras_resnets.weights import fetching, public


@explained
def open_archive(path: str | os.PathLike | public.PublicSet) -> Archive:
    """Opens an untrusted weight file: safetensors, PyTorch, MXNet, or Keras' .h5 and .keras.

    Reads names, shapes and dtypes at once, and each array on request. The first bytes decide the format. Nothing in the
    file is executed, no more memory is taken than its size allows, and neither torch nor MXNet need be installed. A
    child process with limits reads HDF5, because libhdf5 may crash on a damaged file.

    Args:
        path: the file, or the full name of public weights (`keras_resnets.weights.available`), which are fetched if
            they are not on this machine.

    Returns:
        The archive: arrays by name. PyTorch names join the keys of nested dictionaries with "."; MXNet names begin with
        "arg:" or "aux:"; Keras names are LAYER/WEIGHT, as in "conv1_conv/kernel".

    Raises:
        WeightFileError: an `ArgumentError`. The file is missing, damaged, of an unknown format, or contains something
            other than weights, such as a class to be called or compressed data; the message says which.
        OSError: the weights are not on this machine and cannot be fetched.

    Example:
        >>> import keras_resnets as kr, numpy as np, os, tempfile
        >>> from safetensors.numpy import save_file
        >>> file = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> save_file({"fc.bias": np.ones(3, "float32")}, file)
        >>> with kr.weights.open_archive(file) as archive:
        ...     archive.kind, archive["fc.bias"].shape, archive["fc.bias"].read()
        ('safetensors', (3,), array([1., 1., 1.], dtype=float32))
    """
    asked = path if isinstance(path, public.PublicSet) else public.find(path)
    if asked is not None:
        file, known = fetching.fetch(asked)
        archive = reading.open_archive(file)
        archive.public = known
        return archive
    assert not isinstance(path, public.PublicSet)
    archive = reading.open_archive(path)
    archive.public = fetching.identify(archive.path)
    return archive
