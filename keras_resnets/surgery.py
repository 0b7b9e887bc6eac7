"""Edits of the chain: each takes a network and gives a new one, around the same weights."""

from __future__ import annotations

from collections.abc import Iterable

from keras_resnets.blocks import ResidualBlock
from keras_resnets.errors import ArgumentError, nearest
from keras_resnets.network import ResidualNetwork


def select(model: ResidualNetwork, blocks: str | int | Iterable[str | int]) -> list[int]:
    """Returns the indices, among `model.blocks`, of blocks given by name or index.

    Raises:
        ArgumentError: there is no such block, or one is named twice.
    """
    if not isinstance(model, ResidualNetwork):
        raise ArgumentError(f"model must be a ResidualNetwork, as build gives; got {type(model).__name__}.")
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


def delete(model: ResidualNetwork, blocks: str | int | Iterable[str | int]) -> ResidualNetwork:
    """Returns the network with the residual branches of some blocks gone.

    The shortcut stays, with its projection or down-sampling (Veit et al. 2016, section 4). The
    weights are shared with `model`, which is left alone: training one trains the other.

    Args:
        model: a network with a shortcut at each of these blocks.
        blocks: names or indices of blocks.

    Raises:
        ArgumentError: there is no such block, or it has no shortcut to go on with.

    Example:
        >>> import keras_resnets as kr
        >>> lesioned = kr.delete(kr.build("resnet20"), "stage2_block2")
        >>> kr.parameters(lesioned)
        251162
    """
    doomed = set(select(model, blocks))
    edited = []
    for i, block in enumerate(model.blocks):
        if i in doomed and block.shortcut is None:
            raise ArgumentError(
                f"blocks: {block.name!r} has no shortcut, so nothing would connect its neighbours without its residual "
                f"branch; choose a block with a shortcut."
            )
        edited.append(block.rewrap(residual=None) if i in doomed else block.rewrap())
    return _chain(model, edited)


def _chain(model: ResidualNetwork, blocks: list[ResidualBlock]) -> ResidualNetwork:
    """Rebuilds the chain with other blocks in the places of the old ones."""
    replacement = iter(blocks)
    chain = [next(replacement) if isinstance(link, ResidualBlock) else link.rewrap() for link in model.chain]
    return ResidualNetwork(chain, tuple(model.input_shape[1:]), None, model.name)
