"""Recomputes batch-norm statistics, for a network that was edited since they were learned."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops

from keras_resnets.data import Data
from keras_resnets.data.batches import batches as batches_of
from keras_resnets.data.moments import Moments
from keras_resnets.data.needs import for_network
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.explaining import explained
from keras_resnets.network import private
from keras_resnets.network.chain import ResidualNetwork

DROPOUTS = (keras.layers.Dropout, keras.layers.GaussianDropout, keras.layers.AlphaDropout)


@explained
def recalibrate(model: keras.Model, data, *, batches: int | None = 32, batch_size: int = 128) -> int:
    """Recomputes the moving statistics of batch-norm as plain averages over batches of data.

    Training updates these statistics with a momentum. After a block is deleted, the layers behind it still use those
    of the whole network; a few batches, without labels and without a gradient, fit them to the network that is left.
    Each batch is normalised by its own mean and variance, as in training, but without dropout. Then the layer's mean
    becomes that of all examples, and its variance likewise, including that between the batches' means (precise
    batch-norm, Wu and Johnson 2021). Layers that are not trainable, or `frozen`, keep their statistics. No other
    weight changes.

    Args:
        model: any Keras model; its moving statistics are replaced, in place.
        data: `(x, y)` arrays, where y may be None, batched `tf.data`, or what `keras_resnets.data.load` gives, of which
            the training split is used, in order and without augmentation. Classes should be mixed, since each batch
            represents all examples.
        batches: number of batches to read; None for all.
        batch_size: examples in a batch.

    Returns:
        The number of examples read; 0 if no layer has statistics to recompute.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet8", (8, 8, 1))
        >>> kr.recalibrate(model, (np.random.default_rng(0).normal(size=(300, 8, 8, 1)), None), batches=2)
        256
    """
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model must be a Keras model; got {type(model).__name__}.")
    if isinstance(model, ResidualNetwork):
        model.check_trainable()
    whole_number("batches", 1 if batches is None else batches, 1)
    whole_number("batch_size", batch_size, 1)
    layers = [layer for layer in private.flattened(model) if isinstance(layer, keras.layers.BatchNormalization)]
    norms = [layer for layer in layers if layer.trainable and not getattr(layer, "frozen", False)]
    if not norms:
        return 0

    # The mean and variance of each batch, merged into those of all examples.
    moments = [Moments() for _ in norms]
    source = for_network(data, model).train_in_order if isinstance(data, Data) else data
    with _keep_batch_statistics(model, norms):
        for x, _ in itertools.islice(batches_of(source, batch_size, shape=model.input_shape[1:]), batches):
            for layer in norms:
                _assign(layer, 0.0, 0.0)
            model(ops.convert_to_tensor(x, model.inputs[0].dtype), training=True)
            for layer, merged in zip(norms, moments, strict=True):
                mean, variance = _statistics(layer)
                merged.merge(len(x), mean, len(x) * variance)
    for layer, merged in zip(norms, moments, strict=True):
        _assign(layer, merged.mean, merged.squares / merged.count)
    return moments[0].count


def _statistics(layer: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Returns the moving mean and variance of a layer."""
    mean, variance = (ops.convert_to_numpy(v).astype("float64") for v in (layer.moving_mean, layer.moving_variance))
    return mean, variance


def _assign(layer: keras.layers.BatchNormalization, mean, variance) -> None:
    """Sets the moving mean and variance of a layer."""
    for variable, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        variable.assign(np.broadcast_to(np.asarray(value, variable.dtype), variable.shape))


@contextlib.contextmanager
def _keep_batch_statistics(model: keras.Model, norms: Sequence[keras.layers.BatchNormalization]) -> Iterator[None]:
    """Makes layers keep the statistics of a batch unaveraged, without dropout; an error restores the old statistics."""
    changed = [(layer, "momentum", 0.0) for layer in norms]
    changed += [(layer, "rate", 0.0) for layer in private.flattened(model) if isinstance(layer, DROPOUTS)]
    settings = [(layer, name, getattr(layer, name)) for layer, name, _ in changed]
    statistics = [(layer, *_statistics(layer)) for layer in norms]
    for layer, name, value in changed:
        setattr(layer, name, value)
    try:
        yield
    except BaseException:
        for layer, mean, variance in statistics:
            _assign(layer, mean, variance)
        raise
    finally:
        for layer, name, value in settings:
            setattr(layer, name, value)
