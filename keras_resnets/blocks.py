"""The links of a chain: `Segment` and `ResidualBlock`, and the functions that lay them out."""

from __future__ import annotations

import keras
from keras import layers, ops

from keras_resnets.errors import ArgumentError
from keras_resnets.layers import BatchNorm, PadChannels
from keras_resnets.spec import Spec, Stage


class _Link(keras.layers.Layer):
    """A layer made of named parts, each an ordinary Keras layer or model, or None.

    Networks that share weights share the parts, never the link around them: calling a link adds a
    node to it, and such nodes would keep every network alive that ever used the parts.
    """

    part_names: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        # The parts cast their inputs themselves, each by its own policy.
        super().__init__(autocast=False, **kwargs)

    def parts(self) -> dict[str, keras.Layer]:
        """Returns the parts that are present, by name."""
        return {name: getattr(self, name) for name in self.part_names if getattr(self, name) is not None}

    def rewrap(self, **changes):
        """Returns a new link around the same parts (shared weights), some of them or the name replaced."""
        kwargs = {name: getattr(self, name) for name in (*self.part_names, "name")} | changes
        return type(self)(**kwargs, trainable=self.trainable, dtype=self.dtype_policy)

    def get_config(self):
        parts = {name: getattr(self, name) for name in self.part_names}
        return {**super().get_config(), **{name: part and _serialize(part) for name, part in parts.items()}}

    @classmethod
    def from_config(cls, config):
        parts = {n: config[n] and keras.saving.deserialize_keras_object(config[n]) for n in cls.part_names}
        return cls(**{**config, **parts})


def is_link(layer) -> bool:
    """Whether a layer is a link of a chain: a `Segment` or a `ResidualBlock`."""
    return isinstance(layer, _Link)


def _serialize(part: keras.Layer) -> dict:
    """The part's configuration, unbuilt: it is the link's `build` that gives its variables their paths."""

    def unbuilt(config: dict) -> dict:
        config = {key: value for key, value in config.items() if key != "build_config"}
        if config["class_name"] == "Sequential":
            inner = {key: value for key, value in config["config"].items() if key != "build_input_shape"}
            inner["layers"] = [unbuilt(layer) for layer in inner["layers"] if layer["class_name"] != "InputLayer"]
            config["config"] = inner
        return config

    return unbuilt(keras.saving.serialize_keras_object(part))


@keras.saving.register_keras_serializable("keras_resnets")
class Segment(_Link):
    """A stretch of the chain without a skip connection: stem, pooling, head.

    Args:
        body: the Keras layer or model that does the work.
    """

    part_names = ("body",)

    def __init__(self, body, **kwargs):
        super().__init__(**kwargs)
        self.body = body

    def build(self, input_shape):
        if not self.body.built:
            self.body.build(input_shape)
        self.built = True

    def compute_output_shape(self, input_shape):
        return self.body.compute_output_shape(input_shape)

    def compute_output_spec(self, inputs, training=None):
        return self.body.compute_output_spec(inputs)

    def call(self, inputs, training=None):
        return self.body(inputs, training=training) if self.body._call_has_training_arg else self.body(inputs)


@keras.saving.register_keras_serializable("keras_resnets")
class ResidualBlock(_Link):
    """Sums a residual and a shortcut branch: `activation(residual(h) + shortcut(h))`.

    `h` is `preactivation(x)`, or the input itself. A block without a residual branch is a deleted
    block (Veit et al. 2016, section 4: the shortcut stays, with its projection); one without a
    shortcut is a plain block, or one whose skip was removed.

    Args:
        residual: the residual branch, a Keras layer or model; None omits it.
        shortcut: the shortcut branch, `keras.layers.Identity()` for an identity; None omits it.
        activation: applied to the sum, a Keras layer; None for none.
        preactivation: applied to the input of both branches, a Keras layer or model; None for
            none (He et al. 2016, appendix: the first BN-ReLU of a stage feeds both branches).

    Raises:
        ArgumentError: both branches are None.

    Example:
        >>> import keras, keras_resnets as kr, numpy as np
        >>> block = kr.ResidualBlock(keras.layers.Conv2D(8, 3, padding="same"), keras.layers.Identity())
        >>> y = block(np.ones((1, 4, 4, 8), "float32"))
    """

    part_names = ("residual", "shortcut", "activation", "preactivation")

    def __init__(self, residual=None, shortcut=None, activation=None, preactivation=None, **kwargs):
        super().__init__(**kwargs)
        if residual is None and shortcut is None:
            raise ArgumentError(f"Block {self.name!r} needs a residual branch, a shortcut branch or both; got neither.")
        self.residual = residual
        self.shortcut = shortcut
        self.activation = activation
        self.preactivation = preactivation

    @property
    def has_identity_shortcut(self) -> bool:
        """Whether the shortcut hands on the block's input unchanged."""
        return isinstance(self.shortcut, layers.Identity) and self.preactivation is None

    def build(self, input_shape):
        shape = input_shape
        if self.preactivation is not None:
            if not self.preactivation.built:
                self.preactivation.build(shape)
            shape = self.preactivation.compute_output_shape(shape)
        for branch in (self.residual, self.shortcut):
            if branch is not None and not branch.built:
                branch.build(shape)
        if self.activation is not None and not self.activation.built:
            self.activation.build(self.compute_output_shape(input_shape))
        self.built = True

    def compute_output_shape(self, input_shape):
        if self.preactivation is not None:
            input_shape = self.preactivation.compute_output_shape(input_shape)
        shapes = [b.compute_output_shape(input_shape) for b in (self.residual, self.shortcut) if b is not None]
        if any(tuple(shape) != tuple(shapes[0]) for shape in shapes):
            raise ArgumentError(
                f"The branches of block {self.name!r} must give the same shape; "
                f"got {tuple(shapes[0])} from the residual and {tuple(shapes[1])} from the shortcut."
            )
        return tuple(shapes[0])

    def compute_output_spec(self, inputs, training=None):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def stand_in(self) -> keras.Layer:
        """Returns what the block hands on once its residual branch is gone: its shortcut, if it has one.

        A block without one, such as a layer of a plain network, gets the parameter-free shortcut of
        its shapes (He et al. 2015, section 3.3, option A): the identity, behind subsampling where
        the block shrinks its input, and with channels of zeros appended where it adds some.

        Raises:
            ArgumentError: the block has no shortcut and gives fewer channels than it takes.
        """
        if self.shortcut is not None:
            return self.shortcut
        _, *sides, channels = self.input.shape
        sides = [side or 256 for side in sides]
        _, size, _, width = self.compute_output_shape((1, *sides, channels))
        if width < channels:
            raise ArgumentError(
                f"blocks: {self.name!r} has no shortcut, and none without weights leads from {channels} channels to "
                f"{width}; choose a block that keeps or adds channels."
            )
        return _resample(channels, width, round(sides[0] / size), self.dtype_policy.name)

    def branch_input(self, x):
        """What both branches read."""
        return x if self.preactivation is None else self.preactivation(x)

    def join(self, *branches):
        """Sums the outputs of the branches and applies the activation."""
        total = branches[0] if len(branches) == 1 else ops.add(*branches)
        return total if self.activation is None else self.activation(total)

    def call(self, inputs, training=None):
        h = self.branch_input(inputs)
        return self.join(*(branch(h) for branch in (self.residual, self.shortcut) if branch is not None))


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
        gamma_initializer="zeros" if zero else "ones",
        gamma_regularizer=decay,
        beta_regularizer=decay,
        name=name,
    )


def _conv(spec: Spec, name: str, width: int, kernel: int, stride=1, dilation=1, zero=False) -> list[keras.Layer]:
    """A convolution with symmetric padding: "same" pads a strided one on the far side only."""
    reach = dilation * (kernel - 1) // 2
    he_normal = keras.initializers.VarianceScaling(2.0, spec.init, "untruncated_normal")
    conv = layers.Conv2D(
        width,
        kernel,
        stride,
        padding="same" if stride == 1 else "valid",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer="zeros" if zero else he_normal,
        kernel_regularizer=_regularizer(spec),
        name=name,
    )
    if stride == 1 or reach == 0:
        return [conv]
    return [layers.ZeroPadding2D(reach, name=f"{name}_pad"), conv]


def stem(spec: Spec) -> Segment:
    """The layers in front of the first block."""
    deep = spec.stem == "conv7"
    body = _conv(spec, "conv", spec.stem_width, 7 if deep else 3, stride=2 if deep else 1)
    # A pre-activation network on a 3x3 stem leaves BN-ReLU to its first block.
    if spec.placement == "post" or deep:
        body += [_norm(spec, "bn"), layers.ReLU(name="relu")]
    if deep:
        # Zeros equal torch's minus infinity here, for the map is not negative.
        body += [layers.ZeroPadding2D(1, name="pool_pad"), layers.MaxPooling2D(3, 2, name="pool")]
    return Segment(keras.Sequential(body, name="body"), name="stem")


def pool(stage: Stage, name: str) -> Segment:
    """The max-pool in front of a stage; "same" pads without taking part in the maximum."""
    return Segment(layers.MaxPooling2D(stage.pool, 2, padding="same", name="body"), name=name)


def _units(spec: Spec, stage: Stage, stride: int) -> list[keras.Layer]:
    """The residual branch: convolution, BN and ReLU for each width, in the order of `placement`."""
    strided = 0
    if spec.stride_place == "3x3":
        strided = next((i for i, kernel in enumerate(stage.kernels) if kernel > 1), 0)
    widths, last = spec.widths(stage), len(stage.widths) - 1
    rate = spec.dropout if stage.dropout is None else stage.dropout
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
            stage.dilation if kernel > 1 else 1,
            # A zero gamma in front of ReLU would never leave zero, so the convolution starts there.
            zero=zero and spec.placement == "pre",
        )
        drop = [layers.Dropout(rate, name="dropout")] if rate and end else []
        if spec.placement == "pre":
            branch += [_norm(spec, f"bn{n}"), layers.ReLU(name=f"relu{n}"), *drop, *conv]
        else:
            branch += [*drop, *conv, _norm(spec, f"bn{n}", zero=zero)]
            if not end:
                branch += [layers.ReLU(name=f"relu{n}")]
    return branch


def _shortcut(spec: Spec, channels: int, width: int, stride: int) -> keras.Layer | None:
    """The shortcut branch; whether it projects follows from the shapes."""
    if spec.shortcut == "none":
        return None
    if spec.shortcut == "C" or (spec.shortcut == "B" and (channels != width or stride != 1)):
        projection = _conv(spec, "conv", width, 1, stride)
        if spec.placement == "post":
            projection += [_norm(spec, "bn")]
        return keras.Sequential(projection, name="shortcut")
    return _resample(channels, width, stride)


def _resample(channels: int, width: int, stride: int, dtype=None) -> keras.Layer:
    """The shortcut without parameters (He et al. 2015, section 3.3, option A)."""
    if channels == width and stride == 1:
        return layers.Identity(name="shortcut", dtype=dtype)
    resample: list[keras.Layer] = []
    if stride > 1:
        resample += [layers.AveragePooling2D(1, stride, name="subsample", dtype=dtype)]
    if channels != width:
        resample += [PadChannels(width, name="pad", dtype=dtype)]
    return keras.Sequential(resample, name="shortcut")


def block(spec: Spec, stage: Stage, name: str, channels: int, first: bool, activated: bool) -> ResidualBlock:
    """Lays out one block.

    Args:
        spec: the network's spec.
        stage: the block's stage.
        name: the block's name.
        channels: channels of the block's input.
        first: whether the block is the first of its stage.
        activated: whether the input has been through BN-ReLU already (He et al. 2016: no second
            pre-activation behind an activated stem).
    """
    stride = stage.stride if first else 1
    branch = _units(spec, stage, stride)
    shortcut = _shortcut(spec, channels, spec.widths(stage)[-1], stride)
    preactivation = None
    activation: keras.Layer | None = layers.ReLU(name="relu")
    if spec.placement == "pre":
        activation = None
        projects = isinstance(shortcut, keras.Sequential) and isinstance(shortcut.layers[0], layers.Conv2D)
        if activated:
            branch = branch[2:]
        elif projects or (first and spec.shared_preactivation == "stage"):
            preactivation = keras.Sequential(branch[:2], name="preactivation")
            branch = branch[2:]
    return ResidualBlock(keras.Sequential(branch, name="residual"), shortcut, activation, preactivation, name=name)


def head(spec: Spec, include_top: bool, pooling: str | None, classifier_activation: str | None) -> Segment | None:
    """The layers behind the last block, or None when there are none."""
    body: list[keras.Layer] = []
    if spec.placement == "pre":
        body += [_norm(spec, "bn"), layers.ReLU(name="relu")]
    if include_top or pooling == "avg":
        body += [layers.GlobalAveragePooling2D(name="pool")]
    elif pooling == "max":
        body += [layers.GlobalMaxPooling2D(name="pool")]
    if include_top:
        for i, width in enumerate(spec.hidden, 1):
            body += [
                layers.Dense(width, use_bias=False, kernel_regularizer=_regularizer(spec), name=f"hidden{i}"),
                _norm(spec, f"hidden{i}_bn"),
                layers.ReLU(name=f"hidden{i}_relu"),
            ]
        body += [
            layers.Dense(
                spec.classes,
                # Uniform within 1/sqrt(fan_in), as the Torch and MXNet originals have it.
                kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
                kernel_regularizer=_regularizer(spec),
                bias_regularizer=_regularizer(spec, normalisation=True),
                name="logits",
            )
        ]
        # In float32 whatever the policy: half-precision probabilities lose the small ones.
        body += [layers.Activation(classifier_activation or "linear", dtype="float32", name="predictions")]
    return Segment(keras.Sequential(body, name="body"), name="head") if body else None
