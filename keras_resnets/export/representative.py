"""Representative inputs, which calibrate the ranges of 8-bit quantization."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_resnets.errors import ArgumentError

# The number of inputs to draw by default.
EXAMPLES = 200


def inputs(
    shape: Sequence[int | None],
    given: Sequence[np.ndarray] | np.ndarray | None,
    data,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> Sequence[np.ndarray] | np.ndarray:
    """Returns real inputs, without the batch axis: those given, or a random sample of the training split.

    Args:
        shape: the shape of an input, with None for sides that may vary.
        given: inputs, or None.
        data: the data to draw from, if `keras_resnets.data.load` returned it.
        examples: how many to draw.
        seed: of the draw.

    Raises:
        ArgumentError: there are no inputs, or one has another shape.
    """
    if given is None and hasattr(data, "sample"):
        return data.sample(examples, seed)
    if given is None or len(given) == 0:
        raise ArgumentError(
            "representative: 8-bit quantization takes its ranges from real inputs; give some, or data from "
            "keras_resnets.data.load, whose training split is sampled."
        )
    for x in given:
        fits = np.ndim(x) == len(shape) and all(
            want in (None, have) for want, have in zip(shape, np.shape(x), strict=True)
        )
        if not fits:
            raise ArgumentError(
                f"representative must hold inputs of {tuple(shape)}, without a batch axis; got one of {np.shape(x)}."
            )
    return given
