"""A walk along the chain in which residual branches can be off, for a whole batch or for single examples."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.tracing import Shared, called, stateless


class Gated:
    """Runs a chain with gates on its blocks.

    A gate for a whole batch decides whether the residual branch is computed at all: by a condition in the graph, traced
    once for each make of branch. Gates of single examples are weights on the branch's output.

    A block that is off hands on what a deleted one does (`ResidualBlock.stand_in`), through its activation. The moving
    statistics of its branch stay as they are.
    """

    def __init__(self) -> None:
        # What holds while a network is called; not an attribute of the network, for Keras would track it.
        self.gates: Any = None
        modes = itertools.product((True, False), repeat=2)
        self._sums = {mode: Shared(functools.partial(_sum, *mode)) for mode in modes}

    @contextlib.contextmanager
    def given(self, gates) -> Iterator[None]:
        """Holds the gates of a call: booleans of (blocks,), weights of (blocks, examples), or their function of x."""
        self.gates = gates
        try:
            yield
        finally:
            self.gates = None

    def __call__(self, chain: Sequence[keras.Layer], x, training: bool):
        """Returns the output of the chain.

        Args:
            chain: the links.
            x: the input.
            training: with batch statistics, and without the blocks' scales.
        """
        waiting = iter(ops.unstack(self.gates(x) if callable(self.gates) else self.gates, axis=0))
        for link in chain:
            x = (
                self._block(link, x, next(waiting), training)
                if isinstance(link, ResidualBlock)
                else link(x, training=training)
            )
        return x

    def _block(self, block: ResidualBlock, x, gate, training: bool):
        if block.residual is None:
            return block(x, training=training)
        plain = block.shortcut is None
        h = x if block.preactivation is None else called(block.preactivation, x, training)
        skip = called(block.stand_in() if plain else block.shortcut, h, training)
        scale = None if training or block.scale == 1 else ops.cast(block.scale, skip.dtype)
        if len(gate.shape):
            f = _times(called(block.residual, h, training), scale)
            weight = ops.reshape(ops.cast(gate, f.dtype), (-1, *[1] * (len(f.shape) - 1)))
            return block.join(ops.where(weight > 0, weight * f, skip) if plain else ops.add(weight * f, skip))
        total, updated = self._sums[training, plain](block.residual, h, skip, gate, scale)
        if training:
            for variable, value in zip(block.residual.non_trainable_variables, updated, strict=True):
                variable.assign(value)
        return block.join(total)


def _sum(training: bool, plain: bool, residual: keras.Layer, values, h, skip, gate, scale):
    """What a block sums, and the variables that are not trained, changed if its residual branch was on."""
    fixed = values[len(residual.trainable_variables) :]

    def on():
        f, updated = stateless(residual, values, h, training)
        f = _times(f, scale)
        return f if plain else ops.add(f, skip), updated

    return ops.cond(gate, on, lambda: (skip, fixed))


def _times(f, scale):
    return f if scale is None else f * scale
