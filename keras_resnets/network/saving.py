"""Saved networks, opened, and their weights handed on."""

from __future__ import annotations

import os
from pathlib import Path

import keras

from keras_resnets.errors import ArgumentError
from keras_resnets.network.trusted import check_file


def load_model(path: str | os.PathLike, compile: bool = True) -> keras.Model:
    """Opens a saved network, whose classes must be registered: `keras_resnets.load_model` sees to that.

    Args:
        path: as for `keras_resnets.load_model`.
        compile: whether to compile it as it was, which needs the classes of its optimiser, losses and metrics.

    Raises:
        ArgumentError: there is no such file, it is not a model saved by Keras 3, or it names what a network has no use
            for (`keras_resnets.network.trusted`).
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.keras"
    if not file.is_file():
        raise ArgumentError(
            f"There is no saved network at {str(path)!r}; give a .keras file or a finished run directory."
        )
    check_file(file)
    try:
        return keras.saving.load_model(file, compile=compile)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:300].rstrip(".") if str(error).strip() else type(error).__name__
        raise ArgumentError(
            f"{str(file)!r} cannot be opened as a Keras 3 model ({reason}); give a .keras file that model.save wrote."
        ) from error


def copy_weights(source: keras.Model, target: keras.Model, where: str | os.PathLike, *, new_head: bool = False) -> None:
    """Copies variable by variable, matched by path, after checking that all are there and fit.

    What only the source's head has may be left over: a classifier's weights fill its backbone.

    Args:
        source: where from.
        target: where to.
        where: what a message calls the source.
        new_head: whether what the head of the target has and the source lacks, or has in another shape, stays as it is.

    Raises:
        ArgumentError: a variable is missing, left over or of another shape; nothing is copied then.
    """
    have, want = ({v.path: v for v in m.weights} for m in (source, target))
    if new_head:
        want = {
            path: variable
            for path, variable in want.items()
            if not path.startswith("head/") or tuple(getattr(have.get(path), "shape", ())) == tuple(variable.shape)
        }
    # Random states, such as of dropout, are no weights.
    have, want = ({p: v for p, v in m.items() if "seed_generator" not in p} for m in (have, want))
    start = f"weights: {str(where)!r} is of another network, {source.name!r} and not {target.name!r}:"
    remedy = "Give weights of the same network, or build the one that these are of with the same options."
    for path in sorted(want.keys() - have.keys()):
        raise ArgumentError(f"{start} it lacks {path!r}. {remedy}")
    for path in sorted(have.keys() - want.keys()):
        if not path.startswith("head/"):
            raise ArgumentError(f"{start} it has an extra {path!r}. {remedy}")
    for path, variable in want.items():
        if tuple(have[path].shape) != tuple(variable.shape):
            raise ArgumentError(
                f"{start} its {path!r} has shape {tuple(have[path].shape)}, not {tuple(variable.shape)}. {remedy}"
            )
    for path, variable in want.items():
        variable.assign(have[path])
