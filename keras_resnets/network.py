"""`ResidualNetwork`, a chain of named links, and `build`, which makes one from a spec."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import Any

import keras
from keras import ops

from keras_resnets import layout, variants
from keras_resnets.blocks import ResidualBlock, Segment
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.spec import Spec


@keras.saving.register_keras_serializable("keras_resnets")
class ResidualNetwork(keras.Model):
    """A Keras model that is a chain: stem, residual blocks, head.

    Usually made by `build`, `adopt` or an edit such as `delete`.

    Args:
        chain: the links in order, each a Keras layer; those that are `ResidualBlock` are what the
            studies work on.
        inputs: shape of the input without the batch, or a Keras tensor to start from.
        spec: the `Spec` that the chain was built from; None for adopted and edited networks.
        name: name of the model.
        dtype: the policy; None takes the global one.

    Example:
        >>> import keras_resnets as kr
        >>> model = kr.build("resnet20")
        >>> [block.name for block in model.blocks][:2]
        ['stage1_block1', 'stage1_block2']
    """

    def __init__(self, chain, inputs, spec=None, name=None, dtype=None, **kwargs):
        if not isinstance(inputs, keras.KerasTensor):
            inputs = keras.Input(inputs, name="input")
        source, x = inputs, inputs
        if not isinstance(inputs._keras_history.operation, keras.layers.InputLayer):
            # What the given tensor was computed with becomes the first link of the chain.
            entry = Segment(keras.Model(_sources(inputs), inputs, name="body"), name="entry")
            source = keras.Input(batch_shape=entry.body.input_shape, dtype=entry.body.input_dtype, name="input")
            chain = [entry, *chain]
            x = source
        for link in chain:
            x = link(x)
        super().__init__(inputs=source, outputs=x, name=name, **kwargs)
        if dtype is not None:
            # A functional model takes the global policy; an adopted or loaded one scales its loss by its own.
            self.dtype_policy = keras.dtype_policies.get(dtype)
        self._spec = spec
        self._only_shape = False

    @property
    def spec(self) -> Any:
        """The spec the network was built from; None for an adopted or edited network."""
        return self._spec

    @property
    def chain(self) -> list[keras.Layer]:
        """All links in order, stem and head included."""
        return [layer for layer in self.layers if not isinstance(layer, keras.layers.InputLayer)]

    @property
    def blocks(self) -> list[ResidualBlock]:
        """The residual blocks in order."""
        return [link for link in self.chain if isinstance(link, ResidualBlock)]

    @property
    def stages(self) -> list[str]:
        """The stage of each block: what its name has before `_block`, or else the shape of its output."""
        named = [re.fullmatch(r"(.+)_block\d+", block.name) for block in self.blocks]
        if all(named):
            return [match[1] for match in named if match]
        return ["x".join(str(n or "?") for n in block.output.shape[1:]) for block in self.blocks]

    def features(self, x, training=None) -> dict[str, Any]:
        """Returns the named intermediate outputs.

        Args:
            x: a batch of inputs, or a Keras tensor to build a larger model from.
            training: as for `call`.

        Returns:
            `stem`, then `stage1` to `stageN` (the output of each stage's last block, un-activated
            in a pre-activation network), then `head` where there is one. The stages are those of
            the property `stages`.
        """
        stages, outputs = dict(zip([block.name for block in self.blocks], self.stages, strict=True)), {}
        for link in self.chain:
            x = link(x, training=training)
            if link.name in stages:
                outputs[stages[link.name]] = x
            elif link.name in ("stem", "head"):
                outputs[link.name] = x
        return outputs

    def call(self, inputs, training=None, mask=None):
        if self._only_shape:
            return ops.zeros(
                (ops.shape(inputs)[0], *self.compute_output_shape(inputs.shape)[1:]), self.outputs[0].dtype
            )
        return super().call(inputs, training=training, mask=mask)

    def _symbolic_build(self, *args, **kwargs):
        # Before the first step Keras traces the network once more, to show loss and metrics the
        # shape of its output: a third of the start-up of a deep one. Zeros of that shape do.
        self._only_shape = True
        try:
            super()._symbolic_build(*args, **kwargs)
        finally:
            self._only_shape = False

    def get_config(self):
        source = self.inputs[0]
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "inputs": {"shape": list(source.shape[1:]), "dtype": source.dtype},
            "chain": [keras.saving.serialize_keras_object(link) for link in self.chain],
            "spec": self.spec and self.spec.to_dict(),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        chain = [keras.saving.deserialize_keras_object(link, custom_objects) for link in config["chain"]]
        spec = config["spec"] and Spec.from_dict(config["spec"])
        source = keras.Input(**config["inputs"], name="input")
        policy = keras.dtype_policies.deserialize(config["dtype"])
        return cls(chain, source, spec, config["name"], policy, trainable=config["trainable"])


def build(
    name_or_spec: str | Spec,
    input_shape: tuple[int | None, int | None, int] | None = None,
    classes: int | None = None,
    *,
    include_top: bool = True,
    pooling: str | None = None,
    classifier_activation: str | None = "softmax",
    weights: str | os.PathLike | None = None,
    input_tensor=None,
    name: str | None = None,
    **overrides,
) -> ResidualNetwork:
    """Builds a network from a variant's name or a spec.

    Args:
        name_or_spec: one of `list_models()`, a name of the patterns given there, or a `Spec`.
        input_shape: height, width and channels; None takes the spec's. Height and width may be
            None for any size.
        classes: number of classes; None takes the spec's.
        include_top: whether to end in pooling and classifier.
        pooling: without the top, `"avg"` or `"max"` global pooling, or None for the feature map.
        classifier_activation: activation of the classifier; None for logits.
        weights: path of a `.keras` file or run directory of the same network; None for random.
            Without the top, a classifier's weights will do.
        input_tensor: a Keras tensor to use as input instead of a new one.
        name: name of the model; None takes the spec's.
        **overrides: fields of `Spec` to replace, such as `shortcut="C"` or `bn_momentum=0.99`.

    Returns:
        A `ResidualNetwork`.

    Raises:
        ArgumentError: an argument breaks its rule; the message says which, and the remedy.

    Example:
        >>> import keras_resnets as kr
        >>> model = kr.build("preresnet20", input_shape=(8, 8, 1), classes=10)
        >>> kr.parameters(model)
        269434
    """
    spec = variants.spec(name_or_spec) if not isinstance(name_or_spec, Spec) else name_or_spec
    if input_tensor is not None:
        if not isinstance(input_tensor, keras.KerasTensor):
            raise ArgumentError(f"input_tensor must be a Keras tensor, as keras.Input gives; got {input_tensor!r}.")
        input_shape = tuple(input_tensor.shape[1:])
    for field, value in (("input_shape", input_shape), ("classes", classes), ("name", name)):
        if value is not None:
            overrides[field] = tuple(value) if isinstance(value, list) else value
    spec = spec.replace(**overrides)
    one_of("include_top", include_top, (True, False))
    one_of("pooling", pooling, (None, "avg", "max"))
    _check_size(spec)
    links = [layout.stem(spec)]
    channels, activated = spec.stem_width, spec.stem == "conv7"
    for s, stage in enumerate(spec.stages, 1):
        if stage.pool:
            links.append(layout.pool(stage, f"stage{s}_pool"))
        for b in range(1, stage.blocks + 1):
            links.append(layout.block(spec, stage, f"stage{s}_block{b}", channels, b == 1, activated))
            channels, activated = spec.widths(stage)[-1], False
    end = layout.head(spec, include_top, pooling, classifier_activation)
    links += [end] if end else []
    source = spec.input_shape if input_tensor is None else input_tensor
    model = ResidualNetwork(links, source, spec, spec.name)
    if weights is not None:
        _copy_weights(load_model(weights), model, weights)
    return model


def _check_size(spec: Spec) -> None:
    for axis, size in zip(("height", "width"), spec.input_shape, strict=False):
        if size is not None and size < spec.total_stride:
            raise ArgumentError(
                f"input_shape: the {axis} must be at least {spec.total_stride}, the factor by which "
                f"{spec.name} shrinks its input; got {spec.input_shape}. Use larger images, or a network for "
                f"smaller ones."
            )


def _copy_weights(source: keras.Model, target: keras.Model, where: str | os.PathLike) -> None:
    """Copies variable by variable, matched by path, after checking that all are there and fit.

    What only the source's head has may be left over: a classifier's weights fill its backbone.
    """
    have, want = ({v.path: v for v in m.weights} for m in (source, target))
    start = f"weights: {str(where)!r} is of another network, {source.name!r} and not {target.name!r}:"
    remedy = "Give weights of the same network, or build the one that these are of with the same options."
    for path in sorted(want.keys() - have.keys()):
        raise ArgumentError(f"{start} it lacks {path!r}. {remedy}")
    for path in sorted(have.keys() - want.keys()):
        if not path.startswith("head/"):
            raise ArgumentError(f"{start} it has an extra {path!r}. {remedy}")
    for path, variable in want.items():
        if tuple(have[path].shape) != tuple(variable.shape):
            raise ArgumentError(
                f"{start} its {path!r} has shape {tuple(have[path].shape)}, not {tuple(variable.shape)}. {remedy}"
            )
    for path, variable in want.items():
        variable.assign(have[path])


def load_model(path: str | os.PathLike) -> keras.Model:
    """Opens a saved network.

    Args:
        path: a `.keras` file, or a run directory, whose `model.keras` is opened.

    Returns:
        The model, compiled as it was.

    Raises:
        ArgumentError: there is no such file, or it is not a model saved by Keras 3.

    Example:
        >>> import keras_resnets as kr, tempfile, os
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> kr.build("resnet20").save(file)
        >>> kr.load_model(file).name
        'resnet20'
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.keras"
    if not file.is_file():
        raise ArgumentError(
            f"There is no saved network at {str(path)!r}; give a .keras file or a finished run directory."
        )
    importlib.import_module("keras_resnets.optimizers")  # registers what a compiled network needs
    try:
        return keras.saving.load_model(file)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:300].rstrip(".") if str(error).strip() else type(error).__name__
        raise ArgumentError(
            f"{str(file)!r} cannot be opened as a Keras 3 model ({reason}); give a .keras file that model.save wrote."
        ) from error


def _sources(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the single input that `tensor` was computed from."""
    found = {}
    waiting = [tensor]
    while waiting:
        operation, node, _ = waiting.pop()._keras_history
        if isinstance(operation, keras.layers.InputLayer):
            found[id(operation)] = operation.output
            continue
        waiting.extend(operation._inbound_nodes[node].input_tensors)
    if len(found) != 1:
        raise ArgumentError(f"input_tensor must be computed from one keras.Input; it comes from {len(found)}.")
    return next(iter(found.values()))
