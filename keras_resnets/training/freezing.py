"""`Freezing`: the first epochs of a training change the classifier alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import keras

from keras_resnets.errors import ArgumentError
from keras_resnets.network import private
from keras_resnets.network.chain import ResidualNetwork

# Layers at the start of a head that belong to the features, in networks that normalise before they convolve.
_OF_FEATURES = (keras.layers.BatchNormalization, keras.layers.ReLU, keras.layers.Activation)


def backbone(model: ResidualNetwork) -> Iterator[keras.Layer]:
    """Yields the layers that compute the features, without the classifier.

    Raises:
        ArgumentError: the network has no link named `"head"`.
    """
    for link in model.chain:
        if link.name != "head":
            yield link
            continue
        yield from itertools.takewhile(lambda layer: isinstance(layer, _OF_FEATURES), link.body.layers)
        return
    raise ArgumentError(
        f"freeze needs a network whose classifier is a link named 'head', as kr.build makes it; the links of "
        f"{model.name!r} are {', '.join(link.name for link in model.chain)[:200]}."
    )


class Freezing(keras.callbacks.Callback):
    """Trains only the classifier in the first epochs; the rest works as in inference, batch-norm too.

    Layers are frozen within an epoch only. So whatever looks at the network between epochs, such as the checkpoint,
    finds all variables in their places, and a resumed training those of one that was not interrupted.

    Args:
        epochs: the number of epochs.
    """

    def __init__(self, epochs: int):
        super().__init__()
        self._epochs = epochs
        self._before: list[tuple[keras.Layer, bool]] = []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch < self._epochs:
            frozen = list(backbone(self.model))
            # From the outside in: Keras sets a layer's mode for the layers inside it, too.
            self._before = [(layer, layer.trainable) for link in frozen for layer in private.flattened(link)]
            for layer in frozen:
                layer.trainable = False
        elif epoch == self._epochs:
            # The step was traced for the classifier's variables.
            self.model.make_train_function(force=True)

    def on_epoch_end(self, epoch, logs=None):
        self.lift()

    def lift(self) -> None:
        """Lets all layers be trained that were before."""
        for layer, trainable in self._before:
            layer.trainable = trainable
        self._before = []
