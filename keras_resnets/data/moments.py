"""Mean and standard deviation of more values than fit in memory."""

from __future__ import annotations

import numpy as np


class Moments:
    """Mean and standard deviation, per channel and overall, of values that arrive in batches.

    Batches are merged by their means and sums of squared deviations. Unlike sums of squares, this
    loses no digits if the mean is far from zero (Chan, Golub and LeVeque 1983).
    """

    def __init__(self):
        self.count, self.mean, self.squares = 0, np.zeros(()), np.zeros(())

    def add(self, values: np.ndarray) -> None:
        """Adds values of shape (anything, channels)."""
        mean = values.mean(0)
        self.merge(len(values), mean, ((values - mean) ** 2).sum(0))

    def merge(self, count: int, mean: np.ndarray, squares: np.ndarray) -> None:
        """Adds `count` values with a known mean and a known sum of squared deviations from it."""
        total, difference = self.count + count, mean - self.mean
        self.squares = self.squares + squares + difference**2 * (self.count * count / total)
        self.mean = self.mean + difference * (count / total)
        self.count = total

    @property
    def deviations(self) -> np.ndarray:
        """The standard deviation of each channel."""
        return np.sqrt(self.squares / self.count)

    @property
    def deviation(self) -> float:
        """The standard deviation of all values; channels are equally large, so variances within and between add up."""
        return float(np.sqrt((self.squares / self.count).mean() + self.mean.var()))
