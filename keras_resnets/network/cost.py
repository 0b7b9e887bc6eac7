"""Counts parameters and multiply-adds of a built network. See `counting` for specs, which need no network."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras

from keras_resnets.errors import ArgumentError
from keras_resnets.network.blocks import ResidualBlock, Segment
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.data_format import check_channels_last
from keras_resnets.network.graph import Graph


def leaves(layer: keras.Layer, shape: tuple) -> Iterator[tuple[keras.Layer, tuple]]:
    """Walks the innermost layers of a network for an input of `shape`, batch axis included.

    Yields:
        `(layer, output shape)`. Inside a part that is itself a functional model, the shapes are those
        it was created with.
    """
    if isinstance(layer, ResidualNetwork):
        for link in layer.chain:
            yield from leaves(link, shape)
            shape = link.compute_output_shape(shape)
    elif isinstance(layer, ResidualBlock):
        parts = layer.parts()
        if "preactivation" in parts:
            yield from leaves(parts["preactivation"], shape)
            shape = parts["preactivation"].compute_output_shape(shape)
        for branch in ("residual", "shortcut"):
            if branch in parts:
                yield from leaves(parts[branch], shape)
                total = parts[branch].compute_output_shape(shape)
        if "activation" in parts:
            yield from leaves(parts["activation"], total)
    elif isinstance(layer, Segment):
        yield from leaves(layer.body, shape)
    elif isinstance(layer, Graph):
        yield from layer.walk(shape)
    elif isinstance(layer, keras.Sequential):
        for inner in layer.layers:
            yield from leaves(inner, shape)
            shape = inner.compute_output_shape(shape)
    elif isinstance(layer, keras.Model):
        for inner in layer.layers:
            yield from (
                leaves(inner, inner.input.shape) if isinstance(inner, keras.Model) else [(inner, inner.output.shape)]
            )
    else:
        yield layer, tuple(layer.compute_output_shape(shape))


def macs(model: keras.Model, input_shape: tuple[int, int, int] | None = None) -> int:
    """Counts the multiply-adds of one example.

    Counts convolutions and dense layers, one multiply-add as one operation; normalisation, activations,
    pooling, additions and biases do not count (the convention of He et al. 2015, Table 1).

    Args:
        model: any functional Keras model of convolutions and dense layers, channels last.
        input_shape: height, width and channels; None takes the model's.

    Raises:
        ArgumentError: the model's input size is undefined and `input_shape` is None, or its channels come first.

    Example:
        >>> import keras_resnets as kr
        >>> kr.macs(kr.build("resnet20"))
        40551040
    """
    shape = tuple(input_shape or model.input_shape[1:])
    if None in shape:
        raise ArgumentError(
            f"input_shape is needed to count the multiply-adds of {model.name!r}, whose input is {shape}; "
            f"give height, width and channels."
        )
    check_channels_last([model], model.name)
    total = 0
    for layer, output in leaves(model, (1, *shape)):
        kernels = [getattr(layer, n) for n in ("kernel", "depthwise_kernel", "pointwise_kernel") if hasattr(layer, n)]
        total += math.prod(output[1:-1]) * sum(math.prod(kernel.shape) for kernel in kernels if kernel is not None)
    return total


def parameters(model: keras.Model) -> int:
    """Counts the trainable parameters, without moving statistics.

    Example:
        >>> import keras_resnets as kr
        >>> kr.parameters(kr.build("resnet50"))
        25557032
    """
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)
