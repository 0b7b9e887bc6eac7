"""`load_model`: opens a saved network, compiled as it was."""

from __future__ import annotations

import os

import keras

from keras_resnets.network import saving


def load_model(path: str | os.PathLike) -> keras.Model:
    """Opens a saved network.

    Args:
        path: a `.keras` file; a run directory, whose `model.keras` is opened; or an `.h5` file of a whole network, in
            which Keras keeps no path policy.

    Returns:
        The model, compiled as it was.

    Raises:
        ArgumentError: there is no such file, or it is not a model saved by Keras 3.

    Example:
        >>> import keras_resnets as kr, tempfile, os
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> kr.build("resnet20").save(file)
        >>> kr.load_model(file).name
        'resnet20'
    """
    return saving.load_model(path)
