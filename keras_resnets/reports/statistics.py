"""Differences between two ways of training, paired by seed: their mean, its interval, two tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_resnets.errors import ArgumentError

# Signs are counted out, 2 to the power of the pairs of them.
MOST = 16


def paired(differences: Sequence[float]) -> dict[str, Any]:
    """Tells whether differences are more than chance, by Student's t and by exchanging signs.

    With two trainings of a pair alike in all but what is compared, their difference is as likely
    as its negative. So each of the 2^k choices of signs of k differences is as likely as that found,
    and the share of those whose mean is at least as far from 0 is an exact p-value, whatever
    the distribution (Fisher 1935, The Design of Experiments, section 21). It is a multiple of
    1 / 2^(k - 1), so five pairs cannot give less than 0.0625. The interval, and the other p-value, are
    Student's, which assumes differences that are normally distributed over seeds. Errors are counts, and a few
    differences of small counts may be all alike: then there is no spread to infer from, and no `p_t`.

    Args:
        differences: one a pair, 2 to 16 of them.

    Returns:
        `pairs`, `mean`, `sd` (standard deviation, over k - 1), `low` and `high` (95 % t interval of
        the mean), `p_t` or None, `p_signs` and `least_p_signs`, the least that so many pairs can give.

    Raises:
        ArgumentError: there are too few or too many.

    Example:
        >>> from keras_resnets.reports.statistics import paired
        >>> found = paired([0.01, 0.02, 0.03])
        >>> found["p_signs"], round(found["low"], 4), round(found["high"], 4)
        (0.25, -0.0048, 0.0448)
    """
    from scipy.stats import permutation_test, ttest_1samp

    d = np.asarray(differences, "float64")
    if not 2 <= len(d) <= MOST:
        raise ArgumentError(f"differences must be 2 to {MOST} numbers, one a pair; got {len(d)}.")
    mean, half = d.mean(), interval(d)
    low, high, p_t = mean - half, mean + half, None
    # What is equal on paper differs by rounding.
    if np.ptp(d) > 1e-9 * np.abs(d).max():
        test = ttest_1samp(d, 0)
        (low, high), p_t = test.confidence_interval(0.95), float(test.pvalue)
    signs = permutation_test((d,), np.sum, permutation_type="samples", n_resamples=2 ** len(d), vectorized=True)
    # Not its own p-value, which takes sums for different that are equal on paper.
    as_far = np.abs(signs.null_distribution) >= abs(signs.statistic) - 1e-9 * np.abs(d).sum()
    return {
        "pairs": len(d),
        "mean": float(mean),
        "sd": float(d.std(ddof=1)),
        "low": float(low),
        "high": float(high),
        "p_t": p_t,
        "p_signs": float(as_far.mean()),
        "least_p_signs": 2.0 ** (1 - len(d)),
    }


def interval(values: Sequence[float] | np.ndarray) -> float:
    """Half the width of the 95 % t interval of a mean, over trainings with different seeds."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)


def verdict(found: dict[str, Any]) -> str:
    """What such differences of errors show, in a sentence that claims no more than they do."""
    mean, pairs = f"{100 * found['mean']:+.2f} points", f"{found['pairs']} seeds"
    if found["p_t"] is None:
        return f"{mean} with each of {pairs}: alike, which leaves no spread to judge it by"
    shown = (
        f"{mean} (95 % interval {100 * found['low']:+.2f} to {100 * found['high']:+.2f}, {pairs}; "
        f"p {found['p_t']:.2g} by paired t, {found['p_signs']:.2g} by signs)"
    )
    if found["low"] > 0 or found["high"] < 0:
        return f"{shown}: significantly {'higher' if found['mean'] > 0 else 'lower'}"
    return f"{shown}: no significant difference; what lies in the interval is left open"


def spread(measures) -> dict[str, float]:
    """Extremes and quartiles of a column, for a summary."""
    return {name: float(value) for name, value in measures.describe()[["min", "25%", "50%", "75%", "max"]].items()}


def wilson(error: float, count: int) -> tuple[float, float]:
    """The 95 % interval of an error measured over so many examples."""
    from scipy.stats import binomtest

    interval = binomtest(round(error * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def tau(order: Sequence[float]) -> float:
    """Kendall's tau between an order, or a series, and the rising one."""
    from scipy.stats import kendalltau

    return float(kendalltau(range(len(order)), order).statistic)
