"""Kinds of shortcuts: He et al. 2015, Table 3, and He et al. 2016, Table 1."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from keras_resnets.architecture.spec import Spec
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted
from keras_resnets.studies import arms as by_arms
from keras_resnets.studies.cells import spec_of
from keras_resnets.training.recipes import Recipe

SHORTCUTS = {"A": "A: zeros for new channels", "B": "B: 1x1 for new channels", "C": "C: 1x1 everywhere", "none": "none"}
SCALES = ("scale:0.5:1", "scale:0.5:0.5")
GATES = ("gate:0", "gate:-6", "gate:-7", "shortcut_gate:0", "shortcut_gate:-6")


def shortcuts(
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
    """Trains a network with other shortcuts, and with shortcuts that scale, gate or drop their input.

    He et al. (2015, Table 3) find, for ResNet-34 on ImageNet, top-1 errors of 25.03 % with shortcut A,
    24.52 % with B and 24.19 % with C. He et al. (2016, Table 1) find, for ResNet-110 on CIFAR-10, 6.61 %
    with identities and more with anything else: 12.22 % with 1x1 convolutions everywhere (C), 12.35 %
    scaled by 0.5:0.5, 8.70 % and 9.81 % with exclusive gates that start at -6 and -7, 6.91 % and 12.86 %
    with gates on the shortcut alone that start at -6 and 0. With no shortcut, 0.5:1, exclusive gates from 0 to
    -5 or a dropout of 0.5 on the shortcut, training failed: an error above 20 %.

    Arms differ only in the shortcut; their seeds are the same. A shortcut with weights of its own also
    changes the random initial values of the others. With many arms, about one in twenty without an effect
    is reported as significant by chance.

    Args:
        network: a variant's name or a spec.
        data: as for `keras_resnets.train`.
        recipe: as for `keras_resnets.train`.
        out: where the networks are trained, below `cells`; after an interruption, the same call resumes there.
        arms: shortcuts to compare with the unchanged network: `"A"`, `"B"`, `"C"` or `"none"`, a `shortcut`
            of `keras_resnets.Spec`; or a `skip` of it, such as `"gate:-6"`. None takes all of both tables.
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
        >>> study = kr.studies.shortcuts("resnet20", out="shortcuts", arms=["C", "gate:-6"])  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    spec = spec_of(network)
    own = spec.shortcut if spec.skip == "identity" else spec.skip
    chosen = (*SHORTCUTS, *SCALES, *GATES, "dropout:0.5") if arms is None else arms
    specs = {own: spec} | {arm: _change_shortcut(spec, arm) for arm in chosen if arm != own}
    how: dict[str, Any] = {"out": out, "epochs": epochs, "seeds": seeds, "seed": seed, "verbose": verbose}
    return by_arms.compare("shortcuts", specs, data, recipe, **how)


def _change_shortcut(spec: Spec, arm: str) -> Spec:
    """Returns the spec with another shortcut and an identity for a skip, or with another skip."""
    if arm in SHORTCUTS:
        return spec.replace(shortcut=arm, skip="identity")
    try:
        return spec.replace(skip=arm)
    except ArgumentError as error:
        raise ArgumentError(f"Each of arms must be {', '.join(SHORTCUTS)}, or a skip; {error}") from error


curves, describe = by_arms.curves, by_arms.describe


def draw(study: Study):
    """Plots the error of each arm, and its difference from that of the unchanged network."""
    title = f"shortcuts, {counted(study.summary['seeds'], 'seed')}, {counted(study.summary['epochs'], 'epoch')}"
    return by_arms.draw(study, title, {arm: SHORTCUTS.get(arm, arm) for arm in study.summary["arms"]})


DRAWINGS["shortcuts"] = Drawing(draw, describe, curves)
