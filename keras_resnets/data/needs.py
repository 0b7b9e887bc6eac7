"""Data as a network needs them: normalised as its weights were trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_resnets.data.batches import BATCH, batches
from keras_resnets.data.pipelines import Data
from keras_resnets.errors import notice


def as_needed(data: Data, model: keras.Model) -> Data:
    """Returns a set that was loaded by its name, normalised as a network needs it, if that is known.

    No caller has chosen the normalisation, so that `for_network` may choose it again for another network.

    Where its pictures were brought to its size in another way than these, that is told.
    """
    known, own = getattr(model, "preprocessing", None), data.preprocessing
    if "normalize" in data.given:
        data = dataclasses.replace(data, given=data.given - {"normalize"})
    if known is None:
        return data
    if known.resizing and own and own.resizing and data.options["image_size"]:
        theirs, ours = (dataclasses.replace(how, size=None) for how in (known.resizing, own.resizing))
        if theirs != ours:
            notice(
                f"Images of {data.name!r} are resized by {ours}, and {model.name!r} was made for {theirs}, so its "
                f"published accuracy may be another."
            )
    return data if known.same_pixels(own) else rebatched(data, normalize=known)


def for_network(data: Any, model: keras.Model) -> Any:
    """Returns what a caller gives to measure or tune a network on, normalised as the network needs it.

    A set that was loaded with a `normalize` of the caller's, or that passes through a function of theirs, stays as it
    is: where the network needs another normalisation, that is told. So do arrays and `tf.data`, of which nothing is
    known.
    """
    known = getattr(model, "preprocessing", None)
    if not isinstance(data, Data) or data.prepare is not None or known is None or known.same_pixels(data.preprocessing):
        return data
    if "normalize" in data.given:
        notice(
            f"{data.name!r} is loaded with another normalisation than {model.name!r} was made for; load it without "
            f"normalize, and it gets the network's."
        )
        return data
    if not known.fits(data.input_shape[-1]) or known.image_shape not in (None, data.input_shape):
        return data  # of another shape than the network's images, which whoever measures says
    return rebatched(data, normalize=known)


def rebatched(data: Data, **fields: Any) -> Data:
    """Returns data in other batches, as `Data.batched` does, where the fields are no choice of the caller's."""
    return dataclasses.replace(data.batched(**fields), given=data.given)


def batches_for(
    model: keras.Model, data: Any, rows: int = BATCH, *, classes: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields the batches to measure a network on: `batches`, normalised as it needs them, and checked.

    Args:
        model: the network.
        data: as for `batches`.
        rows: the largest number of inputs in an array.
        classes: whether labels must be classes of the network.

    Raises:
        ArgumentError: as `batches`.
    """
    of = model.output_shape[1] if classes else None
    return batches(for_network(data, model), rows, shape=model.input_shape[1:], classes=of)
