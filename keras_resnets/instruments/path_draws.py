"""The paths through a network: how many there are of each length, and draws of them. And which lengths matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_resnets.network.chain import ResidualNetwork

if TYPE_CHECKING:
    import pandas as pd


# How much of the gradient the lengths called effective carry, and how much of it may be missing beyond a length.
MASS, REST = 0.95, 0.05


class Paths:
    """How many paths of each length there are, and draws of them.

    Blocks that lack a branch leave no choice: one without a shortcut is on every path, one without a residual branch on
    none.
    """

    def __init__(self, network: ResidualNetwork):
        self.blocks = network.blocks
        self.free = [i for i, b in enumerate(self.blocks) if b.residual is not None and b.shortcut is not None]
        self.always = [i for i, b in enumerate(self.blocks) if b.shortcut is None]
        self.all = np.arange(len(self.free) + 1) + len(self.always)

    def log_counts(self) -> np.ndarray:
        """Logarithms of the numbers of paths."""
        from scipy.special import gammaln

        n, k = len(self.free), np.arange(len(self.free) + 1)
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    def draw(self, draws: int, examples: int, rng: np.random.Generator) -> np.ndarray:
        """Gates of (passes, blocks, examples): paths of every length alike, shuffled over passes and examples."""
        passes = -(-draws * len(self.all) // examples)
        taken = np.resize(np.arange(len(self.all)), passes * examples)
        order = rng.permuted(np.tile(np.arange(len(self.free)), (len(taken), 1)), axis=1)
        gates = np.zeros((len(taken), len(self.blocks)), bool)
        gates[:, self.always] = True
        gates[:, self.free] = order < rng.permutation(taken)[:, None]
        return gates.reshape(passes, examples, -1).transpose(0, 2, 1)


def shortest_run(lengths: np.ndarray, shares: np.ndarray, mass: float = MASS) -> tuple[int, int]:
    """The shortest run of lengths whose shares sum to at least `mass`; the first of equals."""
    sums = np.concatenate([[0], np.cumsum(shares)]) / shares.sum()
    for width in range(1, len(shares) + 1):
        inside = sums[width:] - sums[:-width]
        if inside.max() >= mass:
            start = int(inside.argmax())
            return int(lengths[start]), int(lengths[start + width - 1])
    return int(lengths[0]), int(lengths[-1])


def needed_length(rows: pd.DataFrame, rest: float = REST) -> int:
    """The length beyond which all longer paths together are at most `rest` of the gradient."""
    return int(rows["length"][rows["rest"] <= rest].min())
