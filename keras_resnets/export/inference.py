"""Prepares a network for export: static, in float32, with preprocessing before it and a softmax behind it if asked."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.network import private
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.data_format import LAST
from keras_resnets.network.layers import MaxPool
from keras_resnets.network.outputs import activation_at_end, last_layer
from keras_resnets.network.probabilities import softmax
from keras_resnets.network.tracing import in_precision

OUTPUTS = ("model", "logits", "probabilities")


@dataclass(frozen=True)
class Inference:
    """A network in inference mode, as `inference` returns it; the formats trace its call.

    Attributes:
        model: the original network.
        network: the same in float32, and for logits without the activation at its end; the model itself if nothing
            changes.
        preprocessing: the preprocessing of raw pixels before it; None for none.
        softmax: whether a softmax is added behind it.
        cut: whether the softmax at its end was removed.
    """

    model: keras.Model
    network: keras.Model
    preprocessing: Preprocessing | None
    softmax: bool
    cut: bool

    @property
    def input(self) -> tuple[str, tuple[int | None, ...], str]:
        """Name, shape without the batch and type of the input."""
        raw = self.preprocessing is not None
        dtype = "float32" if raw else self.network.inputs[0].dtype
        return "pixels" if raw else "inputs", tuple(self.network.input_shape[1:]), dtype

    @property
    def precision(self) -> str:
        """The precision of the original model."""
        return _precision(self.model)

    def __call__(self, inputs):
        x = inputs if self.preprocessing is None else self.preprocessing(inputs)
        y = self.network(ops.cast(x, self.network.inputs[0].dtype), training=False)
        return ops.softmax(y) if self.softmax else y

    def expected(self, x: np.ndarray) -> np.ndarray:
        """Returns the output that the file should have: the network's in Keras, with a softmax computed by NumPy."""
        y = self.network.predict_on_batch(self.prepared(x))
        return softmax(y) if self.softmax else y

    def answered(self, x: np.ndarray) -> np.ndarray:
        """Returns the output of the original model in its own precision, with the softmax if one is added."""
        y = np.asarray(self.model.predict_on_batch(self.prepared(x)), "float32")
        return softmax(y) if self.softmax else y

    def as_answered(self, y: np.ndarray) -> np.ndarray:
        """Converts outputs of `expected` to those of `answered`: applies the softmax that was removed."""
        return softmax(y) if self.cut else y

    def prepared(self, x: np.ndarray) -> np.ndarray:
        """Converts the file's inputs to the network's."""
        return x if self.preprocessing is None else self.preprocessing(x)


def inference(model: keras.Model, preprocessing: bool = False, output: str = "model") -> Inference:
    """Returns a network prepared for export.

    The scales of a path policy are those of the current training step; there are no gates. A model with layers in
    another precision is copied to float32, with the same weights.

    Args:
        model: a Keras model with one input and one output.
        preprocessing: whether to add `model.preprocessing` before it.
        output: `"model"`, its own output; `"logits"` or `"probabilities"`, without or with a softmax at its end.

    Raises:
        ArgumentError: an argument breaks its rule, or does not fit the model.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> from keras_resnets.export.inference import inference
        >>> served = inference(kr.build("resnet8", (8, 8, 1)), output="logits")
        >>> bool(served.expected(np.ones((1, 8, 8, 1), "float32")).sum() == 1)
        False
    """
    # Check the arguments.
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model must be a Keras model; got {type(model).__name__}.")
    one_of("preprocessing", preprocessing, (True, False))
    one_of("output", output, OUTPUTS)
    for kind, tensors in (("input", getattr(model, "inputs", None)), ("output", getattr(model, "outputs", None))):
        if not tensors or len(tensors) != 1:
            raise ArgumentError(
                f"model must have one {kind} of known shape; {model.name!r} has {len(tensors or ())}. Export the part "
                f"between one input and one output."
            )
    prepare = getattr(model, "preprocessing", None) if preprocessing else None
    if preprocessing and prepare is None:
        raise ArgumentError(
            f"preprocessing: {model.name!r} does not carry its own, so it is not known what its pixels need; set "
            f"model.preprocessing, or export it for inputs that are already prepared."
        )
    end = activation_at_end(model) if output != "model" else None
    if end not in (None, "linear", "softmax"):
        raise ArgumentError(
            f"output: {model.name!r} ends in {end}, and {output!r} is for networks that end in a softmax or in logits; "
            f"give output='model'."
        )

    # Update the scales, and copy the network if its precision or its end must change.
    if isinstance(model, ResidualNetwork):
        model.rescale()
    cut = output == "logits" and end == "softmax"
    network = model
    if cut or _precision(model) != "float32":
        network = _in_float32(model)
    if cut:
        last_layer(network).activation = keras.activations.linear
    return Inference(model, network, prepare, output == "probabilities" and end == "linear", cut)


@contextlib.contextmanager
def convertible(network: keras.Model, runtime: str) -> Iterator[None]:
    """Temporarily replaces layer methods so that converters recognise the layers; the outputs stay the same.

    TensorFlow traces a dilated convolution as three operations, of which two move space to the batch and back; they
    only serve gradients. Converters do not recognise them, and do not fold batch-norm behind them. So the convolution
    is traced as one operation. `MaxPool` pads with minus infinity, which no range of integers can hold. So it is padded
    with its edge.

    Args:
        network: the network to trace.
        runtime: `"litert"`, or `"onnx"`, where the padding of a dilated convolution is given in pixels, because ONNX
            does not support "same" there, and where `MaxPool` is not replaced, because padding with the edge is not
            supported.
    """
    replacements = []
    for layer in private.flattened(network):
        if type(layer) is keras.layers.Conv2D and max(layer.dilation_rate) > 1:
            replacements.append((layer, "convolution_op", functools.partial(_convolve, layer, runtime == "onnx")))
        elif type(layer) is MaxPool and runtime == "litert":
            replacements.append((layer, "call", functools.partial(_max_pool, layer)))
    with private.replaced(replacements):
        yield


def _convolve(layer: keras.layers.Conv2D, pad_in_pixels: bool, inputs, kernel):
    """Computes a dilated convolution as a single operation."""
    import tensorflow as tf

    padding = layer.padding.upper()
    if pad_in_pixels and padding == "SAME":
        reaches = [rate * (size - 1) for rate, size in zip(layer.dilation_rate, layer.kernel_size, strict=True)]
        padding = [[0, 0], *([reach // 2, reach - reach // 2] for reach in reaches), [0, 0]]
    return tf.nn.conv2d(inputs, kernel, layer.strides, padding, dilations=layer.dilation_rate)


def _max_pool(layer: MaxPool, inputs):
    """Computes a layer's max-pooling without padding values of its own.

    With a stride, every window that extends beyond the edge also contains the pixel at the edge. Without a stride, the
    map is shifted pixel by pixel, and pixels from beyond the edge are replaced by the unshifted ones.
    """
    before, after = layer.padding_pixels
    if layer.stride > 1:
        around = [[0, 0], [before, after], [before, after], [0, 0]]
        return ops.max_pool(ops.pad(inputs, around, "symmetric"), layer.window, layer.stride, "valid", data_format=LAST)
    x = inputs
    # An even window with padding on both sides is padded by less than it extends, so the map shrinks.
    lost = layer.dilation * (layer.window - 1) - before - after
    for axis in (1, 2):
        distances = [layer.dilation * i - before for i in range(layer.window)]
        shifted = [_shift(x, distance, axis) if distance else x for distance in distances]
        x = functools.reduce(ops.maximum, shifted)
        x = _cut(x, slice(None, -lost or None), axis)
    return x


def _shift(x, distance: int, axis: int):
    """Returns for each pixel the one at a distance along an axis, or itself if that is beyond the edge."""
    if distance > 0:
        parts = [slice(distance, None), slice(-distance, None)]
    else:
        parts = [slice(None, -distance), slice(None, distance)]
    return ops.concatenate([_cut(x, part, axis) for part in parts], axis)


def _cut(x, part: slice, axis: int):
    return x[:, part] if axis == 1 else x[:, :, part]


def _precision(model: keras.Model) -> str:
    """Returns "float32", or the policy of the first layer with another precision."""
    floats = ("float16", "bfloat16", "float64")
    for layer in private.flattened(model):
        # Models and inputs compute nothing, and may have the global policy.
        if isinstance(layer, keras.Model | keras.layers.InputLayer):
            continue
        if layer.compute_dtype in floats or layer.variable_dtype in floats:
            return layer.dtype_policy.name
    return "float32"


def _in_float32(model: keras.Model) -> keras.Model:
    copy = type(model).from_config(in_precision(model.get_config(), "float32"))
    copy.set_weights(model.get_weights())
    return copy
