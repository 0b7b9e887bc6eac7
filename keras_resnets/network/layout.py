"""From a spec to links: stem, blocks and head, laid out as layers in the order of the papers."""

from __future__ import annotations

import functools

import keras
from keras import layers

from keras_resnets.architecture import dilation
from keras_resnets.architecture.dilation import Grid
from keras_resnets.architecture.spec import Spec, Stage
from keras_resnets.errors import ArgumentError
from keras_resnets.network import skips
from keras_resnets.network.blocks import ResidualBlock, Segment, chained, resample
from keras_resnets.network.layers import BatchNorm, MaxPool


def _regularizer(spec: Spec, normalisation: bool = False):
    """L2 whose gradient is `weight_decay * weight`: Keras' penalty has no factor 1/2."""
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
    """The layers of a place, as `unit.Placement` lists them, named with the number of their convolution."""
    made = {"bn": lambda name: _norm(spec, name, zero), "relu": lambda name: layers.ReLU(name=name)}
    return [made[kind](f"{kind}{number}") for kind in kinds]


def _conv(
    spec: Spec, name: str, width: int, kernel: int, stride=1, dilation=1, zero=False, **options
) -> list[keras.Layer]:
    """A convolution with symmetric padding: "same" pads a strided one on the far side only.

    A strided 1x1 reads one pixel of several, and is laid out as just that in front of one of stride 1: what TensorFlow
    2.21 takes for the gradient of a strided 1x1 of few channels writes past its memory on some processors.
    """
    reach = dilation * (kernel - 1) // 2
    front: list[keras.Layer] = []
    if kernel == 1 and stride > 1:
        front, stride = [layers.AveragePooling2D(1, stride, name=f"{name}_subsample")], 1
    he_normal = keras.initializers.VarianceScaling(2.0, spec.init, "untruncated_normal")
    conv = layers.Conv2D(
        width,
        kernel,
        stride,
        padding="same" if stride == 1 else "valid",
        dilation_rate=dilation,
        kernel_initializer="zeros" if zero else he_normal,
        kernel_regularizer=_regularizer(spec),
        name=name,
        **{"use_bias": False, **options},
    )
    if stride == 1:
        return [*front, conv]
    return [layers.ZeroPadding2D(reach, name=f"{name}_pad"), conv]


def stem(spec: Spec) -> Segment:
    """The layers in front of the first block."""
    deep = spec.stem == "conv7"
    body = _conv(spec, "conv", spec.stem_width, 7 if deep else 3, stride=2 if deep else 1)
    body += _place(spec, ("bn", "relu") if deep else spec.activations.stem)
    if deep:
        # Zeros equal torch's minus infinity here, for the map is not negative.
        body += [layers.ZeroPadding2D(1, name="pool_pad"), layers.MaxPooling2D(3, 2, name="pool")]
    return Segment(keras.Sequential(body, name="body"), name="stem")


def pool(spec: Spec, stage: Stage, grid: Grid, name: str) -> Segment:
    """The max-pool in front of a stage."""
    if stage.pool == 2 and grid.pool == 2 and spec.pool_padding == "end":
        # Keras' own does the same here, and pads inside the kernel.
        return Segment(layers.MaxPooling2D(2, 2, padding="same", name="body"), name=name)
    body = MaxPool(stage.pool, grid.pool, grid.pool_dilation, spec.pool_padding, name="body")
    return Segment(body, name=name)


def _units(spec: Spec, number: int, grid: Grid, first: bool) -> list[keras.Layer]:
    """The residual branch: convolution, BN and ReLU for each width, in the order of `placement`."""
    places, stage = spec.activations, spec.stages[number]
    stride = grid.stride if first else 1
    strided, dilations = dilation.strided(spec, stage), dilation.of_block(spec, stage, grid, first)
    widths, last = spec.widths(stage), len(stage.widths) - 1
    rate = spec.dropout_of(number)
    branch: list[keras.Layer] = []
    for i, (width, kernel) in enumerate(zip(widths, stage.kernels, strict=True)):
        n, end = i + 1, i == last
        zero = spec.zero_gamma and end
        conv = _conv(
            spec,
            f"conv{n}",
            width,
            kernel,
            stride if i == strided else 1,
            dilations[i],
            # A zero gamma in front of ReLU would never leave zero, so the convolution starts there.
            zero=zero and "bn" not in places.last,
        )
        drop = [layers.Dropout(rate, name="dropout")] if rate and end else []
        branch += [*_place(spec, places.before, n), *drop, *conv]
        branch += _place(spec, places.last, n, zero) if end else _place(spec, places.behind, n)
    return branch


def _shortcut(spec: Spec, channels: int, width: int, stride: int, shrinks: bool) -> list[keras.Layer] | None:
    """The layers of the shortcut branch, none for an identity; whether it projects follows from the shapes.

    Those of the network whose strides are all there: `shrinks` says that it has one here.
    """
    if spec.shortcut == "none":
        return None
    if spec.shortcut == "C" or (spec.shortcut == "B" and (channels != width or shrinks)):
        return [*_conv(spec, "conv", width, 1, stride), *_place(spec, spec.activations.projection)]
    if channels > width:
        raise ArgumentError(
            f"shortcut 'A' can add channels but not remove them; got {channels} channels in and {width} out. "
            f"Use shortcut 'B', or a stem_width of at most {width}."
        )
    return resample(channels, width, stride)


def _gate(spec: Spec, width: int, stride: int) -> list[keras.Layer]:
    """The convolution that gives a skip's gate."""
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


def block(spec: Spec, number: int, grid: Grid, name: str, channels: int, first: bool, activated: bool) -> ResidualBlock:
    """Lays out one block.

    Args:
        spec: the network's spec.
        number: the number of the block's stage, from 0.
        grid: how the stage samples its input.
        name: the block's name.
        channels: channels of the block's input.
        first: whether the block is the first of its stage.
        activated: whether the input has been through BN-ReLU already (He et al. 2016: no second
            pre-activation behind an activated stem).
    """
    stage, places = spec.stages[number], spec.activations
    stride, width = grid.stride if first else 1, spec.widths(stage)[-1]
    branch = _units(spec, number, grid, first)
    shortcut = _shortcut(spec, channels, width, stride, first and stage.stride > 1)
    front: list[keras.Layer] = []
    before = len(places.before)
    projects = shortcut is not None and any(isinstance(layer, layers.Conv2D) for layer in shortcut)
    if activated:
        branch = branch[before:]
    elif projects or (first and spec.shared_preactivation == "stage"):
        front, branch = branch[:before], branch[before:]
    gate = functools.partial(_gate, spec, width)
    parts = skips.parts(spec.skips, front, branch, shortcut, (channels, width, stride), gate)
    total = _place(spec, places.total)
    activation = total[0] if len(total) == 1 else chained(total, "activation") if total else None
    return ResidualBlock(**parts, activation=activation, name=name)


def head(spec: Spec, include_top: bool, pooling: str | None, classifier_activation: str | None) -> Segment | None:
    """The layers behind the last block, or None when there are none."""
    body = _place(spec, spec.activations.end)
    if include_top:
        make = scores if spec.is_dense else _classifier
        body += make(spec, classifier_activation)
    elif pooling == "avg":
        body += [layers.GlobalAveragePooling2D(name="pool")]
    elif pooling == "max":
        body += [layers.GlobalMaxPooling2D(name="pool")]
    return Segment(keras.Sequential(body, name="body"), name="head") if body else None


def _predictions(activation: str | None) -> keras.Layer:
    """In float32 whatever the policy: half-precision probabilities lose the small ones."""
    return layers.Activation(activation or "linear", dtype="float32", name="predictions")


def _classifier(spec: Spec, activation: str | None) -> list[keras.Layer]:
    """Pooling, dense layers, and the scores of the image."""
    body: list[keras.Layer] = [layers.GlobalAveragePooling2D(name="pool")]
    for i, width in enumerate(spec.hidden, 1):
        body += [
            layers.Dense(width, use_bias=False, kernel_regularizer=_regularizer(spec), name=f"hidden{i}"),
            _norm(spec, f"hidden{i}_bn"),
            layers.ReLU(name=f"hidden{i}_relu"),
        ]
    logits = layers.Dense(
        spec.classes,
        # Uniform within 1/sqrt(fan_in), as the Torch and MXNet originals have it.
        kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
        kernel_regularizer=_regularizer(spec),
        bias_regularizer=_regularizer(spec, normalisation=True),
        name="logits",
    )
    return [*body, logits, _predictions(activation)]


def scores(spec: Spec, activation: str | None) -> list[keras.Layer]:
    """The scores of each pixel of the last map (Wu et al. 2016, "1 conv." and "2 conv.")."""
    options = {"use_bias": True, "bias_regularizer": _regularizer(spec, normalisation=True)}
    body: list[keras.Layer] = []
    if spec.head == "2conv":
        width = spec.scaled(spec.head_width)
        body += _conv(spec, "conv", width, 3, dilation=spec.head_dilation, activation="relu", **options)
    body += _conv(spec, "logits", spec.classes, 3, dilation=spec.head_dilation, **options)
    return [*body, _predictions(activation)]
