"""`adopt`: cuts a functional Keras model at its additions into a chain of residual blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras

from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.network import private
from keras_resnets.network.blocks import ResidualBlock, Segment, is_link
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.graph import Graph, Step, Value, trace

ACTIVATIONS = (keras.layers.ReLU, keras.layers.Activation, keras.layers.LeakyReLU, keras.layers.ELU)


@explained
def adopt(model: keras.Model) -> ResidualNetwork:
    """Converts a Keras model to a chain of residual blocks around the same layers.

    Each addition of two branches that start at the same tensor becomes a `ResidualBlock`. Its
    shortcut is the branch with fewer weighted layers (an identity if there are none). An activation
    directly behind the addition becomes the block's, and layers between blocks become a `Segment`.
    Branches that meet in another operation, such as the gate of squeeze and excitation, stay
    within their branch or segment. Nested models are unfolded.

    The network computes the same outputs as the model, bit for bit. It uses the model's own layers,
    so training one trains the other; the model itself is not changed. Blocks are named after their
    addition: `conv2_block1_add` gives the block `conv2_block1`.

    The mode of a call, which `predict`, `evaluate` and `fit` give, goes before one that the graph
    holds, as in Keras: `base(x, training=False)` does not keep `fit` from training the batch-norms
    of `base`; `base.trainable = False` does.

    Args:
        model: a functional model with one input and one output whose blocks are joined only by
            additions, such as ResNet, ResNetV2, MobileNetV2 and EfficientNet of
            `keras.applications`, or keras-hub's `ResNetBackbone`. A `ResidualNetwork` is returned
            unchanged.

    Returns:
        A `ResidualNetwork` without a spec, not compiled.

    Raises:
        ArgumentError: the model is not such a chain, or its channels come first; the message names the layer and the
            reason.

    Example:
        >>> import keras, keras_resnets as kr
        >>> original = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None)
        >>> network = kr.adopt(original)
        >>> network.blocks[0].name, len(network.blocks)
        ('block_2', 10)
    """
    if isinstance(model, ResidualNetwork):
        return model
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model must be a Keras model; got {type(model).__name__}.")
    for kind, tensors in (("input", getattr(model, "inputs", None)), ("output", getattr(model, "outputs", None))):
        if tensors is not None and len(tensors) != 1:
            names = ", ".join(repr(private.operation_of(t).name) for t in tensors)
            raise ArgumentError(
                f"model: {model.name!r} has {len(tensors)} {kind}s ({names}), and a chain has one; adopt the part "
                f"between one input and one output."
            )

    # Cut the traced operations into links.
    steps, output = trace(model, masks=False)
    _check_used_once(model, steps)
    chain = _Chain(model)
    for entry, region in _regions(steps, output):
        chain.append(entry, region)
    links = chain.finish()
    if not any(isinstance(link, ResidualBlock) for link in links):
        reason = (
            f"its branches meet in {chain.meeting!r}, which is no addition"
            if chain.meeting
            else "it contains no addition of two branches"
        )
        raise ArgumentError(
            f"model: {model.name!r} is not a chain of residual blocks: {reason}. Adopt a residual network."
        )

    # Join the links behind a new input.
    source = model.inputs[0]
    inputs = keras.Input(batch_shape=(None, *source.shape[1:]), dtype=source.dtype, name="input")
    return ResidualNetwork(links, inputs, None, model.name, dtype=model.dtype_policy)


def _check_used_once(model: keras.Model, steps: Sequence[Step]) -> None:
    """Raises `ArgumentError` if a layer is called more than once."""
    seen = set()
    for step in steps:
        if isinstance(step.operation, keras.layers.Layer) and id(step.operation) in seen:
            raise ArgumentError(
                f"model: the layer {step.operation.name!r} of {model.name!r} is used more than once, so it does not "
                f"belong to one block; give each use a layer of its own."
            )
        seen.add(id(step.operation))


def _regions(steps: Sequence[Step], output: int):
    """Cuts the steps wherever all later steps depend on a single value.

    Yields:
        The value that a region starts from, and the steps that lead from it to the region's output.
    """
    last_use = {0: -1, output: len(steps)}
    for i, step in enumerate(steps):
        for value in step.reads:
            last_use[value] = max(last_use.get(value, -1), i)
    entry, region, needed = 0, [], last_use[0]
    for i, step in enumerate(steps):
        region.append(step)
        if needed <= i and len(step.outputs) == 1:
            yield entry, region
            entry, region = step.outputs[0], []
        needed = max([needed, *(last_use.get(value, -1) for value in step.outputs)])


def _steps_to(value: int, region: Sequence[Step]) -> list[Step]:
    """Returns the steps of a region that compute a value."""
    wanted: set[int] = {value}
    steps: list[Step] = []
    for step in reversed(region):
        if wanted & set(step.outputs):
            wanted |= set(step.reads)
            steps.insert(0, step)
    return steps


def _is_addition(step: Step) -> bool:
    operation = step.operation
    return (isinstance(operation, keras.layers.Add) or private.is_sum(operation)) and len(set(step.reads)) > 1


def _count_weighted(steps: Sequence[Step]) -> tuple[int, int]:
    """Counts the layers with kernels in a branch, and its steps."""
    kernels = [s for s in steps if any(len(w.shape) > 1 for w in getattr(s.operation, "weights", []))]
    return len(kernels), len(steps)


def _graph(entry: int, steps: Sequence[Step], name: str, dtype) -> keras.Layer:
    """Returns steps as one layer whose input is the value `entry`."""
    if not steps:
        return keras.layers.Identity(name=name, dtype=dtype.name)

    def renumber(leaf):
        return Value(0) if leaf == Value(entry) else leaf

    def rewired(arguments):
        return keras.tree.map_structure(renumber, arguments)

    steps = [dataclasses.replace(s, args=rewired(s.args), kwargs=rewired(s.kwargs)) for s in steps]
    return Graph(steps, steps[-1].outputs[0], name=name, dtype=dtype)


class _Chain:
    """Collects the links: a block for each addition, and a segment for the steps between blocks."""

    def __init__(self, model: keras.Model):
        self.model = model
        self.links: list[keras.layers.Layer] = []
        self.between: list[Step] = []
        self.entry = 0
        self.meeting: str | None = None

    def append(self, entry: int, region: list[Step]) -> None:
        """Adds a region, which starts from the value `entry`, as a block, as a block's activation or to a segment."""
        step, policy = region[-1], getattr(region[-1].operation, "dtype_policy", self.model.dtype_policy)
        if len(region) == 1 and is_link(step.operation):
            self._close_segment(step.operation.name)
            self.links.append(step.operation.rewrap(name=self._unused(step.operation.name)))
        elif len(region) > 1 and _is_addition(step):
            name = self._name_of(step)
            self._close_segment(name)
            residual, shortcut = self._branches(entry, region)
            self.links.append(
                ResidualBlock(
                    _graph(entry, residual, "residual", policy),
                    _graph(entry, shortcut, "shortcut", policy),
                    name=name,
                    dtype=policy,
                )
            )
        elif self._is_activation_of_block(step):
            self.links[-1] = self.links[-1].rewrap(activation=step.operation)
        else:
            if len(region) > 1:
                self._check_no_inner_addition(region)
            if not self.between:
                self.entry = entry
            self.between += region

    def finish(self) -> list[keras.layers.Layer]:
        """Closes the last segment and returns all links."""
        self._close_segment(None)
        return self.links

    def _is_activation_of_block(self, step: Step) -> bool:
        return (
            not self.between
            and bool(self.links)
            and isinstance(self.links[-1], ResidualBlock)
            and self.links[-1].activation is None
            and isinstance(step.operation, ACTIVATIONS)
            and len(step.reads) == 1
        )

    def _close_segment(self, before: str | None) -> None:
        """Turns the collected steps into the segment before the block of that name, or at the end (None)."""
        if not self.between:
            return
        first = not self.links
        name = "stem" if first else "head" if before is None else f"{before}_entry"
        policy = getattr(self.between[-1].operation, "dtype_policy", self.model.dtype_policy)
        body = _graph(self.entry, self.between, "body", policy)
        self.links.append(Segment(body, name=self._unused(name), dtype=policy))
        self.between = []

    def _name_of(self, addition: Step) -> str:
        short = addition.operation.name.removesuffix("_add").removesuffix("_out")
        return self._unused(short or addition.operation.name)

    def _unused(self, name: str) -> str:
        """Returns the name, numbered if another link has it."""
        taken, number, unused = {link.name for link in self.links}, 1, name
        while unused in taken:
            number += 1
            unused = f"{name}_{number}"
        return unused

    def _branches(self, entry: int, region: list[Step]) -> tuple[list[Step], list[Step]]:
        """Returns the steps of the residual branch and of the shortcut."""
        addition = region[-1]
        subject = f"model: the addition {addition.operation.name!r} of {self.model.name!r}"
        if len(addition.reads) != 2:
            raise ArgumentError(f"{subject} has {len(addition.reads)} terms, and a block has two; add them in pairs.")
        one, other = (_steps_to(value, region) for value in addition.reads)
        common = [step for step in one if step in other]
        if common:
            raise ArgumentError(
                f"{subject} does not end a block: {common[-1].operation.name!r} is read by both of its branches, or "
                f"across the border of a block, so the branches do not start at one tensor."
            )
        shortcut, residual = sorted((other, one), key=_count_weighted)
        return residual, shortcut

    def _check_no_inner_addition(self, region: list[Step]) -> None:
        """Raises `ArgumentError` if branches that meet in another operation than an addition contain blocks."""
        meeting = region[-1].operation.name
        self.meeting = self.meeting or meeting
        inside = [step.operation.name for step in region[:-1] if _is_addition(step)]
        if inside:
            raise ArgumentError(
                f"model: the addition {inside[0]!r} of {self.model.name!r} lies in a branch that ends in {meeting!r}, "
                f"which is no addition, so the network is not a chain of blocks."
            )
