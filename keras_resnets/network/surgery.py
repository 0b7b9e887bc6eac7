"""Edits of a chain: each returns a new network that shares the weights of the given one, or copies them."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_resnets.architecture.plan import Block, plan
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError, nearest
from keras_resnets.explaining import explained
from keras_resnets.network import layout
from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.graph import Graph
from keras_resnets.network.tracing import configuration_key, in_precision

# Layers that keep the output of a ReLU non-negative.
_KEEP_SIGNS = (keras.layers.MaxPooling2D, keras.layers.ZeroPadding2D)


def select(model: ResidualNetwork, blocks: str | int | Iterable[str | int]) -> list[int]:
    """Returns the indices, among `model.blocks`, of blocks given by name or index.

    Raises:
        ArgumentError: there is no such block, or one is named twice.
    """
    if not isinstance(model, ResidualNetwork):
        raise ArgumentError(f"model must be a ResidualNetwork, as build and adopt return; got {type(model).__name__}.")
    names = [block.name for block in model.blocks]
    chosen = []
    for block in [blocks] if isinstance(blocks, str | int) else blocks:
        if isinstance(block, str) and block not in names:
            raise ArgumentError(f"{model.name!r} has no block {block!r}; the nearest are: {nearest(block, names)}.")
        if not isinstance(block, str | int | np.integer) or isinstance(block, bool):
            raise ArgumentError(f"blocks must be names of blocks or their numbers from 0; got {block!r}.")
        index = names.index(block) if isinstance(block, str) else block
        if not -len(names) <= index < len(names):
            raise ArgumentError(
                f"blocks must be from 0 to {len(names) - 1}, the blocks of {model.name!r}; got {block}."
            )
        chosen.append(index % len(names))
    if len(set(chosen)) < len(chosen):
        raise ArgumentError(f"blocks must name each block once; got {blocks!r}.")
    return chosen


@explained
def delete(model: ResidualNetwork, blocks: str | int | Iterable[str | int], *, copy: bool = False) -> ResidualNetwork:
    """Returns the network without the residual branches of some blocks.

    The shortcut stays, with its projection or down-sampling (Veit et al. 2016, section 4). A block
    without a shortcut, such as a layer of a plain network, is replaced by `ResidualBlock.stand_in`.

    Args:
        model: the network; it is not changed.
        blocks: names or indices of blocks.
        copy: whether to copy the weights. Otherwise the two networks share them, so training one
            trains the other.

    Returns:
        A network without a spec, not compiled.

    Raises:
        ArgumentError: there is no such block, or its residual branch is already deleted.

    Example:
        >>> import keras_resnets as kr
        >>> lesioned = kr.delete(kr.build("resnet20"), "stage2_block2")
        >>> kr.parameters(lesioned)
        251162
    """
    return _edit(model, blocks, "residual", copy)


@explained
def unskip(model: ResidualNetwork, blocks: str | int | Iterable[str | int], *, copy: bool = False) -> ResidualNetwork:
    """Returns the network without the skip connections of some blocks, which keep only their residual branch.

    Args:
        model: the network; it is not changed.
        blocks: names or indices of blocks.
        copy: as for `delete`.

    Returns:
        A network without a spec, not compiled.

    Raises:
        ArgumentError: there is no such block, or it has no skip connection, or no residual branch.

    Example:
        >>> import keras_resnets as kr
        >>> plain = kr.unskip(kr.build("resnet20"), range(9))
        >>> kr.parameters(plain) == kr.parameters(kr.build("plain20"))
        True
    """
    return _edit(model, blocks, "shortcut", copy)


@explained
def reorder(model: ResidualNetwork, order: Iterable[str | int], *, copy: bool = False) -> ResidualNetwork:
    """Returns the network with its blocks in another order.

    Args:
        model: the network; it is not changed.
        order: all blocks, by name or index, in their new order. Other links stay in place.
        copy: as for `delete`.

    Returns:
        A network without a spec, not compiled. The blocks keep their names.

    Raises:
        ArgumentError: a block is missing or named twice, or its shapes do not fit its new place.

    Example:
        >>> import keras_resnets as kr
        >>> swapped = kr.reorder(kr.build("resnet20"), [0, 2, 1, 3, 4, 5, 6, 7, 8])
        >>> [block.name for block in swapped.blocks][:3]
        ['stage1_block1', 'stage1_block3', 'stage1_block2']
    """
    chosen, blocks = select(model, order), model.blocks
    if len(chosen) != len(blocks):
        raise ArgumentError(f"order must name all {len(blocks)} blocks of {model.name!r}; got {len(chosen)}.")
    for place, i in enumerate(chosen):
        if place != i and not interchangeable(blocks[place], blocks[i]):
            raise ArgumentError(
                f"order: {blocks[i].name!r} ({_shapes(blocks[i])}) does not fit in the place of "
                f"{blocks[place].name!r} ({_shapes(blocks[place])}); swap blocks of equal shapes."
            )
    return _rebuild(model, [blocks[i].rewrap() for i in chosen], copy)


@explained
def compact(
    model: ResidualNetwork, *, spec: Spec | None = None, name: str | None = None, copy: bool = False
) -> ResidualNetwork:
    """Returns the network without the blocks that return their input unchanged.

    These are blocks whose residual branch was deleted, with an identity shortcut and, as activation, none or a ReLU
    whose input has already passed a ReLU. Other deleted blocks stay: a transition because of its shortcut, a block
    with a pre-activation before both branches because of that. The network's output does not change.

    Args:
        model: the network, as returned by `delete`; it is not changed.
        spec: the spec of the network before blocks were deleted. If this spec with fewer blocks in its stages
            describes the blocks that are left, that becomes the new network's spec, and the blocks are renumbered as
            `keras_resnets.build` names them.
        name: the name of the new network; None keeps the name.
        copy: as for `delete`.

    Returns:
        A network, not compiled; without a spec, except as above.

    Raises:
        ArgumentError: no block would be left.

    Example:
        >>> import keras_resnets as kr
        >>> model = kr.build("preresnet20")
        >>> shorter = kr.compact(kr.delete(model, ["stage2_block2", "stage3_block3"]), spec=model.spec)
        >>> len(shorter.blocks), shorter.spec.depth
        (7, 16)
    """
    # Drop the blocks that compute nothing.
    before = dict(zip(model.chain[1:], model.chain, strict=False))
    kept = [None if _is_identity(block, before.get(block)) else block.rewrap() for block in model.blocks]
    left = [block for block in kept if block is not None]
    if not left:
        raise ArgumentError(f"model: no block of {model.name!r} would be left; delete fewer blocks.")

    # Renumber the others if they are those of a shorter spec.
    name, names = name or model.name, {block.name for block in left}
    shorter = spec and _shorter(spec, name, [block for block in model.blocks if block.name in names])
    if shorter:
        renamed = (block.rewrap(name=new.name) for block, new in zip(left, plan(shorter).blocks, strict=True))
        kept = [block and next(renamed) for block in kept]
    return _rebuild(model, kept, copy, shorter, name)


def _is_identity(block: ResidualBlock, before: keras.Layer | None) -> bool:
    """Returns whether a block returns the output of the link before it unchanged."""
    if block.residual is not None or not block.has_identity_shortcut:
        return False
    return block.activation is None or (_is_relu(block.activation) and before is not None and _ends_in_relu(before))


def _ends_in_relu(link: keras.Layer) -> bool:
    """Returns whether a link's last layer is a plain ReLU, possibly behind layers that keep its output non-negative."""
    if isinstance(link, ResidualBlock):
        last = [link.activation]
    else:
        body = getattr(link, "body", None)
        inner = {keras.Sequential: "layers", Graph: "operations"}.get(type(body))
        last = list(getattr(body, inner)) if inner else [body]
        while last and isinstance(last[-1], _KEEP_SIGNS):
            last.pop()
    return bool(last) and _is_relu(last[-1])


def _is_relu(layer) -> bool:
    """Returns whether a layer is the plain ReLU, which is idempotent."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu


def _shorter(spec: Spec, name: str, blocks: Sequence[ResidualBlock]) -> Spec | None:
    """Returns the spec with fewer blocks in its stages if it describes these blocks, else None."""
    # Count the blocks of each stage by their names.
    stages = [re.fullmatch(r"stage(\d+)_block\d+", block.name) for block in blocks]
    counts = collections.Counter(int(match[1]) for match in stages if match)
    if not all(stages) or sorted(counts) != list(range(1, len(spec.stages) + 1)):
        return None
    shorter = spec.replace(
        name=name, stages=tuple(dataclasses.replace(s, blocks=counts[i]) for i, s in enumerate(spec.stages, 1))
    )

    # Compare each block with the one that the shorter spec plans in its place; equal plans are built once.
    expected: dict[Block, dict] = {}
    for block, planned in zip(blocks, plan(shorter).blocks, strict=True):
        nameless = dataclasses.replace(planned, name="block")
        if nameless not in expected:
            new = layout.block(shorter, nameless)
            new(keras.Input(block.input.shape[1:]))
            expected[nameless] = _part_keys(new)
        if _part_keys(block) != expected[nameless]:
            return None
    return shorter


def _part_keys(block: ResidualBlock) -> dict:
    """Returns the configuration key of each part of a block."""
    return {name: configuration_key(part) for name, part in block.parts().items()}


def interchangeable(one: ResidualBlock, other: ResidualBlock) -> bool:
    """Returns whether two blocks have equal input shapes and equal output shapes, so that they can be swapped."""
    return _shapes(one) == _shapes(other)


def _shapes(block: ResidualBlock) -> str:
    source, target = ("x".join(str(n or "?") for n in t.shape[1:]) for t in (block.input, block.output))
    return f"{source} to {target}"


def _edit(model: ResidualNetwork, blocks, branch: str, copy: bool) -> ResidualNetwork:
    """Removes one branch of some blocks."""
    chosen, edited = set(select(model, blocks)), []
    for i, block in enumerate(model.blocks):
        changes = {branch: None} if i in chosen else {}
        if changes and getattr(block, branch) is None:
            raise ArgumentError(
                f"blocks: {block.name!r} has no {branch} branch to remove; choose a block that has one."
            )
        if changes and branch == "residual":
            changes["shortcut"] = block.stand_in()
        elif changes and block.residual is None:
            raise ArgumentError(
                f"blocks: {block.name!r} has nothing but its shortcut, so no path would be left; choose a block with "
                f"a residual branch."
            )
        edited.append(block.rewrap(**changes))
    return _rebuild(model, edited, copy)


def _rebuild(
    model: ResidualNetwork,
    blocks: Sequence[ResidualBlock | None],
    copy: bool,
    spec: Spec | None = None,
    name: str | None = None,
) -> ResidualNetwork:
    """Rebuilds the chain with other blocks, or none, in place of the old ones."""
    replacement = iter(blocks)
    chain = [next(replacement) if isinstance(link, ResidualBlock) else link.rewrap() for link in model.chain]
    source = keras.Input(tuple(model.input_shape[1:]), dtype=model.inputs[0].dtype, name="input")
    links = [link for link in chain if link is not None]
    edited = ResidualNetwork(links, source, spec, name or model.name, model.dtype_policy, model.preprocessing)
    edited.class_names, edited.folded = model.class_names, model.folded
    return copied(edited) if copy else edited


def copied(model: ResidualNetwork, precision: str | None = None) -> ResidualNetwork:
    """Returns a copy of the network, not compiled, with its own weights; in another precision, if one is given."""
    config = model.get_config()
    if precision is not None:
        config = in_precision(config, precision) if precision == "float32" else _mixed(config, precision)
    copy = ResidualNetwork.from_config(config)
    copy.set_weights(model.get_weights())
    return copy


def _mixed(config: Any, precision: str) -> Any:
    """Returns a configuration with a mixed policy for all layers but a softmax, whose outputs stay in 32 bits."""
    if isinstance(config, dict):
        inner = config.get("config")
        if isinstance(inner, dict) and (inner.get("activation") == "softmax" or config.get("class_name") == "Softmax"):
            return config
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": precision}}
        return {key: _mixed(value, precision) for key, value in config.items()}
    return type(config)(_mixed(value, precision) for value in config) if isinstance(config, list | tuple) else config
