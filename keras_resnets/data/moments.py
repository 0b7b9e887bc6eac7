"""Mean and standard deviation of more values than memory holds."""

from __future__ import annotations

import numpy as np


class Moments:
    """Mean and standard deviation, by channel and of all, of values that come in batches.

    Batches are merged by their means and their sums of squared distances from them, which loses no
    digits where the mean is far from zero, as sums of squares would (Chan, Golub and LeVeque 1983).
    """

    def __init__(self):
        self.count, self.mean, self.squares = 0, np.zeros(()), np.zeros(())

    def add(self, values: np.ndarray) -> None:
        """Takes in values of (anything, channels)."""
        mean = values.mean(0)
        self.merge(len(values), mean, ((values - mean) ** 2).sum(0))

    def merge(self, count: int, mean: np.ndarray, squares: np.ndarray) -> None:
        """Takes in so many values of which the mean and the sum of squared distances from it are known."""
        total, apart = self.count + count, mean - self.mean
        self.squares = self.squares + squares + apart**2 * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    @property
    def deviations(self) -> np.ndarray:
        """The standard deviation of each channel."""
        return np.sqrt(self.squares / self.count)

    @property
    def deviation(self) -> float:
        """That of all values: channels are equally many values, so their variances and that of their means add."""
        return float(np.sqrt((self.squares / self.count).mean() + self.mean.var()))
