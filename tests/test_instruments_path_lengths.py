"""Distributions over path lengths against the sum over all paths, the paper's numbers and known limits."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from keras_resnets.instruments.path_lengths import by_amplitude, by_energy, complexity, mean, peak


@pytest.fixture
def ratios():
    return np.random.default_rng(0).uniform(0.05, 4, 7)


def over_paths(strengths):
    """The sum of the products of strengths over all paths of each length, path by path."""
    found = np.zeros(len(strengths) + 1)
    for taken in itertools.product([False, True], repeat=len(strengths)):
        found[sum(taken)] += np.prod(strengths[list(taken)])
    return found


def test_lengths_equal_the_sum_over_all_paths(ratios):
    energies = over_paths(ratios)
    np.testing.assert_allclose(by_energy(ratios), energies / np.prod(1 + ratios))
    amplitudes = over_paths(np.sqrt(ratios))
    np.testing.assert_allclose(by_amplitude(ratios), amplitudes / np.sqrt((amplitudes**2).sum()))
    assert mean(by_energy(ratios)) == pytest.approx((ratios / (1 + ratios)).sum())
    assert peak(by_energy(ratios)) == energies.argmax()


def test_equal_blocks_are_binomial():
    np.testing.assert_allclose(by_energy([0.25] * 333), binom(333, 0.2).pmf(range(334)), rtol=1e-9, atol=1e-300)


def test_energies_of_a_fresh_network_are_cycles_of_permutations():
    """Ratios 1/l, l = 1 to n: the share of permutations of n + 1 things with k + 1 cycles, counted one by one."""
    counts = np.zeros(5)
    for order in itertools.permutations(range(5)):
        left, cycles = set(range(5)), 0
        while left:
            at, cycles = left.pop(), cycles + 1
            while (at := order[at]) in left:
                left.remove(at)
        counts[cycles - 1] += 1
    np.testing.assert_allclose(by_energy([1, 1 / 2, 1 / 3, 1 / 4]), counts / 120)


# beta, most likely r, largest epsilon: computed for p = 100 from the paper's formula in exact arithmetic.
@pytest.mark.parametrize(("beta", "r", "largest"), [(0.1, 10, 0.439), (0.5, 34, 0.346), (1, 50, 0.334), (2, 67, 0.346)])
def test_weights_of_the_paper(beta, r, largest):
    epsilon = by_amplitude([beta**2] * 99)
    assert (epsilon.argmax() + 1, epsilon.max()) == (r, pytest.approx(largest, abs=5e-4))
    assert (epsilon**2).sum() == pytest.approx(1)


def test_theorems_1_and_2_in_the_limit():
    for beta in (0.1, 0.5, 2):
        limit, off, wide = beta / (1 + beta), [], []
        for p in (50, 200, 800):
            squares = by_amplitude([beta**2] * (p - 1)) ** 2
            r = np.arange(1, p + 1) / p
            off.append(abs(r[squares.argmax()] - limit))
            wide.append(np.sqrt(squares @ (r - squares @ r) ** 2))
        assert off[-1] < 2 / 800
        # Concentrates as one over the root of the depth, and with squares half the binomial's variance.
        np.testing.assert_allclose(wide, np.sqrt(limit * (1 - limit) / 2 / np.array([50, 200, 800])), rtol=0.06)


@pytest.mark.parametrize(("p", "theta"), [(3, 0.0132), (10, 0.2986), (100, 1.3176)])
def test_complexity_of_one_length(p, theta):
    assert complexity(np.eye(p)[-1]) == pytest.approx(theta, abs=5e-5)


def test_complexity_of_a_mixture():
    """Half of lengths 2 and 4 in energy: v' = 3, v'' = 7, and theta = log(7/3)/2 - 4/10."""
    assert complexity(np.sqrt([0, 0.5, 0, 0.5])) == pytest.approx(np.log(7 / 3) / 2 - 0.4)
    assert complexity([1, 0]) == -np.inf


@pytest.mark.parametrize("distribution", [by_energy, by_amplitude])
def test_extreme_strengths(distribution):
    np.testing.assert_allclose(distribution([0, np.inf, 0]), [0, 1, 0, 0])
    tiny = distribution([1e-30, 1e-30])
    assert tiny[1] == pytest.approx(2e-30 if distribution is by_energy else 2e-15)
    for strength in (1e-12, 1.0, 1e12):
        assert np.isfinite(distribution([strength] * 333)).all()
    assert np.isnan(peak(distribution([1.0, np.nan])))
