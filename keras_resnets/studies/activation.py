"""Placements of batch-norm and ReLU in a residual unit: He et al. 2016, Table 2."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from keras_resnets.architecture.spec import Spec
from keras_resnets.architecture.unit import PLACEMENTS
from keras_resnets.data import Data
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted
from keras_resnets.studies import arms as by_arms
from keras_resnets.studies.cells import spec_of
from keras_resnets.training.recipes import Recipe

# What the figure calls them.
TITLES = {name: f"{name}: {placement.title or name}" for name, placement in PLACEMENTS.items()}


def activation(
    network: str | Spec = "resnet20",
    data: str | os.PathLike | Data = "digits",
    recipe: str | Recipe = "digits",
    *,
    out: str | os.PathLike,
    arms: Sequence[str] | None = None,
    seeds: int = 3,
    epochs: int = 20,
    seed: int = 0,
    verbose: bool = False,
) -> Study:
    """Trains a network with several placements of its activations.

    He et al. (2016, Table 2) find on CIFAR-10, for ResNet-110 and ResNet-164: original 6.61 % and 5.93 %,
    BN after addition 8.17 % and 6.50 %, ReLU before addition 7.84 % and 6.14 %, ReLU-only pre-activation
    6.71 % and 5.91 %, full pre-activation 6.37 % and 5.46 %.

    Arms differ only in the placement: initialiser, shortcut and recipe are those of the network.
    A block whose first activation also feeds its shortcut (`shared_preactivation`) computes the same with
    `"relu_only"` as with `"post"`, and with `"pre"` as with `"bn_after"`: only the other blocks differ, and a
    network with one block per stage has none.

    Args:
        network: a variant's name or a spec.
        data: as for `keras_resnets.train`.
        recipe: as for `keras_resnets.train`.
        out: where the networks are trained, below `cells`; after an interruption, the same call resumes there.
        arms: values of `placement` of `keras_resnets.Spec` to compare with the network's own; None
            takes all.
        seeds: trainings of each, 2 to 16.
        epochs: as for `keras_resnets.train`.
        seed: the first seed; the others follow it.
        verbose: whether to print a line for each trained network.

    Returns:
        A `Study`, as `keras_resnets.studies.arms.compare` returns it; its first arm is the unchanged network.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.activation("resnet20", out="activation", arms=["pre"])  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    spec = spec_of(network)
    chosen = tuple(name for name, place in PLACEMENTS.items() if place.title) if arms is None else arms
    specs = {arm: spec.replace(placement=arm) for arm in dict.fromkeys((spec.placement, *chosen))}
    how: dict[str, Any] = {"out": out, "epochs": epochs, "seeds": seeds, "seed": seed, "verbose": verbose}
    return by_arms.compare("activation", specs, data, recipe, **how)


curves, describe = by_arms.curves, by_arms.describe


def draw(study: Study):
    """Plots the error of each placement, and its difference from that of the network's own."""
    title = f"activations, {counted(study.summary['seeds'], 'seed')}, {counted(study.summary['epochs'], 'epoch')}"
    return by_arms.draw(study, title, TITLES)


DRAWINGS["activation"] = Drawing(draw, describe, curves)
