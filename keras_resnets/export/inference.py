"""The network that is exported: static, in float32, with what goes in front of it and behind it."""

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
from keras_resnets.network.blocks import Segment
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.graph import Graph
from keras_resnets.network.layers import MaxPool
from keras_resnets.network.tracing import in_precision

OUTPUTS = ("model", "logits", "probabilities")


@dataclass(frozen=True)
class Inference:
    """A network as it answers when its training is over. Made by `inference`.

    Calling it with a tensor computes the answer; it is what the formats trace.

    Attributes:
        model: the network as it came.
        network: the same in float32, without the activation at its end where logits are asked; the model itself where
            nothing is to be changed.
        preprocessing: what is done to raw pixels in front of it; None for nothing.
        softmax: whether a softmax is put behind it.
        cut: whether a softmax at its end was taken away.
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
        """What the model itself computes in."""
        return _precision(self.model)

    def __call__(self, inputs):
        x = inputs if self.preprocessing is None else self.preprocessing(inputs)
        y = self.network(ops.cast(x, self.network.inputs[0].dtype), training=False)
        return ops.softmax(y) if self.softmax else y

    def expected(self, x: np.ndarray) -> np.ndarray:
        """What the file should answer: the network as Keras runs it, its ends computed by NumPy."""
        y = self.network.predict_on_batch(self.prepared(x))
        return _softmax(y) if self.softmax else y

    def answered(self, x: np.ndarray) -> np.ndarray:
        """What the model itself answers, in its own precision, with a softmax where one is added."""
        y = np.asarray(self.model.predict_on_batch(self.prepared(x)), "float32")
        return _softmax(y) if self.softmax else y

    def as_answered(self, y: np.ndarray) -> np.ndarray:
        """What `expected` gives as `answered` would give it: with the softmax that was cut."""
        return _softmax(y) if self.cut else y

    def prepared(self, x: np.ndarray) -> np.ndarray:
        """The network's input for an input of the file."""
        return x if self.preprocessing is None else self.preprocessing(x)


def inference(model: keras.Model, preprocessing: bool = False, output: str = "model") -> Inference:
    """Returns a network as it is exported.

    What a path policy scales is scaled as at this step of the training; no gate is left. Layers that compute in another
    precision are made anew in float32, with the same weights.

    Args:
        model: a Keras model with one input and one output.
        preprocessing: whether to put `model.preprocessing` in front.
        output: `"model"`, what it gives; `"logits"` or `"probabilities"`, without or with a softmax at its end.

    Raises:
        ArgumentError: an argument breaks its rule, or does not fit the model.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> from keras_resnets.export.inference import inference
        >>> served = inference(kr.build("resnet8", (8, 8, 1)), output="logits")
        >>> bool(served.expected(np.ones((1, 8, 8, 1), "float32")).sum() == 1)
        False
    """
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
            f"preprocessing: {model.name!r} does not carry its own, so what its pixels need is not known (a mean "
            f"image, as data normalised by 'pixel' have it, is no Preprocessing); set model.preprocessing, or export "
            f"it for inputs that are prepared."
        )
    if isinstance(model, ResidualNetwork):
        model.rescale()
    end = _activation(model) if output != "model" else None
    if end not in (None, "linear", "softmax"):
        raise ArgumentError(
            f"output: {model.name!r} ends in {end}, and {output!r} is for what ends in a softmax or in logits; give "
            f"output='model'."
        )
    cut = output == "logits" and end == "softmax"
    network = model
    if cut or _precision(model) != "float32":
        network = _in_float32(model)
    if cut:
        _last(network).activation = keras.activations.linear
    return Inference(model, network, prepare, output == "probabilities" and end == "linear", cut)


@contextlib.contextmanager
def convertible(network: keras.Model, runtime: str) -> Iterator[None]:
    """Has some layers traced such that a converter finds what they are; they compute the same.

    TensorFlow makes three operations of a dilated convolution, which moves space to the batch and back, for the sake of
    gradients alone; converters do not see through it, and leave batch-norm unfolded behind it. It is traced as one.
    `MaxPool` pads with minus infinity, which has no place in a range of whole numbers. It is padded with its edge.

    Args:
        network: what is traced.
        runtime: `"litert"`, or `"onnx"`, which is told the padding of a dilated convolution in pixels, for it takes no
            "same" there, and does not know how to pad with an edge.
    """
    changed = []
    for layer in private.flattened(network):
        if type(layer) is keras.layers.Conv2D and max(layer.dilation_rate) > 1:
            changed.append((layer, "convolution_op", functools.partial(_convolution, layer, runtime == "onnx")))
        elif type(layer) is MaxPool and runtime == "litert":
            changed.append((layer, "call", functools.partial(_max_pool, layer)))
    with private.replaced(changed):
        yield


def _convolution(layer: keras.layers.Conv2D, padded: bool, inputs, kernel):
    import tensorflow as tf

    padding = layer.padding.upper()
    if padded and padding == "SAME":
        reaches = [rate * (size - 1) for rate, size in zip(layer.dilation_rate, layer.kernel_size, strict=True)]
        padding = [[0, 0], *([reach // 2, reach - reach // 2] for reach in reaches), [0, 0]]
    return tf.nn.conv2d(inputs, kernel, layer.strides, padding, dilations=layer.dilation_rate)


def _max_pool(layer: MaxPool, inputs):
    """The pooling of a layer, no pixel beyond the edge being made up.

    With a stride, every window that reaches beyond the edge has the pixel at the edge in it, too. Without, the map is
    moved pixel by pixel, and what is moved beyond the edge takes its old place.
    """
    before, after = layer.padding_pixels
    if layer.stride > 1:
        around = [[0, 0], [before, after], [before, after], [0, 0]]
        return ops.max_pool(ops.pad(inputs, around, "symmetric"), layer.window, layer.stride, "valid")
    x = inputs
    # Of an even window that is padded on both sides, less is padded than it reaches.
    lost = layer.dilation * (layer.window - 1) - before - after
    for axis in (1, 2):
        distances = [layer.dilation * i - before for i in range(layer.window)]
        moved = [_moved(x, distance, axis) if distance else x for distance in distances]
        x = functools.reduce(ops.maximum, moved)
        x = _cut(x, slice(None, -lost or None), axis)
    return x


def _moved(x, distance: int, axis: int):
    """What lies so far ahead of each pixel, or the pixel itself where that is beyond the edge."""
    if distance > 0:
        parts = [slice(distance, None), slice(-distance, None)]
    else:
        parts = [slice(None, -distance), slice(None, distance)]
    return ops.concatenate([_cut(x, part, axis) for part in parts], axis)


def _cut(x, part: slice, axis: int):
    return x[:, part] if axis == 1 else x[:, :, part]


def _precision(model: keras.Model) -> str:
    """float32, or the first policy of a layer that has another."""
    floats = ("float16", "bfloat16", "float64")
    for layer in private.flattened(model):
        # What holds others computes nothing, and may have the global policy.
        if isinstance(layer, keras.Model | keras.layers.InputLayer):
            continue
        if layer.compute_dtype in floats or layer.variable_dtype in floats:
            return layer.dtype_policy.name
    return "float32"


def _in_float32(model: keras.Model) -> keras.Model:
    copy = type(model).from_config(in_precision(model.get_config(), "float32"))
    copy.set_weights(model.get_weights())
    return copy


def _last(layer):
    """The innermost layer that gives a network's output."""
    if isinstance(layer, Segment):
        return _last(layer.body)
    if isinstance(layer, Graph):
        return _last(next(step.operation for step in layer.steps if layer.result in step.outputs))
    if isinstance(layer, keras.Sequential):
        return _last(layer.layers[-1])
    if isinstance(layer, keras.Function):
        return _last(private.operation_of(layer.outputs[0]))
    return layer


def _activation(model: keras.Model) -> str:
    last = _last(model)
    found = getattr(last, "activation", None) or last
    return getattr(found, "__name__", None) or found.name


def _softmax(y: np.ndarray) -> np.ndarray:
    raised = np.exp(y - y.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)
