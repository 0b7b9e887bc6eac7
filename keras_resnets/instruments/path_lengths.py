"""Predicts which path lengths matter from the energies of the residual branches.

A path goes through a network of `n` blocks and takes the residual branch of some of them: its
length is their number. Let `rho_l` be the ratio of the energy of block `l`'s residual branch to
that of its shortcut. Two assumptions lead to two distributions over lengths:

- *The branches of a block are uncorrelated.* Then energies add: the share `q_l = rho_l / (1 + rho_l)`
  of a block's output comes through the residual branch. If a branch passes on the parts of its
  input in proportion to their energies, paths of length k contribute `e_k(rho) / prod(1 + rho_l)`
  of the network's output, with the elementary symmetric polynomial `e_k`: the probability of k
  heads in throws of n coins that show heads with probability `q_l`.
- *Paths of one length are copies in phase*, as in the loss of Littwin & Wolf 2016. Then amplitudes
  `beta_l = sqrt(rho_l)` add, and a length has the weight `epsilon_k = e_k(beta) / z`, with the sum
  of squares 1. Equal blocks give theirs, `C(p-1, r-1) beta^r / z`, for r = k + 1: the first of
  their p layers (Eq. 7) has no skip, so every path takes it.

Both are products of `(1 + c_l t)`, the second up to its norm, and `1 + c t` is proportional to
`(1 - w) + w t` with the weight `w = c / (1 + c)`. So one function expands both, uses only numbers
between 0 and 1, and does not overflow for any number of blocks.
"""

from __future__ import annotations

import numpy as np

from keras_resnets.paths.policy import sum_of_draws


def by_energy(ratios) -> np.ndarray:
    """Returns the shares of energy from paths of 0 to n residual branches, if branches are uncorrelated.

    Args:
        ratios: for each block, the energy of its residual branch over that of its shortcut; infinite
            for a block without a shortcut.

    Example:
        >>> from keras_resnets.instruments.path_lengths import by_energy
        >>> by_energy([1, 1 / 2, 1 / 3]).round(3)  # as at the start of training, see the study `dynamics`
        array([0.25 , 0.458, 0.25 , 0.042])
    """
    return sum_of_draws(_share(np.asarray(ratios, float)))


def by_amplitude(ratios) -> np.ndarray:
    """Returns the weights epsilon of the paths of 0 to n residual branches, if those of one length are in phase.

    The epsilon_r of Littwin & Wolf 2016, Theorem 1, generalised to unequal blocks; their r is one
    more than the length here. The squares sum to 1.

    Args:
        ratios: as for `by_energy`.

    Example:
        >>> from keras_resnets.instruments.path_lengths import by_amplitude
        >>> int(by_amplitude([4.0] * 99).argmax()) + 1  # beta 2, 100 layers: two thirds of them
        67
    """
    weights = sum_of_draws(_share(np.sqrt(np.asarray(ratios, float))))
    return weights / np.linalg.norm(weights)


def _share(strengths: np.ndarray) -> np.ndarray:
    """Returns `c / (1 + c)` to full precision at both ends: 0 for c = 0, 1 for infinite c."""
    with np.errstate(divide="ignore"):
        return 1 / (1 + 1 / strengths)


def mean(shares: np.ndarray) -> float:
    """Returns the mean length of a distribution over lengths from 0."""
    return float(shares @ np.arange(len(shares)))


def peak(weights: np.ndarray) -> float:
    """Returns the length with the largest weight, the shorter of equals; NaN if a weight is not finite."""
    return float(weights.argmax()) if np.isfinite(weights).all() else float("nan")


def complexity(epsilon) -> float:
    """Returns the normalised complexity theta of a mixture: Littwin & Wolf 2016, Eq. 31.

    `theta = log(v'' / v') / 2 - (v'' - v') / (v'' + v')`, with `v' = sum epsilon_r^2 r` and
    `v'' = sum epsilon_r^2 r (r - 1)`. The loss has more critical points for a greater theta.

    Args:
        epsilon: weights of the path lengths r from 1 on, which count the layer without a skip.

    Example:
        >>> from keras_resnets.instruments.path_lengths import complexity
        >>> round(complexity([0, 0, 1]), 4)  # all paths are of length 3
        0.0132
    """
    r, squares = np.arange(1, len(epsilon) + 1), np.asarray(epsilon, float) ** 2
    first, second = squares @ r, squares @ (r * (r - 1))
    with np.errstate(divide="ignore"):  # minus infinity if all paths have length 1
        return float(np.log(second / first) / 2 - (second - first) / (second + first))
