"""Probabilities and labels of pixels, made up."""

import numpy as np


def some_probabilities(*shape):
    scores = np.exp(np.random.default_rng(1).normal(size=shape))
    return (scores / scores.sum(-1, keepdims=True)).astype("float32")


def some_labels(*shape, classes=5, seed=2):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.2, 255, rng.integers(0, classes, shape))
