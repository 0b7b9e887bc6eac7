"""Edits of the chain: each takes a network and gives a new one, around the same weights or a copy."""

from __future__ import annotations

from collections.abc import Iterable

import keras

from keras_resnets.blocks import ResidualBlock
from keras_resnets.errors import ArgumentError, nearest
from keras_resnets.network import ResidualNetwork


def select(model: ResidualNetwork, blocks: str | int | Iterable[str | int]) -> list[int]:
    """Returns the indices, among `model.blocks`, of blocks given by name or index.

    Raises:
        ArgumentError: there is no such block, or one is named twice.
    """
    if not isinstance(model, ResidualNetwork):
        raise ArgumentError(f"model must be a ResidualNetwork, as build and adopt give; got {type(model).__name__}.")
    names = [block.name for block in model.blocks]
    chosen = []
    for block in [blocks] if isinstance(blocks, str | int) else blocks:
        if isinstance(block, str) and block not in names:
            raise ArgumentError(f"{model.name!r} has no block {block!r}; the nearest are: {nearest(block, names)}.")
        index = names.index(block) if isinstance(block, str) else block
        if not -len(names) <= index < len(names):
            raise ArgumentError(
                f"blocks must be from 0 to {len(names) - 1}, the blocks of {model.name!r}; got {block}."
            )
        chosen.append(index % len(names))
    if len(set(chosen)) < len(chosen):
        raise ArgumentError(f"blocks must name each block once; got {blocks!r}.")
    return chosen


def delete(model: ResidualNetwork, blocks: str | int | Iterable[str | int], *, copy: bool = False) -> ResidualNetwork:
    """Returns the network with the residual branches of some blocks gone.

    The shortcut stays, with its projection or down-sampling (Veit et al. 2016, section 4). A block
    without one, such as a layer of a plain network, is bridged by `ResidualBlock.stand_in`.

    Args:
        model: the network; it is left alone.
        blocks: names or indices of blocks.
        copy: give the new network weights of its own. Without, the two share theirs, so training
            one trains the other.

    Returns:
        A network without a spec, not compiled.

    Raises:
        ArgumentError: there is no such block, or its residual branch is gone already.

    Example:
        >>> import keras_resnets as kr
        >>> lesioned = kr.delete(kr.build("resnet20"), "stage2_block2")
        >>> kr.parameters(lesioned)
        251162
    """
    return _edit(model, blocks, "residual", copy)


def unskip(model: ResidualNetwork, blocks: str | int | Iterable[str | int], *, copy: bool = False) -> ResidualNetwork:
    """Returns the network with the skip connections of some blocks gone, so that only their residual branch is left.

    Args:
        model: the network; it is left alone.
        blocks: names or indices of blocks.
        copy: as for `delete`.

    Returns:
        A network without a spec, not compiled.

    Raises:
        ArgumentError: there is no such block, or it has no skip connection, or nothing else.

    Example:
        >>> import keras_resnets as kr
        >>> plain = kr.unskip(kr.build("resnet20"), range(9))
        >>> kr.parameters(plain) == kr.parameters(kr.build("plain20"))
        True
    """
    return _edit(model, blocks, "shortcut", copy)


def reorder(model: ResidualNetwork, order: Iterable[str | int], *, copy: bool = False) -> ResidualNetwork:
    """Returns the network with its blocks in another order.

    Args:
        model: the network; it is left alone.
        order: all blocks, by name or index, in their new order. What is not a block stays in place.
        copy: as for `delete`.

    Returns:
        A network without a spec, not compiled. The blocks keep their names.

    Raises:
        ArgumentError: a block is missing or named twice, or does not fit behind the one before it.

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
                f"{blocks[place].name!r} ({_shapes(blocks[place])}); exchange blocks of equal shapes."
            )
    return _chain(model, [blocks[i].rewrap() for i in chosen], copy)


def interchangeable(one: ResidualBlock, other: ResidualBlock) -> bool:
    """Whether two blocks have the same shapes of input and output, and so can take each other's place."""
    return _shapes(one) == _shapes(other)


def _shapes(block: ResidualBlock) -> str:
    source, target = ("x".join(str(n or "?") for n in t.shape[1:]) for t in (block.input, block.output))
    return f"{source} to {target}"


def _edit(model: ResidualNetwork, blocks, branch: str, copy: bool) -> ResidualNetwork:
    """Takes one branch out of some blocks."""
    doomed, edited = set(select(model, blocks)), []
    for i, block in enumerate(model.blocks):
        changes = {branch: None} if i in doomed else {}
        if changes and getattr(block, branch) is None:
            raise ArgumentError(
                f"blocks: {block.name!r} has no {branch} branch to remove; choose a block that has one."
            )
        if changes and branch == "residual":
            changes["shortcut"] = block.stand_in()
        elif changes and block.residual is None:
            raise ArgumentError(
                f"blocks: {block.name!r} has nothing but its shortcut, which would leave no path; choose a block with "
                f"a residual branch."
            )
        edited.append(block.rewrap(**changes))
    return _chain(model, edited, copy)


def _chain(model: ResidualNetwork, blocks: list[ResidualBlock], copy: bool) -> ResidualNetwork:
    """Rebuilds the chain with other blocks in the places of the old ones."""
    replacement = iter(blocks)
    chain = [next(replacement) if isinstance(link, ResidualBlock) else link.rewrap() for link in model.chain]
    source = keras.Input(tuple(model.input_shape[1:]), dtype=model.inputs[0].dtype, name="input")
    edited = ResidualNetwork(chain, source, None, model.name, model.dtype_policy, model.preprocessing)
    if not copy:
        return edited
    own = ResidualNetwork.from_config(edited.get_config())
    own.set_weights(edited.get_weights())
    return own
