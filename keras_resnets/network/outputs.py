"""What a network's outputs are."""

from __future__ import annotations

import numpy as np


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether a classifier's outputs, (..., classes), are probabilities and not logits."""
    return bool((scores >= 0).all() and np.allclose(scores.sum(-1), 1, atol=1e-3))
