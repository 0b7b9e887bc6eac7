"""The links of a chain: `Segment` and `ResidualBlock`."""

from __future__ import annotations

import keras
from keras import layers, ops

from keras_resnets.errors import ArgumentError
from keras_resnets.network import private
from keras_resnets.network.data_format import LAST
from keras_resnets.network.layers import PadChannels, TakeChannels
from keras_resnets.network.tracing import called


class _Link(private.Expanded, keras.layers.Layer):
    """A layer that consists of named parts, each an ordinary Keras layer or model, or None.

    Networks that share weights share the parts, never the link around them: every symbolic call adds
    a node to a link, and these nodes would keep every network alive that ever used the parts.
    """

    part_names: tuple[str, ...] = ()
    setting_names: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        # The parts cast their inputs themselves, each by its own policy.
        super().__init__(autocast=False, **kwargs)

    def parts(self) -> dict[str, keras.Layer]:
        """Returns the parts that are present, by name."""
        return {name: getattr(self, name) for name in self.part_names if getattr(self, name) is not None}

    @property
    def layers(self) -> list[keras.Layer]:
        """The parts that are present, in the order in which they run, as a model has its layers."""
        parts = self.parts()
        order = ("body", "preactivation", "residual", "shortcut", "activation")
        return [parts[name] for name in order if name in parts]

    def rewrap(self, **changes):
        """Returns a new link around the same parts (shared weights), with some parts, settings or the name replaced."""
        kwargs = {name: getattr(self, name) for name in (*self.part_names, *self.setting_names, "name")} | changes
        return type(self)(**kwargs, trainable=self.trainable, dtype=self.dtype_policy)

    def get_config(self):
        parts = {name: getattr(self, name) for name in self.part_names}
        settings = {name: getattr(self, name) for name in self.setting_names}
        return {**super().get_config(), **{name: part and _serialize(part) for name, part in parts.items()}, **settings}

    @classmethod
    def from_config(cls, config):
        parts = {n: config[n] and keras.saving.deserialize_keras_object(config[n]) for n in cls.part_names}
        return cls(**{**config, **parts})


def is_link(layer) -> bool:
    """Whether a layer is a link of a chain: a `Segment` or a `ResidualBlock`."""
    return isinstance(layer, _Link)


def _serialize(part: keras.Layer) -> dict:
    """Returns the part's configuration without its build state: the link's `build` gives the variables their paths."""
    return without_build(keras.saving.serialize_keras_object(part))


def without_build(config: dict) -> dict:
    """Returns a serialized layer's configuration without what makes Keras build the layer on loading."""
    config = {key: value for key, value in config.items() if key != "build_config"}
    if config["class_name"] == "Sequential":
        inner = {key: value for key, value in config["config"].items() if key != "build_input_shape"}
        inner["layers"] = [without_build(layer) for layer in inner["layers"] if layer["class_name"] != "InputLayer"]
        config["config"] = inner
    return config


@keras.saving.register_keras_serializable("keras_resnets")
class Segment(_Link):
    """A link without a skip connection, such as stem, pooling or head.

    Args:
        body: the Keras layer or model that it calls.
    """

    part_names = ("body",)

    def __init__(self, body, **kwargs):
        super().__init__(**kwargs)
        self.body = body

    @property
    def activation(self):
        """The activation of the last layer inside, as the last layer of a network of `keras.applications` has it."""
        function = self._last().activation
        if isinstance(function, keras.Layer):  # Keras would save it twice
            raise AttributeError(f"The activation of {self.name!r} is the layer {function.name!r} inside its body.")
        return function

    @activation.setter
    def activation(self, value):
        self._last().activation = value

    def _last(self) -> keras.Layer:
        layer = self.body
        while isinstance(layer, keras.Model):
            layer = layer.layers[-1]
        return layer

    def build(self, input_shape):
        if not self.body.built:
            self.body.build(input_shape)
        self.built = True

    def compute_output_shape(self, input_shape):
        return self.body.compute_output_shape(input_shape)

    def compute_output_spec(self, inputs, training=None):
        return self.body.compute_output_spec(inputs)

    def call(self, inputs, training=None):
        return called(self.body, training, inputs)


@keras.saving.register_keras_serializable("keras_resnets")
class ResidualBlock(_Link):
    """Sums a residual and a shortcut branch: `activation(scale * residual(h) + shortcut(h))`.

    `h` is `preactivation(x)`, or the input itself. A block without a residual branch is a deleted
    block (Veit et al. 2016, section 4: the shortcut stays, with its projection). A block without a
    shortcut is a plain block, or one whose skip connection was removed.

    Args:
        residual: the residual branch, a Keras layer or model; None omits it.
        shortcut: the shortcut branch, `keras.layers.Identity()` for an identity; None omits it.
        activation: applied to the sum, a Keras layer or model; None for none.
        preactivation: applied to the input of both branches, a Keras layer or model; None for
            none (He et al. 2016, appendix: the first BN-ReLU of a stage feeds both branches).
        scale: factor of the residual branch: in a network trained with stochastic depth, the
            probability that the block was on (Huang et al. 2016, section 3).

    Raises:
        ArgumentError: both branches are None.

    Example:
        >>> import keras, keras_resnets as kr, numpy as np
        >>> block = kr.ResidualBlock(keras.layers.Conv2D(8, 3, padding="same"), keras.layers.Identity())
        >>> y = block(np.ones((1, 4, 4, 8), "float32"))
    """

    part_names = ("residual", "shortcut", "activation", "preactivation")
    setting_names = ("scale",)

    def __init__(self, residual=None, shortcut=None, activation=None, preactivation=None, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        if residual is None and shortcut is None:
            raise ArgumentError(f"Block {self.name!r} needs a residual branch, a shortcut branch or both; got neither.")
        self.residual = residual
        self.shortcut = shortcut
        self.activation = activation
        self.preactivation = preactivation
        self.scale = float(scale)

    @property
    def has_identity_shortcut(self) -> bool:
        """Whether the shortcut returns the block's input unchanged."""
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
        """Returns the layer that replaces a block whose residual branch is deleted: its shortcut, if it has one.

        A block without a shortcut, such as a layer of a plain network, gets the parameter-free
        shortcut of its shapes (He et al. 2015, section 3.3, option A): the identity, with subsampling
        if the block is strided, and with channels of zeros appended if the block widens. If the block
        narrows, which the papers do not cover, the first channels are kept. Channels that the
        pre-activation appends, such as a gate's values, are dropped.
        """
        if self.shortcut is not None:
            return self.shortcut
        _, *sides, channels = self.input.shape
        shape = (1, *(side or 256 for side in sides), channels)
        _, size, _, width = self.compute_output_shape(shape)
        read = channels if self.preactivation is None else self.preactivation.compute_output_shape(shape)[-1]
        policy = self.dtype_policy.name
        own = [TakeChannels(channels, name="read", dtype=policy)] if read > channels else []
        return chained([*own, *resample(channels, width, round(shape[1] / size), policy)], "shortcut", policy)

    def branch_input(self, x, training=None):
        """Returns the input of both branches."""
        return x if self.preactivation is None else called(self.preactivation, training, x)

    def branches(self, h, training=None) -> list:
        """Returns the outputs of the residual branch, scaled, and of the shortcut; None for one that is missing."""
        residual = None if self.residual is None else self.scaled(called(self.residual, training, h))
        return [residual, None if self.shortcut is None else called(self.shortcut, training, h)]

    def scaled(self, residual):
        """Multiplies the residual branch's output by the block's scale."""
        return residual if self.scale == 1 else residual * self.scale

    def join(self, *branches):
        """Sums the outputs of the branches and applies the activation."""
        total = branches[0] if len(branches) == 1 else ops.add(*branches)
        return total if self.activation is None else self.activation(total)

    def call(self, inputs, training=None):
        h = self.branch_input(inputs, training)
        return self.join(*(branch for branch in self.branches(h, training) if branch is not None))


def resample(channels: int, width: int, stride: int, dtype=None) -> list[keras.Layer]:
    """Returns the layers of the parameter-free shortcut (He et al. 2015, 3.3, option A); none for an identity."""
    steps: list[keras.Layer] = []
    if stride > 1:
        steps += [layers.AveragePooling2D(1, stride, data_format=LAST, name="subsample", dtype=dtype)]
    if channels < width:
        steps += [PadChannels(width, name="pad", dtype=dtype)]
    if channels > width:
        steps += [TakeChannels(width, name="take", dtype=dtype)]
    return steps


def chained(steps: list[keras.Layer], name: str, dtype=None) -> keras.Layer:
    """Returns a sequence of layers as one layer; an identity if there are none."""
    return keras.Sequential(steps, name=name) if steps else layers.Identity(name=name, dtype=dtype)
