"""The inputs that ranges for 8 bits are taken from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_resnets.errors import ArgumentError

# How many are drawn.
EXAMPLES = 200


def inputs(
    shape: Sequence[int | None],
    given: Sequence[np.ndarray] | np.ndarray | None,
    data,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> Sequence[np.ndarray] | np.ndarray:
    """Returns real inputs, without the batch: those given, or some of the training split, drawn.

    Args:
        shape: of an input, None for what may differ.
        given: inputs, or None.
        data: where they are drawn from, where it is what `keras_resnets.data.load` gives.
        examples: how many to draw.
        seed: of the draw.

    Raises:
        ArgumentError: there are none, or one is of another shape.
    """
    if given is None and hasattr(data, "sample"):
        return data.sample(examples, seed)
    if given is None or len(given) == 0:
        raise ArgumentError(
            "representative: the ranges of what 8 bits are to hold are taken from real inputs; give some, or data that "
            "keras_resnets.data.load gives, whose training split is drawn from."
        )
    for x in given:
        fits = np.ndim(x) == len(shape) and all(
            want in (None, have) for want, have in zip(shape, np.shape(x), strict=True)
        )
        if not fits:
            raise ArgumentError(
                f"representative must hold inputs of {tuple(shape)}, without a batch; got one of {np.shape(x)}."
            )
    return given
