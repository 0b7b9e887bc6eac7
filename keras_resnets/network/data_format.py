"""Channels come last in every network, whatever `image_data_format` of `keras.json` says; another order is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import keras

from keras_resnets.errors import ArgumentError
from keras_resnets.network import private

# What each layer and operation that has a choice states; Keras' default is what keras.json says.
LAST = "channels_last"


@contextlib.contextmanager
def channels_last() -> Iterator[None]:
    """Makes channels last the default meanwhile, for what cannot state it: the functions of `keras.applications`.

    Example:
        >>> import keras
        >>> from keras_resnets.network.data_format import channels_last
        >>> with channels_last():
        ...     keras.config.image_data_format()
        'channels_last'
    """
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(LAST)
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def check_channels_last(layers: Iterable[keras.Layer], name: str) -> None:
    """Demands channels last of layers, and of all layers and operations inside them.

    Args:
        layers: the layers, such as the links of a chain, or a model.
        name: the name of their model, for the message.

    Raises:
        ArgumentError: the channels of one come first.
    """
    inner = [part for layer in layers for part in private.flattened(layer)]
    for operation in [step for part in inner for step in (part, *_operations(part))]:
        if getattr(operation, "data_format", LAST) == "channels_first":
            raise ArgumentError(
                f"model: channels must come last, and {operation.name!r} of {name!r} has "
                f"data_format='channels_first'; build it with 'channels_last' (for all layers: "
                f"keras.config.set_image_data_format, or image_data_format in keras.json)."
            )


def _operations(layer: keras.Layer) -> list[keras.Operation]:
    """Returns what a layer computes that is no layer: the operations of a functional model or of a `Graph`."""
    return getattr(layer, "operations", [])
