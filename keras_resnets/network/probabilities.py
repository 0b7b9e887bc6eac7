"""Outputs of a classifier as probabilities, without Keras: a file of an export is read where nothing else needs it."""

from __future__ import annotations

import numpy as np

from keras_resnets.errors import ArgumentError


def are_probabilities(scores: np.ndarray) -> bool:
    """Returns whether a classifier's outputs, of shape (..., classes), are probabilities rather than logits."""
    return bool((scores >= 0).all() and np.allclose(scores.sum(-1), 1, atol=1e-3))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities of logits of shape (..., classes), in their precision."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def class_probabilities(scores: np.ndarray, end: str | None, classes: int | None = None) -> np.ndarray:
    """Returns a classifier's outputs as the probability of each class.

    Args:
        scores: outputs of shape (examples, outputs).
        end: the activation at the network's end, as `activation_at_end` names it: of `"softmax"` they are
            probabilities; of `"linear"` they are logits; of `"sigmoid"` one output is the probability of the second of
            two classes, and several are those of independent labels. None, not known, tells logits by their values.
        classes: the number of class names, if there are any. One logit is taken for that of the second of two classes
            only if there are two names, since it may as well be a number that a network estimates.

    Raises:
        ArgumentError: the outputs are no scores of classes.

    Example:
        >>> import numpy as np
        >>> from keras_resnets.network.probabilities import class_probabilities
        >>> class_probabilities(np.array([[0.25]]), "sigmoid").tolist()
        [[0.75, 0.25]]
    """
    scores = np.asarray(scores, "float64")
    if scores.ndim != 2:
        raise ArgumentError(
            f"the network must end in one row of class scores per picture; got outputs of shape {scores.shape}. For a "
            f"class of each pixel take keras_resnets.segmentation.predict."
        )
    if end is None:
        end = "softmax" if are_probabilities(scores) else "linear"
    if scores.shape[1] == 1 and end == "linear" and classes == 2:
        scores, end = 1 / (1 + np.exp(-np.clip(scores, -700, 700))), "sigmoid"
    if end == "sigmoid":
        return np.concatenate([1 - scores, scores], 1) if scores.shape[1] == 1 else scores
    if end not in ("softmax", "linear") or scores.shape[1] == 1:
        raise ArgumentError(
            f"the network must end in a softmax, a sigmoid or logits of at least 2 classes; it ends in {end} with "
            f"{scores.shape[1]} output{'s' * (scores.shape[1] > 1)}. One logit of two classes needs the names of both."
        )
    return scores if end == "softmax" else softmax(scores)
