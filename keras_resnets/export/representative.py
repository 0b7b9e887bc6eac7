"""Representative inputs, which calibrate the ranges of 8-bit quantization."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_resnets.data.batches import fits
from keras_resnets.errors import ArgumentError

Representative = Iterable | Callable[[], Iterable] | None

# The number of inputs to draw by default, and the largest number to take of a generator or of `tf.data`.
EXAMPLES = 200


def inputs(
    shape: Sequence[int | None],
    given: Representative,
    data,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> Sequence[np.ndarray] | np.ndarray:
    """Returns real inputs, without the batch axis: those given, or a random sample of the training split.

    Args:
        shape: the shape of an input, with None for sides that may vary.
        given: inputs as an array or a list; what TensorFlow Lite takes, a function that returns a generator of lists of
            one batch; a generator; `tf.data` of inputs, with labels or without, batched or not; what
            `keras_resnets.data.load` gives, whose training split is sampled; or None.
        data: the data to draw from, if `keras_resnets.data.load` returned it and none are given.
        examples: how many to draw, or to take of a generator or of `tf.data`.
        seed: of the draw.

    Raises:
        ArgumentError: there are no inputs, or one has another shape.
    """
    if given is None or hasattr(given, "sample"):
        data = data if given is None else given
        if hasattr(data, "sample"):
            return data.sample(examples, seed)
        found: Sequence[np.ndarray] | np.ndarray = ()
    elif isinstance(given, np.ndarray | list | tuple) and not _batches_in_lists(given):
        found = given
    else:
        found = _taken(given, shape, examples)
    if len(found) == 0:
        raise ArgumentError(
            "representative: 8-bit quantization takes its ranges from real inputs; give some, or data from "
            "keras_resnets.data.load, whose training split is sampled."
        )
    for x in found:
        if not fits(np.shape(x), shape):
            raise ArgumentError(
                f"representative must hold inputs of {tuple(shape)}, without a batch axis; got one of {np.shape(x)}."
            )
    return found


def _batches_in_lists(given) -> bool:
    """Returns whether a list holds what a generator for TensorFlow Lite yields: lists of one batch."""
    return isinstance(given, list | tuple) and len(given) > 0 and isinstance(given[0], list | tuple)


def _taken(given: Any, shape: Sequence[int | None], examples: int) -> list[np.ndarray]:
    """Returns up to `examples` single inputs of a generator, of a function that returns one, or of `tf.data`."""
    if hasattr(given, "as_numpy_iterator"):
        given = given.as_numpy_iterator()
    elif callable(given):
        given = given()
    if not isinstance(given, Iterable):
        raise ArgumentError(
            f"representative must be inputs, a generator of them, tf.data, or data from keras_resnets.data.load; got "
            f"{type(given).__name__}."
        )
    return list(itertools.islice(itertools.chain.from_iterable(_singles(part, shape) for part in given), examples))


def _singles(part: Any, shape: Sequence[int | None]) -> Iterable[np.ndarray]:
    """Returns the single inputs of what a generator yields: an input or a batch, also with labels or in a list."""
    if isinstance(part, dict):
        raise ArgumentError(
            f"representative must yield inputs alone or with labels; got a dictionary of {', '.join(map(repr, part))}."
        )
    x = np.asarray(part[0] if isinstance(part, list | tuple) else part)
    return x if fits(np.shape(x)[1:], shape) and not fits(np.shape(x), shape) else [x]
