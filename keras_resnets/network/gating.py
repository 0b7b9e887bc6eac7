"""Runs a chain with some residual branches switched off, for a whole batch or for single examples."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_resnets import replicas
from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.tracing import TracedOnce, called, stateless


class Gated:
    """Runs a chain with gates on its blocks.

    A gate for a whole batch decides whether the residual branch is computed at all: by a condition in the graph, traced
    once for each configuration of branch. Gates of single examples are weights on the branch's output.

    A block that is off passes on what a deleted block does (`ResidualBlock.stand_in`), through its activation. The
    moving statistics of its branch do not change.
    """

    def __init__(self) -> None:
        # The gates of the current call; not an attribute of the network, because Keras would track it.
        self.gates: Any = None
        modes = itertools.product((True, False), repeat=2)
        self._sums = {mode: TracedOnce(functools.partial(_sum_branches, *mode)) for mode in modes}

    @contextlib.contextmanager
    def using(self, gates) -> Iterator[None]:
        """Applies gates to calls in the context: booleans (blocks,), weights (blocks, examples), or a function of x."""
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
            training: whether to use batch statistics and ignore the blocks' scales.
        """
        gates = iter(ops.unstack(self.gates(x) if callable(self.gates) else self.gates, axis=0))
        for link in chain:
            x = (
                self._run_block(link, x, next(gates), training)
                if isinstance(link, ResidualBlock)
                else link(x, training=training)
            )
        return x

    def _run_block(self, block: ResidualBlock, x, gate, training: bool):
        """Returns the output of a block with its gate."""
        if block.residual is None:
            return block(x, training=training)
        plain = block.shortcut is None
        h = x if block.preactivation is None else called(block.preactivation, training, x)
        skip = called(block.stand_in() if plain else block.shortcut, training, h)
        scale = None if training or block.scale == 1 else ops.cast(block.scale, skip.dtype)

        # One gate for each example: a weight on the branch's output.
        if len(gate.shape):
            f = _multiply(called(block.residual, training, h), scale)
            weight = ops.reshape(ops.cast(gate, f.dtype), (-1, *[1] * (len(f.shape) - 1)))
            return block.join(ops.where(weight > 0, weight * f, skip) if plain else ops.add(weight * f, skip))

        # One gate for the batch: a condition on which the branch runs, with its updates of moving statistics.
        total, updated = self._sums[training, plain](block.residual, h, skip, gate, scale)
        if training:
            for variable, value in zip(block.residual.non_trainable_variables, updated, strict=True):
                variable.assign(value)
        return block.join(total)


def _sum_branches(training: bool, plain: bool, residual: keras.Layer, values, h, skip, gate, scale):
    """Returns a block's sum, and the non-trainable variables, which change only if the residual branch is on."""
    unchanged = values[len(residual.trainable_variables) :]

    def on():
        f, updated = stateless(residual, values, h, training)
        f = _multiply(f, scale)
        return f if plain else ops.add(f, skip), updated

    if replicas.count() > 1:
        # TensorFlow's replicas cannot add up within a condition, so that the branch runs, and is left out of the sum.
        total, updated = on()
        kept = [ops.where(gate, new, old) for new, old in zip(updated, unchanged, strict=True)]
        return ops.where(gate, total, skip), kept
    return ops.cond(gate, on, lambda: (skip, unchanged))


def _multiply(f, scale):
    return f if scale is None else f * scale
