"""How long the paths are that matter, from how strong the residual branches are.

A path goes through a network of `n` blocks and takes the residual branch of some of them: its
length is their number. Where block `l` has the ratio `rho_l` of the energy of its residual branch
to that of its shortcut, two suppositions lead to two distributions over lengths:

- *The branches of a block are uncorrelated.* Then energies add: of a block's output the share
  `q_l = rho_l / (1 + rho_l)` has come through the residual branch. If a branch hands on the parts
  of its input in proportion to their energies, what came by paths of length k makes up
  `e_k(rho) / prod(1 + rho_l)` of the network's output, with the elementary symmetric polynomial
  `e_k`: the chance of k heads in throws of n coins that show heads with `q_l`.
- *Paths of one length are copies in phase*, as in the loss of Littwin & Wolf 2016. Then amplitudes
  `beta_l = sqrt(rho_l)` add, and a length has the weight `epsilon_k = e_k(beta) / z`, with the sum
  of squares 1. Equal blocks give theirs, `C(p-1, r-1) beta^r / z`, for r = k + 1: the first of
  their p layers (Eq. 7) has no skip, so every path takes it.

Both are products of `(1 + c_l t)`, the second up to its norm, and `1 + c t` is proportional to
`(1 - w) + w t` with the weight `w = c / (1 + c)`: so one function multiplies out either, from
numbers between 0 and 1 alone, and neither overflows however many blocks there are.
"""

from __future__ import annotations

import numpy as np

from keras_resnets.paths.policy import sum_of_draws


def by_energy(ratios) -> np.ndarray:
    """Shares of the energy that came by paths of 0 to n residual branches, if branches are uncorrelated.

    Args:
        ratios: of each block, the energy of its residual branch over that of its shortcut; infinite
            for a block without a shortcut.

    Example:
        >>> from keras_resnets.instruments.path_lengths import by_energy
        >>> by_energy([1, 1 / 2, 1 / 3]).round(3)  # as at the start of a training, see the study `dynamics`
        array([0.25 , 0.458, 0.25 , 0.042])
    """
    return sum_of_draws(_share(np.asarray(ratios, float)))


def by_amplitude(ratios) -> np.ndarray:
    """Weights epsilon of the paths of 0 to n residual branches, if those of one length are in phase.

    The epsilon_r of Littwin & Wolf 2016, Theorem 1, for blocks that need not be alike; their r is
    one more than the length here. The squares sum to 1.

    Args:
        ratios: as for `by_energy`.

    Example:
        >>> from keras_resnets.instruments.path_lengths import by_amplitude
        >>> int(by_amplitude([4.0] * 99).argmax()) + 1  # beta 2, 100 layers: two thirds of them
        67
    """
    found = sum_of_draws(_share(np.sqrt(np.asarray(ratios, float))))
    return found / np.linalg.norm(found)


def _share(strengths: np.ndarray) -> np.ndarray:
    """`c / (1 + c)`, to full precision at either end: 0 where c is, 1 where c is infinite."""
    with np.errstate(divide="ignore"):
        return 1 / (1 + 1 / strengths)


def mean(shares: np.ndarray) -> float:
    """The mean length of a distribution over lengths from 0."""
    return float(shares @ np.arange(len(shares)))


def peak(weights: np.ndarray) -> float:
    """The most likely length, the shorter of two; NaN where the weights are."""
    return float(weights.argmax()) if np.isfinite(weights).all() else float("nan")


def complexity(epsilon) -> float:
    """The normalised complexity theta of a mixture: Littwin & Wolf 2016, Eq. 31.

    `theta = log(v'' / v') / 2 - (v'' - v') / (v'' + v')`, with `v' = sum epsilon_r^2 r` and
    `v'' = sum epsilon_r^2 r (r - 1)`. The greater, the more critical points has the loss.

    Args:
        epsilon: weights of the path lengths r from 1 on, each path's layer without a skip counted.

    Example:
        >>> from keras_resnets.instruments.path_lengths import complexity
        >>> round(complexity([0, 0, 1]), 4)  # all paths are of length 3
        0.0132
    """
    r, squares = np.arange(1, len(epsilon) + 1), np.asarray(epsilon, float) ** 2
    first, second = squares @ r, squares @ (r * (r - 1))
    with np.errstate(divide="ignore"):  # of paths of length 1 alone: minus infinity
        return float(np.log(second / first) / 2 - (second - first) / (second + first))
