"""Creates the links of a spec: stem, pools, blocks and head, with their layers in the order of the papers."""

from __future__ import annotations

import keras
from keras import layers

from keras_resnets.architecture.plan import Block, Pool, plan
from keras_resnets.architecture.spec import Spec
from keras_resnets.network import skips
from keras_resnets.network.blocks import ResidualBlock, Segment, chained, resample
from keras_resnets.network.data_format import LAST
from keras_resnets.network.layers import BatchNorm, MaxPool


def _regularizer(spec: Spec, normalisation: bool = False):
    """Returns the L2 regularizer whose gradient is `weight_decay * weight`; Keras' penalty has no factor 1/2."""
    if not spec.weight_decay or (normalisation and spec.decay != "all"):
        return None
    return keras.regularizers.L2(spec.weight_decay / 2)


def _norm(spec: Spec, name: str, zero: bool = False) -> keras.Layer:
    decay = _regularizer(spec, normalisation=True)
    return BatchNorm(
        momentum=spec.bn_momentum,
        epsilon=spec.bn_epsilon,
        frozen=spec.frozen_bn,
        gamma_initializer="zeros" if zero else "ones",
        gamma_regularizer=decay,
        beta_regularizer=decay,
        name=name,
    )


def _place(spec: Spec, kinds: tuple[str, ...], number: int | str = "", zero: bool = False) -> list[keras.Layer]:
    """Returns the layers of one place of a `unit.Placement`, named with the number of their convolution."""
    makers = {"bn": lambda name: _norm(spec, name, zero), "relu": lambda name: layers.ReLU(name=name)}
    return [makers[kind](f"{kind}{number}") for kind in kinds]


def _conv(
    spec: Spec, name: str, width: int, kernel: int, stride=1, dilation=1, zero=False, **options
) -> list[keras.Layer]:
    """Returns the layers of a convolution with symmetric padding: "same" would pad a strided one only at the end.

    A strided 1x1 convolution becomes subsampling and a 1x1 convolution of stride 1, which is equivalent: TensorFlow
    2.21's gradient kernel of a strided 1x1 convolution with few channels writes out of bounds on some processors.
    """
    reach = dilation * (kernel - 1) // 2
    before: list[keras.Layer] = []
    if kernel == 1 and stride > 1:
        before, stride = [layers.AveragePooling2D(1, stride, data_format=LAST, name=f"{name}_subsample")], 1
    he_normal = keras.initializers.VarianceScaling(2.0, spec.init, "untruncated_normal")
    conv = layers.Conv2D(
        width,
        kernel,
        stride,
        padding="same" if stride == 1 else "valid",
        data_format=LAST,
        dilation_rate=dilation,
        kernel_initializer="zeros" if zero else he_normal,
        kernel_regularizer=_regularizer(spec),
        name=name,
        **{"use_bias": False, **options},
    )
    if stride == 1:
        return [*before, conv]
    return [layers.ZeroPadding2D(reach, data_format=LAST, name=f"{name}_pad"), conv]


def stem(spec: Spec) -> Segment:
    """Returns the layers before the first block."""
    planned = plan(spec)
    kernel, stride = (7, 2) if planned.deep else (3, 1)
    body = [*_conv(spec, "conv", spec.stem_width, kernel, stride), *_place(spec, planned.stem)]
    if planned.deep:
        # Padding with zeros equals torch's minus infinity here, because the feature map is not negative.
        body += [
            layers.ZeroPadding2D(1, data_format=LAST, name="pool_pad"),
            layers.MaxPooling2D(3, 2, data_format=LAST, name="pool"),
        ]
    return Segment(keras.Sequential(body, name="body"), name="stem")


def pool(spec: Spec, planned: Pool) -> Segment:
    """Returns the max-pooling before a stage."""
    if planned.window == 2 and planned.stride == 2 and spec.pool_padding == "end":
        # Keras' layer computes the same here, and pads inside the kernel.
        return Segment(layers.MaxPooling2D(2, 2, "same", data_format=LAST, name="body"), name=planned.name)
    body = MaxPool(planned.window, planned.stride, planned.dilation, spec.pool_padding, name="body")
    return Segment(body, name=planned.name)


def _residual(spec: Spec, planned: Block) -> list[keras.Layer]:
    """Returns the layers of the residual branch: its convolutions, each with the layers around it."""
    branch: list[keras.Layer] = []
    for number, conv in enumerate(planned.convolutions, 1):
        # A zero gamma before a ReLU would have no gradient, so the convolution starts at zero instead.
        zero = conv.zero and "bn" not in conv.behind
        body = _conv(spec, f"conv{number}", conv.width, conv.kernel, conv.stride, conv.dilation, zero=zero)
        dropout = [layers.Dropout(conv.dropout, name="dropout")] if conv.dropout else []
        branch += [*_place(spec, conv.before, number), *dropout, *body]
        branch += _place(spec, conv.behind, number, conv.zero)
    return branch


def _shortcut(spec: Spec, planned: Block) -> list[keras.Layer] | None:
    """Returns the layers of the shortcut; an empty list for an identity, None without a shortcut."""
    if planned.shortcut is None:
        return None
    if planned.shortcut.projects:
        conv = _conv(spec, "conv", planned.width, 1, planned.stride)
        return [*conv, *_place(spec, planned.shortcut.behind)]
    return resample(planned.channels, planned.width, planned.stride)


def _gate(spec: Spec, width: int, stride: int) -> list[keras.Layer]:
    """Returns the convolution that computes a skip connection's gate."""
    return _conv(
        spec,
        "gate",
        width,
        1,
        stride,
        activation="sigmoid",
        use_bias=True,
        bias_initializer=keras.initializers.Constant(spec.skips.bias),
        bias_regularizer=_regularizer(spec, normalisation=True),
    )


def block(spec: Spec, planned: Block) -> ResidualBlock:
    """Creates one block.

    Args:
        spec: the network's spec.
        planned: the block in the network's plan.
    """
    # In this order, in which layers take their seeds from Keras: another one would change initial weights.
    shared, residual, shortcut = _place(spec, planned.shared, 1), _residual(spec, planned), _shortcut(spec, planned)
    gate = [] if planned.gate is None else _gate(spec, planned.width, planned.gate)
    parts = skips.parts(spec.skips, planned, shared, residual, shortcut, gate)
    total = _place(spec, planned.total)
    activation = total[0] if len(total) == 1 else chained(total, "activation") if total else None
    return ResidualBlock(**parts, activation=activation, name=planned.name)


def head(spec: Spec, include_top: bool, pooling: str | None, classifier_activation: str | None) -> Segment | None:
    """Returns the layers behind the last block, or None if there are none."""
    body = _place(spec, plan(spec).end)
    if include_top:
        top = scores if spec.is_dense else _classifier
        body += top(spec, classifier_activation)
    elif pooling == "avg":
        body += [layers.GlobalAveragePooling2D(data_format=LAST, name="pool")]
    elif pooling == "max":
        body += [layers.GlobalMaxPooling2D(data_format=LAST, name="pool")]
    return Segment(keras.Sequential(body, name="body"), name="head") if body else None


def _predictions(activation: str | None) -> keras.Layer:
    """Returns the output activation, in float32 under any policy: small probabilities underflow in half precision."""
    return layers.Activation(activation or "linear", dtype="float32", name="predictions")


def _classifier(spec: Spec, activation: str | None) -> list[keras.Layer]:
    """Returns the layers of a classifier: pooling, dense layers and output activation."""
    body: list[keras.Layer] = [layers.GlobalAveragePooling2D(data_format=LAST, name="pool")]
    for i, width in enumerate(spec.hidden, 1):
        body += [
            layers.Dense(width, use_bias=False, kernel_regularizer=_regularizer(spec), name=f"hidden{i}"),
            _norm(spec, f"hidden{i}_bn"),
            layers.ReLU(name=f"hidden{i}_relu"),
        ]
    logits = layers.Dense(
        spec.classes,
        # Uniform within 1/sqrt(fan_in), as in the Torch and MXNet originals.
        kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
        kernel_regularizer=_regularizer(spec),
        bias_regularizer=_regularizer(spec, normalisation=True),
        name="logits",
    )
    return [*body, logits, _predictions(activation)]


def scores(spec: Spec, activation: str | None) -> list[keras.Layer]:
    """Returns the layers that score each pixel of the last feature map (Wu et al. 2016, "1 conv." and "2 conv.")."""
    options = {"use_bias": True, "bias_regularizer": _regularizer(spec, normalisation=True)}
    body: list[keras.Layer] = []
    if spec.head == "2conv":
        width = spec.scaled(spec.head_width)
        body += _conv(spec, "conv", width, 3, dilation=spec.head_dilation, activation="relu", **options)
    body += _conv(spec, "logits", spec.classes, 3, dilation=spec.head_dilation, **options)
    return [*body, _predictions(activation)]
