"""Counts parameters and multiply-adds of a built network. See `counting` for specs, which need no network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from keras import layers

from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.network.blocks import ResidualBlock, Segment
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.graph import Graph, shapes, trace

TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, *TRANSPOSED, *SEPARABLE, *DEPTHWISE)
# Their weights scale single values, or are looked up.
WITHOUT_KERNELS = (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.RMSNormalization,
    layers.Normalization,
    layers.PReLU,
    layers.Embedding,
)
# Products of layers without weights, and of the operations of keras.ops.
PRODUCTS = (layers.Attention, layers.AdditiveAttention, layers.Dot, layers.MelSpectrogram, layers.STFTSpectrogram)
PRODUCT_OPERATIONS = {
    *("Conv", "ConvTranspose", "DepthwiseConv", "SeparableConv", "DotProductAttention"),
    *("Dot", "Einsum", "Inner", "Kron", "Matmul", "Outer", "Tensordot", "Vdot"),
}


class Leaf(NamedTuple):
    """A call of an innermost layer, with the shapes of its first input and its output, batch axis included."""

    layer: Any
    input: tuple
    output: tuple


def leaves(layer: keras.Layer, shape: tuple) -> Iterator[Leaf]:
    """Walks the calls of the innermost layers of a network for an input of `shape`, batch axis included."""
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
        yield from _inner(layer.walk(shape))
    elif isinstance(layer, keras.Sequential):
        for inner in layer.layers:
            yield from leaves(inner, shape)
            shape = inner.compute_output_shape(shape)
    elif isinstance(layer, keras.Model):
        steps, output = trace(layer)
        yield from _inner(shapes(steps, output, keras.KerasTensor(shape, layer.inputs[0].dtype)))
    else:
        yield Leaf(layer, tuple(shape), tuple(layer.compute_output_shape(shape)))


def _inner(calls: Iterator[tuple[Any, tuple, tuple]]) -> Iterator[Leaf]:
    """Yields the leaves of calls some of which are of links or models."""
    for operation, read, written in calls:
        if isinstance(operation, ResidualBlock | Segment | Graph | keras.Model):
            yield from leaves(operation, read)
        else:
            yield Leaf(operation, read, written)


def shape_of_input(model: keras.Model) -> tuple[int | None, ...]:
    """Returns the shape of a model's input, without the batch.

    Raises:
        ArgumentError: it is no Keras model, or does not have one input of known shape.
    """
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model must be a Keras model; got {type(model).__name__}.")
    inputs = getattr(model, "inputs", None)
    if not inputs or len(inputs) != 1:
        raise ArgumentError(
            f"model must have one input of known shape; {model.name!r} has {len(inputs or ())}. Take the part between "
            f"one input and one output."
        )
    return tuple(inputs[0].shape[1:])


@explained
def macs(model: keras.Model, input_shape: tuple[int, ...] | None = None) -> int:
    """Counts the multiply-adds of one example.

    Counts convolutions and dense layers, one multiply-add as one operation; normalisation, activations,
    pooling, additions and biases do not count (the convention of He et al. 2015, Table 1). A
    convolution's padding counts as pixels.

    Args:
        model: any functional Keras model with one input, of convolutions (transposed, grouped, depthwise and
            separable ones, too, in one to three dimensions and either data format), `Dense` and `EinsumDense`.
        input_shape: the input's shape without the batch, as height, width and channels; None takes the model's.

    Raises:
        ArgumentError: the model's input size is undefined and `input_shape` is None, or a layer, such as one of
            attention, has products that are not counted.

    Example:
        >>> import keras_resnets as kr
        >>> kr.macs(kr.build("resnet20"))
        40551040
    """
    shape = tuple(input_shape or shape_of_input(model))
    if None in shape:
        raise ArgumentError(
            f"input_shape is needed to count the multiply-adds of {model.name!r}, whose input is {shape}; "
            f"give height, width and channels."
        )
    return sum(_macs_of(leaf) for leaf in leaves(model, (1, *shape)))


def _macs_of(leaf: Leaf) -> int:
    """Counts the multiply-adds of a leaf, each kernel at each place where it is applied.

    Raises:
        ArgumentError: it is not known how often a kernel is applied.
    """
    layer = leaf.layer
    if isinstance(layer, CONVOLUTIONS):
        kernels = [layer.depthwise_kernel, layer.pointwise_kernel] if isinstance(layer, SEPARABLE) else [layer.kernel]
        # A transposed convolution spreads each pixel of its input by the kernel.
        places = leaf.input if isinstance(layer, TRANSPOSED) else leaf.output
        sides = places[1:-1] if layer.data_format == "channels_last" else places[2:]
        return math.prod(sides) * sum(math.prod(kernel.shape) for kernel in kernels)
    if isinstance(layer, layers.Dense):
        return math.prod(leaf.output[1:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.EinsumDense):
        # A product for each combination of the indices; the dots stand for the axes that have no letter.
        read, weights = layer.equation.replace(" ", "").split("->")[0].split(",")
        before, _, after = read.partition("...")
        stop = len(leaf.input) - len(after)
        sizes = dict(zip(before, leaf.input, strict=False)) | dict(zip(after, leaf.input[stop:], strict=True))
        sizes |= dict(zip(weights.replace("...", ""), layer.kernel.shape, strict=False))
        return math.prod(leaf.input[len(before) : stop]) * math.prod(sizes.values())
    # Layers with layers inside, recurrent ones, those of other libraries.
    kernels = [weight for weight in getattr(layer, "weights", []) if len(weight.shape) > 1]
    products = isinstance(layer, PRODUCTS) or (
        not isinstance(layer, keras.Layer) and type(layer).__name__ in PRODUCT_OPERATIONS
    )
    if products or (kernels and not isinstance(layer, WITHOUT_KERNELS)):
        raise ArgumentError(
            f"model: the multiply-adds of {layer.name!r}, a {type(layer).__name__}, are not counted, only those of "
            f"convolutions, Dense and EinsumDense; count the parts of the model without it."
        )
    return 0


@explained
def parameters(model: keras.Layer) -> int:
    """Counts the trainable parameters, without moving statistics.

    Raises:
        ArgumentError: it is no Keras model or layer, or has no parameters yet, because it was not built.

    Example:
        >>> import keras_resnets as kr
        >>> kr.parameters(kr.build("resnet50"))
        25557032
    """
    if not isinstance(model, keras.Layer):
        raise ArgumentError(f"model must be a Keras model or a layer; got {type(model).__name__}.")
    if not model.built:
        raise ArgumentError(f"model must be built; call {model.name!r} once, or give it an Input.")
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)
