"""The paths through a network: their number by length, random draws of them, and which lengths matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_resnets.network.chain import ResidualNetwork

if TYPE_CHECKING:
    import pandas as pd


# The share of the gradient in the effective lengths, and the largest share that may be missing beyond a length.
MASS, REST = 0.95, 0.05


class Paths:
    """The number of paths of each length, and random draws of paths.

    Blocks that lack a branch leave no choice: every path goes through the residual branch of a block without a
    shortcut, and none through that of a block whose residual branch was deleted.
    """

    def __init__(self, network: ResidualNetwork):
        self.blocks = network.blocks
        self.free = [i for i, b in enumerate(self.blocks) if b.residual is not None and b.shortcut is not None]
        self.always = [i for i, b in enumerate(self.blocks) if b.shortcut is None]
        self.all = np.arange(len(self.free) + 1) + len(self.always)

    def log_counts(self) -> np.ndarray:
        """Returns the logarithms of the numbers of paths by length."""
        from scipy.special import gammaln

        n, k = len(self.free), np.arange(len(self.free) + 1)
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    def draw(self, draws: int, examples: int, rng: np.random.Generator) -> np.ndarray:
        """Draws gates of (passes, blocks, examples): each length equally often, shuffled over passes and examples."""
        passes = -(-draws * len(self.all) // examples)
        lengths = np.resize(np.arange(len(self.all)), passes * examples)
        order = rng.permuted(np.tile(np.arange(len(self.free)), (len(lengths), 1)), axis=1)
        gates = np.zeros((len(lengths), len(self.blocks)), bool)
        gates[:, self.always] = True
        gates[:, self.free] = order < rng.permutation(lengths)[:, None]
        return gates.reshape(passes, examples, -1).transpose(0, 2, 1)


def shortest_run(lengths: np.ndarray, shares: np.ndarray, mass: float = MASS) -> tuple[int, int]:
    """Returns the first and last of the shortest run of lengths whose shares sum to at least `mass`; the first wins."""
    sums = np.concatenate([[0], np.cumsum(shares)]) / shares.sum()
    for width in range(1, len(shares) + 1):
        inside = sums[width:] - sums[:-width]
        if inside.max() >= mass:
            start = int(inside.argmax())
            return int(lengths[start]), int(lengths[start + width - 1])
    return int(lengths[0]), int(lengths[-1])


def needed_length(rows: pd.DataFrame, rest: float = REST) -> int:
    """Returns the length beyond which all longer paths together are at most `rest` of the gradient."""
    return int(rows["length"][rows["rest"] <= rest].min())
