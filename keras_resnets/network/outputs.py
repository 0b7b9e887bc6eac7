"""Whether a network returns probabilities or logits."""

from __future__ import annotations

import numpy as np


def are_probabilities(scores: np.ndarray) -> bool:
    """Returns whether a classifier's outputs, of shape (..., classes), are probabilities rather than logits."""
    return bool((scores >= 0).all() and np.allclose(scores.sum(-1), 1, atol=1e-3))
