"""Loads saved networks and copies weights between networks."""

from __future__ import annotations

import os

import keras
import numpy as np
from keras import ops

from keras_resnets.errors import ArgumentError
from keras_resnets.network import newer
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.trusted import check_file
from keras_resnets.runs.saved import saved_file


def load_model(path: str | os.PathLike, compile: bool = True) -> keras.Model:
    """Loads a saved network.

    Args:
        path: as for `keras_resnets.load_model`.
        compile: whether to compile it as saved, which needs the classes of its optimiser, losses and metrics.

    Raises:
        ArgumentError: there is no such file, it is not a model saved by Keras 3, or it names what a network has no use
            for (`keras_resnets.network.trusted`).
    """
    file = saved_file(path)
    check_file(file)
    try:
        # HDF5 has the name of a class without its package.
        with newer.readable(file) as path:
            return keras.saving.load_model(path, custom_objects={"ResidualNetwork": ResidualNetwork}, compile=compile)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:300].rstrip(".") if str(error).strip() else type(error).__name__
        remedy = "give a .keras file that model.save wrote"
        if newer.is_newer(file):
            remedy = (
                f"Keras {newer.written_by(file)} wrote it, which is newer than the {keras.__version__} that is "
                f"installed: upgrade that"
            )
        raise ArgumentError(f"{str(file)!r} cannot be opened as a Keras 3 model ({reason}); {remedy}.") from error


def take_over(saved: keras.Model, model: ResidualNetwork, where: str | os.PathLike, *, include_top: bool) -> None:
    """Gives a network what another was saved with: weights, preprocessing and, with the top, names of classes.

    Args:
        saved: the network that was saved.
        model: the network that takes over.
        where: as for `copy_weights`.
        include_top: whether the network has a classifier.

    Raises:
        ArgumentError: as for `copy_weights`.
    """
    copy_weights(saved, model, where)
    model.preprocessing = getattr(saved, "preprocessing", None)
    if include_top:
        model.class_names = getattr(saved, "class_names", None)


def copy_weights(source: keras.Model, target: keras.Model, where: str | os.PathLike, *, new_head: bool = False) -> None:
    """Copies variables by path, after checking that the source has all of them in the same shapes.

    The source's head may have variables that the target lacks, so a backbone takes the weights of a classifier.

    Args:
        source: the network to copy from.
        target: the network to copy to.
        where: the source's name in error messages.
        new_head: whether to skip those variables of the target's head that the source lacks or has in another shape.

    Raises:
        ArgumentError: a variable is missing, left over or of another shape; nothing is copied then.
    """
    # Match variables by path; random states, such as those of dropout, are not weights.
    have, want = ({v.path: v for v in m.weights} for m in (source, target))
    if new_head:
        want = {
            path: variable
            for path, variable in want.items()
            if not path.startswith("head/") or tuple(getattr(have.get(path), "shape", ())) == tuple(variable.shape)
        }
    have, want = ({p: v for p, v in m.items() if "seed_generator" not in p} for m in (have, want))

    # Refuse weights of another network before anything is copied.
    start = f"weights: {str(where)!r} is of another network, {source.name!r} and not {target.name!r}:"
    remedy = "Give weights of the same network, or build the network of these weights with the same options."
    for path in sorted(want.keys() - have.keys()):
        raise ArgumentError(f"{start} it lacks {path!r}. {remedy}")
    for path in sorted(have.keys() - want.keys()):
        if not path.startswith("head/"):
            raise ArgumentError(f"{start} it has an extra {path!r}. {remedy}")
    for path, variable in want.items():
        if tuple(have[path].shape) != tuple(variable.shape):
            if path.startswith("head/"):
                remedy = "For other classes than the file's, build the network with include_top=False."
            raise ArgumentError(
                f"{start} its {path!r} has shape {tuple(have[path].shape)}, not {tuple(variable.shape)}. {remedy}"
            )
    for path, variable in want.items():
        assign(variable, have[path])


def assign(variable: keras.Variable, value) -> None:
    """Gives a variable the value of another one, in memory of its own.

    JAX would let both hold one array, which training one of them gives up (`donate_argnums`), and the other is lost.
    """
    variable.assign(np.array(ops.convert_to_numpy(value)))
