"""What a training starts from when it is given weights: a network with those weights, and a head that fits the data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_resnets import segmentation
from keras_resnets.architecture import variants
from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.spec import Spec
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, listed, notice
from keras_resnets.models.building import build
from keras_resnets.network.assembly import assemble
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.saving import copy_weights
from keras_resnets.runs import Run, fingerprint


@dataclass(frozen=True)
class Start:
    """A network that a training starts from.

    Attributes:
        model: the network, with the input and the classes of the data.
        preprocessing: what its weights need; None if they do not say.
        asked: what a run directory compares: the weights' name, their fingerprint, and whose head it is.
        said: what there is to tell.
    """

    model: ResidualNetwork
    preprocessing: Preprocessing | None
    asked: dict[str, Any]
    said: str


def start(
    network: str | Spec,
    weights: str | os.PathLike,
    data: Data,
    overrides: dict[str, Any],
    *,
    seed: int,
    out: str | os.PathLike,
    new_head: bool | None = None,
) -> Start:
    """Makes the network of a training from existing weights.

    Args:
        network: as for `keras_resnets.train`.
        weights: as for `keras_resnets.build`.
        data: the data, which decide the input's shape and the classes.
        overrides: fields of `Spec` to replace.
        seed: seed of a new head.
        out: the run directory. A run that was begun with weights of this name goes on without them.
        new_head: as for `keras_resnets.train`.

    Raises:
        ArgumentError: the weights cannot be opened, or do not fit.
    """
    name = os.fspath(weights)
    name = name if isinstance(name, str) else os.fsdecode(name)
    try:
        return _opened(network, weights, name, data, overrides, seed, new_head)
    except (ArgumentError, OSError) as error:
        run = Run(out, {}) if Path(out).is_dir() else None
        asked = ((run and run.record) or {}).get("asked", {})
        if run is None or not run.has_checkpoint or (asked.get("weights") or {}).get("name") != name:
            raise
        notice(
            f"The weights {name!r} cannot be opened ({str(error)[:200].rstrip('.')}); the run in {str(out)!r}, which "
            f"was begun with them, goes on from its checkpoint."
        )
        keras.utils.set_random_seed(seed)
        model = assemble(variants.spec(Spec.from_dict(asked["spec"]), **overrides))
        normalize = asked["recipe"].get("normalize")
        preprocessing = Preprocessing.from_dict(normalize) if isinstance(normalize, dict) else None
        return Start(model, preprocessing, asked["weights"], f"{name}: as the run was begun")


def _opened(network, weights, name, data: Data, overrides, seed, new_head) -> Start:
    """Opens the weights, with their own head if it may be kept."""
    dense, shape = data.task == "segmentation", data.input_shape
    if dense:
        shape = (None, None, shape[2])

    # The whole network, if its head fits. What else is wrong is found again without the head.
    whole = None
    if new_head is not True:
        keras.utils.set_random_seed(seed)
        try:
            entire = segmentation.dense(network) if dense else network
            whole = build(entire, shape, data.classes, weights=weights, **overrides)
        except ArgumentError:
            if new_head is False:
                raise
    reason = "asked for" if new_head else f"the weights have none for {data.classes} classes"
    if whole is not None and new_head is None and not _same(whole.class_names, data.class_names):
        reason = f"the weights' classes are others ({listed(whole.class_names or (), 3)})"
        whole = None
    if whole is not None:
        kept = "of these classes" if whole.class_names else f"of {data.classes} classes without names"
        asked = {"name": name, "fingerprint": _fingerprint(whole), "head": "kept"}
        return Start(whole, whole.preprocessing, asked, f"{name}, with its head, {kept} (new_head=True for a new one)")

    # The features alone, in a network with a new head.
    features = build(network, shape, include_top=False, weights=weights, **overrides)
    spec = segmentation.dense(features.spec) if dense else features.spec
    keras.utils.set_random_seed(seed)
    model = assemble(variants.spec(spec, **{"input_shape": shape, "classes": data.classes, **overrides}))
    copy_weights(features, model, name, new_head=True)
    asked = {"name": name, "fingerprint": _fingerprint(features), "head": "new"}
    return Start(model, features.preprocessing, asked, f"{name}, with a new head for {data.classes} classes: {reason}")


def _same(ours: tuple[str, ...] | None, theirs: tuple[str, ...]) -> bool:
    """Whether classes may be the same: they have the same names in the same order, or the weights have none."""
    return ours is None or tuple(ours) == tuple(theirs)


def _fingerprint(model: keras.Model) -> str:
    return fingerprint(variable for variable in model.weights if "seed_generator" not in variable.path)
