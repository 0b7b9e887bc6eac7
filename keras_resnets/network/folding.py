"""`fold`: batch-norm folded into the convolutions beside it, for inference."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.network.adoption import adopt
from keras_resnets.network.blocks import is_link, without_build
from keras_resnets.network.chain import Folded, ResidualNetwork
from keras_resnets.network.graph import Graph, Step, Value
from keras_resnets.network.inside import steps_of
from keras_resnets.network.saving import assign

# Layers that are linear but for their activation, with the axis of their kernel that the outputs stand on; a kernel of
# a depthwise convolution has two for them.
_LINEAR: dict[type, tuple[str, int | tuple[int, int]]] = {
    **dict.fromkeys((layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D), ("kernel", -1)),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), ("kernel", -2)),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), ("kernel", (-2, -1))),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), ("pointwise_kernel", -1)),
}
# Those that take a batch-norm before them, too: the axis that the inputs stand on is the last but one.
_TAKES_BEFORE = {layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D}
_TAKES_BEFORE |= {layers.DepthwiseConv1D, layers.DepthwiseConv2D}


@explained
def fold(model: keras.Model, *, tell: Callable[[str], None] | None = None) -> ResidualNetwork:
    """Returns a copy of the network for inference, with batch-norm folded into convolutions and dense layers.

    In inference, batch-norm multiplies each channel by a number and adds another. Behind a convolution, other kernels
    and a bias do the same; before one as well, where neither an activation nor a border of zeros stands between. A
    factor behind a convolution (`skip="scale:..."`) is folded likewise. The rest stays, and is computed as before: the
    batch-norm at the beginning of a pre-activation branch, and one behind an addition, which would have to go into both
    branches, so that neither could be deleted. Since nothing moves from one part of a block to another, the copy can be
    edited, studied, saved and exported block by block, with the same results.

    Outputs are those of the network in inference, within 1e-5 of the largest in float32, and within rounding in other
    precisions. Kernels are computed in float64 and stored in their own type.

    The copy is for inference alone: `fit`, `fine_tune` and `recalibrate` refuse it. It has no regularizers, which would
    penalise other weights than those that were trained.

    Args:
        model: a `ResidualNetwork`, or a model that `adopt` accepts, such as those of `keras.applications`. It is not
            changed, and shares nothing with the copy.
        tell: called with a sentence of how many batch-norms were folded and how many stay; None for none.

    Returns:
        A network without a spec, with the same names of blocks and layers, not compiled. `folded` holds the counts.

    Raises:
        ArgumentError: it is no such model, or a batch-norm that would be folded has no finite statistics.

    Example:
        >>> import keras_resnets as kr
        >>> folded = kr.fold(kr.build("preresnet20"), tell=print)
        Of the 19 batch-norms of 'preresnet20', 9 are folded into the layers before them, 10 stay.
        >>> folded.folded
        Folded(behind=9, before=0, kept=10)
    """
    network = adopt(model)
    network.rescale()
    links = network.chain
    parts = [part for link in links for part in (link.parts().values() if is_link(link) else [link])]
    times_used = collections.Counter(id(step.operation) for part in parts for step in steps_of(part)[0])
    folding = _Folding({key for key, times in times_used.items() if times > 1})
    chain = []
    for link in links:
        if is_link(link):
            chain.append(link.rewrap(**{name: folding.part(part) for name, part in link.parts().items()}))
        else:
            chain.append(folding.part(link))
    source = network.inputs[0]
    inputs = keras.Input(tuple(source.shape[1:]), dtype=source.dtype, name="input")
    result = ResidualNetwork(chain, inputs, None, network.name, network.dtype_policy, network.preprocessing)
    result.class_names, result.provenance = network.class_names, network.provenance
    folding.fill()
    before = network.folded or Folded(0, 0, 0)
    result.folded = Folded(before.behind + folding.behind, before.before + folding.before, folding.kept)
    if tell is not None:
        tell(result.folded.sentence(network.name))
    return result


@dataclasses.dataclass
class _Affine:
    """A factor and a term for each channel, in float64."""

    factor: np.ndarray
    term: np.ndarray

    def then(self, other: _Affine) -> _Affine:
        return _Affine(self.factor * other.factor, self.term * other.factor + other.term)


@dataclasses.dataclass
class _Kept:
    """A step that stays, with what is folded into it from behind and from before."""

    step: Step
    behind: _Affine | None = None
    before: _Affine | None = None


class _Folding:
    """Copies parts of a network with batch-norm folded, and fills the copies with weights once they are built.

    Attributes:
        behind, before, kept: how many batch-norms went into the layer before them, into that behind them, or stay.
    """

    def __init__(self, shared: set[int]) -> None:
        self.behind = self.before = self.kept = 0
        self._shared = shared
        self._copies: dict[int, Any] = {}
        self._filling: list[Callable[[], None]] = []

    def part(self, part: keras.Layer) -> keras.Layer:
        """Returns the copy of a part of a link, of the same name."""
        steps, output = steps_of(part)
        kept, output = self._folded(steps, output)
        self.kept += sum(isinstance(item.step.operation, layers.BatchNormalization) for item in kept)
        if not isinstance(part, Graph) and len(steps) == 1 and steps[0].operation is part:
            return self._copy(kept[0])
        owns = part.owns if isinstance(part, Graph) else True
        copies = [self._copy(item, built=not owns) for item in kept]
        flat = isinstance(part, keras.Sequential) and [layer for layer in part.layers if _computes(layer)] == [
            step.operation for step in steps
        ]
        if flat:
            return keras.Sequential(copies, name=part.name)
        renewed = [dataclasses.replace(item.step, operation=copy) for item, copy in zip(kept, copies, strict=True)]
        policy = getattr(part, "dtype_policy", None)
        return Graph(renewed, output, owns, name=part.name, dtype=policy)

    def fill(self) -> None:
        """Gives the copies, which are built, their weights."""
        for fill in self._filling:
            fill()

    def _folded(self, steps: Sequence[Step], output: int) -> tuple[list[_Kept], int]:
        """Returns the steps that stay, and the index of the output among their values."""
        uses = collections.Counter(value for step in steps for value in step.reads)
        uses[output] += 1
        makers: dict[int, _Kept] = {}  # the layer that computes a value, folded ones included
        names: dict[int, int] = {}  # the value that takes the place of a folded one
        kept: list[_Kept] = []
        for step in steps:
            maker = makers.get(step.reads[0]) if _calls_once(step) and uses[step.reads[0]] == 1 else None
            affine = None if maker is None else self._affine_behind(step, maker)
            if maker is not None and affine is not None:
                maker.behind = affine if maker.behind is None else maker.behind.then(affine)
                self.behind += isinstance(step.operation, layers.BatchNormalization)
                names[step.outputs[0]] = names.get(step.reads[0], step.reads[0])
                makers[step.outputs[0]] = maker
                continue
            item = _Kept(_renamed(step, names))
            kept.append(item)
            makers[step.outputs[0]] = item
        return self._folded_forward(kept, names.get(output, output))

    def _folded_forward(self, kept: list[_Kept], output: int) -> tuple[list[_Kept], int]:
        """Folds what is left into the layers behind it."""
        uses = collections.Counter(value for item in kept for value in item.step.reads)
        uses[output] += 1
        makers = {value: item for item in kept for value in item.step.outputs}
        names: dict[int, int] = {}
        gone = []
        for item in kept:
            step = item.step
            maker = makers.get(step.reads[0]) if _calls_once(step) and uses[step.reads[0]] == 1 else None
            affine = None if maker is None else self._affine_before(maker.step, step)
            if maker is not None and affine is not None:
                item.before = affine
                gone.append(maker)
                names[step.reads[0]] = maker.step.reads[0]
                self.before += 1
        left = [item for item in kept if not any(item is other for other in gone)]
        for item in left:
            item.step = _renamed(item.step, names)
        return left, output

    def _affine_behind(self, step: Step, maker: _Kept) -> _Affine | None:
        """Returns what a step does to each channel if the layer before it can do that, else None."""
        linear = maker.step.operation
        if not self._can_change(linear) or linear.activation is not keras.activations.linear:
            return None
        # A value that is rounded to another type in between, or a batch that gives the statistics.
        if step.operation.compute_dtype != linear.compute_dtype or step.kwargs.get("training"):
            return None
        return _affine_of(step.operation, _widths(linear)[1])

    def _affine_before(self, first: Step, step: Step) -> _Affine | None:
        """Returns what a batch-norm does to each channel if the layer behind it can do that, else None."""
        norm, linear = first.operation, step.operation
        if not isinstance(norm, layers.BatchNormalization) or id(norm) in self._shared or first.kwargs.get("training"):
            return None
        if not self._can_change(linear) or type(linear) not in _TAKES_BEFORE or getattr(linear, "groups", 1) != 1:
            return None
        if norm.compute_dtype != linear.compute_dtype or not _calls_once(first):
            return None
        affine = _affine_of(norm, _widths(linear)[0])
        # A border of zeros stands behind the batch-norm, and would have to be its term's opposite before it.
        bordered = getattr(linear, "padding", "valid") != "valid" and max(linear.kernel_size) > 1
        return None if affine is None or (bordered and affine.term.any()) else affine

    def _can_change(self, layer) -> bool:
        """Whether a layer is one of Keras' own, with a kernel of its own, called once."""
        return (
            type(layer) in _LINEAR
            and id(layer) not in self._shared
            and getattr(layer, "data_format", "channels_last") == "channels_last"
            and layer.quantization_mode is None
            and not getattr(layer, "lora_enabled", False)
        )

    def _copy(self, item: _Kept, built: bool = False) -> Any:
        """Returns the copy of an operation; one without variables or arguments to change is shared."""
        operation = item.step.operation
        if not isinstance(operation, keras.Layer):
            return operation
        if id(operation) in self._copies:
            return self._copies[id(operation)]
        config = keras.saving.serialize_keras_object(operation)
        config = config if _is_foreign(operation) else _for_inference(config)
        if item.behind is not None or item.before is not None:
            config["config"]["use_bias"] = True
        copy = keras.saving.deserialize_keras_object(
            config if built or _is_foreign(operation) else without_build(config)
        )
        self._copies[id(operation)] = copy
        self._filling.append(lambda: _fill(copy, operation, item))
        return copy


def _computes(layer: keras.Layer) -> bool:
    return not isinstance(layer, layers.InputLayer)


def _is_foreign(layer: keras.Layer) -> bool:
    return type(layer).__module__.split(".")[0] not in ("keras", "keras_resnets")


def _calls_once(step: Step) -> bool:
    """Whether a step calls a layer with one value, and with nothing else but perhaps a mode of training."""
    return (
        isinstance(step.operation, keras.Layer)
        and len(step.args) == 1
        and isinstance(step.args[0], Value)
        and all(value is None for key, value in step.kwargs.items() if key != "training")
    )


def _renamed(step: Step, names: dict[int, int]) -> Step:
    def rename(leaf):
        return Value(names.get(leaf.index, leaf.index)) if isinstance(leaf, Value) else leaf

    args, kwargs = (keras.tree.map_structure(rename, part) for part in (step.args, step.kwargs))
    return dataclasses.replace(step, args=args, kwargs=kwargs)


def _widths(linear: keras.Layer) -> tuple[int, int]:
    """Returns the numbers of channels that a linear layer takes (of one group) and gives."""
    name, axis = _LINEAR[type(linear)]
    shape = getattr(linear, name).shape
    if isinstance(axis, tuple):
        return shape[-2], shape[-2] * shape[-1]
    return shape[-2 if axis == -1 else -1], shape[axis]


def _affine_of(layer: keras.Layer, width: int) -> _Affine | None:
    """Returns what a layer does in inference to each of its channels, which come last; None if it does something else.

    Raises:
        ArgumentError: the statistics of a batch-norm are not finite.
    """
    if type(layer) is layers.Rescaling:
        numbers = [np.asarray(n, "float64") for n in (layer.scale, layer.offset)]
        return None if any(n.ndim for n in numbers) else _Affine(*(np.full(width, n) for n in numbers))
    if not isinstance(layer, layers.BatchNormalization) or _is_foreign(layer):
        return None
    axes = layer.input_spec.axes
    if layer.axis not in (-1, layer.input_spec.ndim - 1) or list(axes.values()) != [width]:
        return None
    mean, variance = _values(layer.moving_mean), _values(layer.moving_variance)
    factor = (variance + layer.epsilon) ** -0.5 * (_values(layer.gamma) if layer.scale else 1.0)
    term = (_values(layer.beta) if layer.center else 0.0) - mean * factor
    if not (np.isfinite(factor).all() and np.isfinite(term).all()):
        raise ArgumentError(
            f"model: the batch-norm {layer.name!r} has statistics or weights that are not finite, or a variance below "
            f"0; its training diverged, or it is damaged. Give a network that works."
        )
    return _Affine(factor, term)


def _values(variable) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(variable), "float64")


def _fill(copy: keras.Layer, original: keras.Layer, item: _Kept) -> None:
    """Gives a copy the weights of its original, with what is folded into it."""
    if item.behind is None and item.before is None:
        for variable, value in zip(copy.weights, original.weights, strict=True):
            assign(variable, value)
        return
    name, axis = _LINEAR[type(original)]
    if name == "pointwise_kernel":
        assign(copy.depthwise_kernel, original.depthwise_kernel)
    kernel = _values(getattr(original, name))
    width = _widths(original)[1]
    bias = _values(original.bias) if original.use_bias else np.zeros(width)
    if item.before is not None:
        # The inputs stand on the last axis but one, in depthwise convolutions as in others.
        inner = tuple(range(kernel.ndim - 2))
        added = kernel * item.before.term[:, None]
        bias = bias + (added.sum(inner).reshape(-1) if isinstance(axis, tuple) else added.sum((*inner, -2)))
        kernel = kernel * item.before.factor[:, None]
    if item.behind is not None:
        factor = item.behind.factor
        bias = bias * factor + item.behind.term
        if isinstance(axis, tuple):
            factor = factor.reshape(kernel.shape[-2:])
        kernel = kernel * (factor[:, None] if axis == -2 else factor)
    getattr(copy, name).assign(kernel)
    copy.bias.assign(bias)


def _for_inference(config: Any) -> Any:
    """Returns a configuration without penalties of weights, and with initial weights that cost nothing."""
    if isinstance(config, list | tuple):
        return type(config)(_for_inference(value) for value in config)
    if not isinstance(config, dict):
        return config
    changed = {}
    for key, value in config.items():
        if key.endswith("_regularizer") and key != "activity_regularizer":
            value = None
        elif key.endswith("_initializer") and value is not None:
            value = "zeros"
        changed[key] = _for_inference(value)
    return changed
