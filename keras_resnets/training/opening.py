"""`load_model`: opens a saved network, compiled as it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError, notice
from keras_resnets.explaining import explained
from keras_resnets.network import saving
from keras_resnets.network.assembly import assemble
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.runs import LAST, Damaged, Run, sound, verified, whole
from keras_resnets.runs.saved import check_network
from keras_resnets.training import places
from keras_resnets.training.checkpoints import OF_CALLBACK, assign, state_of
from keras_resnets.training.execution import words


@explained
def load_model(path: str | os.PathLike) -> keras.Model:
    """Opens a saved network.

    Args:
        path: a `.keras` file; a run directory, whose `model.keras` is opened, and made again from the last checkpoint
            if that of a finished run is missing or damaged; one that is not finished, whose best network so far is
            opened; or an `.h5` file of a whole network, in which Keras keeps no path policy.

    Returns:
        The model, compiled as it was; of a run that is not finished, not compiled.

    Raises:
        ArgumentError: there is no such file, or it is not a model saved by Keras 3.

    Example:
        >>> import keras_resnets as kr, tempfile, os
        >>> file = os.path.join(tempfile.mkdtemp(), "net.keras")
        >>> kr.build("resnet20").save(file)
        >>> kr.load_model(file).name
        'resnet20'
    """
    run = Run(path, {})
    model = _opened(path, run)
    if run.path.is_dir() and isinstance(model, ResidualNetwork):
        model.provenance = _provenance(run.record or {})
    return model


def _provenance(record: dict[str, Any]) -> dict[str, Any] | None:
    """Returns how the network of a run was trained, as its record has it; None if there is none."""
    asked, results = record.get("asked") or {}, record.get("results") or {}
    if not isinstance(asked.get("recipe"), dict):
        return None
    return {
        "recipe": asked["recipe"].get("name"),
        "epochs": results.get("epochs"),
        "seed": asked.get("seed"),
        "data": (asked.get("data") or {}).get("name"),
        "execution": words(record.get("execution") or []),
    }


def _opened(path: str | os.PathLike, run: Run) -> keras.Model:
    """Opens a network as `load_model` does."""
    check_network(path)
    file = run.path / "model.keras"
    if run.path.is_dir():
        tell_divergence(run.path, ((run.record or {}).get("results") or {}).get("diverged"))
    if run.path.is_dir() and not file.exists() and run.has_checkpoint and not run.finished:
        return _so_far(run)
    if not run.path.is_dir() or sound(file) or not (run.has_checkpoint and run.finished):
        return saving.load_model(path)

    # The network of the last epoch: that of the best one, with the last checkpoint's weights.
    try:
        model = saving.load_model(verified(run.path / "best.keras"))
        results = (run.record or {})["results"]
        is_best = results.get("network_of") == "best_epoch"
        values, state = run.restore(LAST) or ({}, {})
        if not is_best and any(name.startswith(OF_CALLBACK) for name in values):
            raise ArgumentError("A callback may have changed the weights at the end.")
        if state.get("epoch") != results.get("epochs"):
            raise ArgumentError("The checkpoint is not of the last epoch.")
    except ArgumentError as error:
        raise ArgumentError(
            f"{str(file)!r} is missing or damaged, and cannot be made again from the checkpoint alone ({error}) The "
            f"command that trained it makes it again."
        ) from None
    if not is_best:
        assign(model, values)
    with whole(file, sealed=True) as part:
        model.save(part)
    notice(f"{str(file)!r} was missing or damaged, and was made again from the last checkpoint.")
    return model


def _so_far(run: Run) -> ResidualNetwork:
    """Returns the best network so far of a run that is not finished, made again from its settings and checkpoint.

    Raises:
        ArgumentError: the run trains a network that was given to it.
        Damaged: no checkpoint can be read.
    """
    record = run.record or {}
    asked = record["asked"]
    if "spec" not in asked:
        raise ArgumentError(
            f"The run in {str(run.path)!r} is not finished, and trains a network that was given to it, of which the "
            f"directory has no copy. The command that started it finishes it."
        )
    precision = keras.config.dtype_policy()
    keras.config.set_dtype_policy(asked.get("dtype", "float32"))
    try:
        model = assemble(Spec.from_dict(asked["spec"]))
    finally:
        keras.config.set_dtype_policy(precision)
    model.class_names, model.preprocessing = places.carried(record)

    # The weights, and the scales that a policy of paths had given the blocks by then.
    try:
        values, state = run.restore("best") or run.restore(LAST) or ({}, {})
    except Damaged:
        values, state = run.restore(LAST) or ({}, {})
    own = state_of(model)
    if not own.keys() <= values.keys():
        raise ArgumentError(
            f"The checkpoint in {str(run.path)!r} does not fit the network of its settings; it was written by another "
            f"version. The command that started the run says more."
        )
    assign(model, {name: values[name] for name in own})
    if asked.get("paths"):
        policy = keras.saving.deserialize_keras_object(asked["paths"])
        step = next((int(array) for name, array in values.items() if name.endswith("/iteration")), 0)
        for block, scale in zip(model.blocks, policy.scales(len(model.blocks), step), strict=True):
            block.scale = float(scale)
    total = asked.get("recipe", {}).get("epochs")
    notice(
        f"The run in {str(run.path)!r} is not finished: this is its best network so far, of epoch {state['epoch']}"
        + (f" of {total}." if total else ".")
    )
    return model


def tell_divergence(run: Path, diverged: dict[str, Any] | None) -> None:
    """Tells that the training of a run diverged, if it did: `Checkpoint.divergence`."""
    if diverged:
        before, epoch = diverged.get("last_loss"), diverged["epoch"]
        last = "it never was" if before is None else f"the last that was is {before:.4g}, of epoch {epoch - 1}"
        notice(
            f"The training in {str(run)!r} diverged: from epoch {epoch} on its loss is not finite ({last}). Lower the "
            f"learning rate."
        )
