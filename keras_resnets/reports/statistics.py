"""Statistics of results: paired differences by seed and by example, intervals of errors, Kendall's tau."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_resnets.errors import ArgumentError
from keras_resnets.showing import counted

# The most pairs: all 2 to the power of this many choices of signs are enumerated.
MOST = 16


def paired(differences: Sequence[float]) -> dict[str, Any]:
    """Tests whether paired differences are more than chance, by Student's t and by exchanging signs.

    If the compared setting has no effect, the difference of a pair is as likely as its negative. So
    all 2^k choices of signs of k differences are equally likely, and the share of those whose mean is
    at least as far from 0 as observed is an exact p-value for any distribution (Fisher 1935, The Design
    of Experiments, section 21). It is a multiple of 1 / 2^(k - 1), so five pairs cannot give less than
    0.0625. The interval and the other p-value are Student's, which assumes that the differences are
    normally distributed over seeds. Errors are counts, and a few differences of small counts may all be
    equal: then there is no variance to infer from, and no `p_t`.

    Args:
        differences: one for each pair, 2 to 16 of them.

    Returns:
        `pairs`, `mean`, `sd` (standard deviation, over k - 1), `low` and `high` (95 % t interval of
        the mean), `p_t` or None, `p_signs` and `least_p_signs`, the smallest possible for this many pairs.

    Raises:
        ArgumentError: there are too few or too many differences.

    Example:
        >>> from keras_resnets.reports.statistics import paired
        >>> test = paired([0.01, 0.02, 0.03])
        >>> test["p_signs"], round(test["low"], 4), round(test["high"], 4)
        (0.25, -0.0048, 0.0448)
    """
    from scipy.stats import permutation_test, ttest_1samp

    d = np.asarray(differences, "float64")
    if not 2 <= len(d) <= MOST:
        raise ArgumentError(f"differences must be 2 to {MOST} numbers, one for each pair; got {len(d)}.")

    # Student's t, unless all differences are equal up to rounding.
    mean, half = d.mean(), interval(d)
    low, high, p_t = mean - half, mean + half, None
    if np.ptp(d) > 1e-9 * np.abs(d).max():
        test = ttest_1samp(d, 0)
        (low, high), p_t = test.confidence_interval(0.95), float(test.pvalue)

    # All choices of signs. scipy's own p-value would distinguish sums that differ only by rounding.
    signs = permutation_test((d,), np.sum, permutation_type="samples", n_resamples=2 ** len(d), vectorized=True)
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
    """Returns half the width of the 95 % t interval of a mean over trainings with different seeds."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)


def verdict(test: dict[str, Any]) -> str:
    """Returns the result of `paired` for errors as a sentence."""
    mean, pairs = f"{100 * test['mean']:+.2f} points", counted(test["pairs"], "seed")
    if test["p_t"] is None:
        return f"{mean} with each of {pairs}: alike, which leaves no spread to judge it by"
    numbers = (
        f"{mean} (95 % interval {100 * test['low']:+.2f} to {100 * test['high']:+.2f}, {pairs}; "
        f"p {test['p_t']:.2g} by paired t, {test['p_signs']:.2g} by signs)"
    )
    if test["low"] > 0 or test["high"] < 0:
        return f"{numbers}: significantly {'higher' if test['mean'] > 0 else 'lower'}"
    return f"{numbers}: no significant difference; what lies in the interval is left open"


def spread(measures) -> dict[str, float]:
    """Returns the extremes and quartiles of a column, for a summary."""
    return {name: float(value) for name, value in measures.describe()[["min", "25%", "50%", "75%", "max"]].items()}


def wilson(error: float, count: int) -> tuple[float, float]:
    """Returns the 95 % Wilson interval of an error measured over `count` examples."""
    from scipy.stats import binomtest

    interval = binomtest(round(error * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Compares the answers of two networks to the same examples, by McNemar's exact test.

    Only examples that one of the two has right tell them apart. If neither is better, each of these is as likely the
    first's as the second's, so the first's are binomial with 1/2 (McNemar 1947). The interval of the difference of the
    accuracies is Tango's (1998, Statistics in Medicine 17:891), which inverts the score test of that difference; it
    holds its level with few examples, and with no difference at all, where that of the normal distribution has width 0.

    Args:
        first: whether each of the first network's answers is right.
        second: the same of the second, for the same examples.

    Returns:
        `examples`, `first_only` and `second_only` (right by that network alone), `difference` (first less second) with
        its 95 % interval `low`, `high`, and `p`, two-sided.

    Raises:
        ArgumentError: the arrays are not as long as each other, or empty.

    Example:
        >>> import numpy as np
        >>> from keras_resnets.reports.statistics import mcnemar
        >>> test = mcnemar(np.array([True] * 8 + [False] * 2), np.array([True] * 3 + [False] * 7))
        >>> test["first_only"], test["second_only"], test["p"]
        (5, 0, 0.0625)
    """
    from scipy.stats import binomtest

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or not first.size:
        raise ArgumentError(
            f"first and second must be of the same examples, at least one; got {first.size} and {second.size}."
        )
    ours, theirs, count = int((first & ~second).sum()), int((second & ~first).sum()), first.size
    low, high = _tango(ours, theirs, count)
    return {
        "examples": count,
        "first_only": ours,
        "second_only": theirs,
        "difference": (ours - theirs) / count,
        "low": low,
        "high": high,
        "p": float(binomtest(ours, ours + theirs).pvalue) if ours + theirs else 1.0,
    }


def _tango(ours: int, theirs: int, count: int) -> tuple[float, float]:
    """Returns Tango's 95 % score interval of a difference of paired proportions, (ours - theirs) / count."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    def distance(difference: float) -> float:
        """Standard errors from the difference that was found, with the likeliest proportions that have this one."""
        b = -ours - theirs + (2 * count - ours + theirs) * difference
        c = -theirs * difference * (1 - difference)
        of_theirs = (np.sqrt(max(b**2 - 8 * count * c, 0)) - b) / (4 * count)
        variance = count * (2 * of_theirs + difference * (1 - difference))
        gap = ours - theirs - count * difference
        return gap / np.sqrt(variance) if variance > 0 else np.copysign(np.inf, gap) if gap else 0.0

    z, found, end = norm.ppf(0.975), (ours - theirs) / count, 1 - 1e-9

    def bound(sign: int) -> float:
        outer = sign * end
        if sign * found >= end or abs(distance(outer)) < z:
            return float(sign)
        return float(brentq(lambda d: distance(d) + sign * z, found, outer, xtol=1e-10))

    return bound(-1), bound(1)


def holm(values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for their number by Holm (1979), so that one in twenty families has a false finding.

    Example:
        >>> from keras_resnets.reports.statistics import holm
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(values, kind="stable")
    steps = [min(1.0, (len(values) - i) * values[place]) for i, place in enumerate(order)]
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(steps)
    return [float(value) for value in adjusted]


def tau(order: Sequence[float]) -> float:
    """Returns Kendall's tau between an order, or a series, and the ascending order."""
    from scipy.stats import kendalltau

    return float(kendalltau(range(len(order)), order).statistic)
