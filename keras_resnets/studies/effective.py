"""Trains only effective paths, with a fixed number of blocks per batch: Veit et al. 2016, section 4.3."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture.spec import Spec
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.paths import FixedSize
from keras_resnets.reports.statistics import verdict
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted
from keras_resnets.studies import arms as by_arms
from keras_resnets.studies.cells import Cell, spec_of
from keras_resnets.training.recipes import Recipe

if TYPE_CHECKING:
    import pandas as pd

FULL, EPOCHS, COMPUTE = "all blocks", "same epochs", "same compute"


def effective(
    network: str | Spec,
    data: str | os.PathLike | Data = "digits",
    recipe: str | Recipe = "digits",
    *,
    out: str | os.PathLike,
    blocks: int | None = None,
    length: float | None = None,
    seeds: int = 5,
    epochs: int = 20,
    rescale: bool = True,
    seed: int = 0,
    verbose: bool = False,
) -> Study:
    """Trains a network as a whole, and with `blocks` of its n blocks drawn at random for every batch.

    If only paths of a certain length matter, it suffices to train those (Veit et al. 2016, section
    4.3). In a network reduced to m blocks, a path drawn uniformly passes k of them with
    probability C(m, k) / 2^m, so m/2 on average: paths of an effective length l are the most
    frequent with m = 2 l blocks. The paper takes 23 of 54, for paths around 11.5, and finds
    5.96 % against 6.10 % for the whole on CIFAR-10, "no statistically significant difference". It does
    not say how the network is used afterwards. Here all blocks are used, with their residual branches
    multiplied by m/n, the probability that each was on (Huang et al. 2016, section 3): so a block's
    input has the same mean as in training, which its batch-norm relies on.

    There are three arms, each trained with the same seeds, which set initial weights, order and
    augmentation of the data, and the draws:

    - `"all blocks"` for `epochs`;
    - `"same epochs"`, m blocks per batch for as many, which computes m/n as many residual branches;
    - `"same compute"`, m blocks per batch for `epochs` times n/m, rounded, with the schedule scaled to it.

    Differences from the first arm are paired by seed. They support conclusions about other seeds
    with this test split; see `keras_resnets.studies.paired`.

    Args:
        network: a variant's name or a spec.
        data: as for `keras_resnets.train`.
        recipe: as for `keras_resnets.train`.
        out: where the networks are trained, below `cells`; after an interruption, the same call resumes there.
        blocks: m, 1 to n.
        length: the effective length l, instead of `blocks`.
        seeds: number of seeds, 2 to 16. With fewer than six, the exact test cannot give a p below 0.05.
        epochs: as for `keras_resnets.train`.
        rescale: whether to multiply branches by m/n after training.
        seed: the first seed; the others follow it.
        verbose: whether to print a line for each trained network.

    Returns:
        A `Study` with a row for every arm and seed: `arm`, `blocks` (per batch), `compute` (computed
        residual branches, relative to the first arm), and the columns of
        `keras_resnets.studies.cells.train_cells`. The summary gives each arm's means and standard
        deviations, and the paired differences of error and loss.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.effective("preresnet110", "digits", blocks=23, out="effective")  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    # The three arms.
    spec = spec_of(network)
    n, m = spec.blocks, _blocks(spec, blocks, length)
    whole_number("epochs", epochs, 1)
    arms = {
        FULL: (None, epochs),
        EPOCHS: (FixedSize(m, rescale=rescale), epochs),
        COMPUTE: (FixedSize(m, rescale=rescale), max(1, round(epochs * n / m))),
    }

    # Their trainings.
    cells = [Cell({"arm": arm}, spec, recipe, lasting, paths=policy) for arm, (policy, lasting) in arms.items()]
    rows = by_arms.train_arms(cells, data, out=out, seeds=seeds, seed=seed, verbose=verbose)
    rows.insert(2, "blocks", [n if arms[arm][0] is None else m for arm in rows["arm"]])
    rows.insert(3, "compute", rows["blocks"] / n * rows["epochs"] / epochs)

    summary = {"model": spec.name, "blocks": m, "of": n, "path_length": m / 2, "rescale": rescale}
    return Study("effective", rows, summary | by_arms.facts(rows, data) | _compare(rows))


def _compare(rows: pd.DataFrame) -> dict[str, Any]:
    """Returns the statistics of each arm, and the differences from the first."""
    by_arm = {arm: rows[rows["arm"] == arm].set_index("seed", drop=False) for arm in (FULL, EPOCHS, COMPUTE)}
    first = by_arm[FULL]
    return {
        "arms": {
            arm: {
                "epochs": int(rows_of_arm["epochs"].iloc[0]),
                "compute": float(rows_of_arm["compute"].iloc[0]),
                "seconds": float(rows_of_arm["seconds"].median()),
                **by_arms.over_seeds(rows_of_arm, "error", "loss"),
                "time_of_an_epoch": float((rows_of_arm["epoch_seconds"] / first["epoch_seconds"]).median()),
            }
            for arm, rows_of_arm in by_arm.items()
        },
        "differences": {
            arm: {measure: by_arms.against(by_arm[arm], first, measure) for measure in ("error", "loss")}
            for arm in (EPOCHS, COMPUTE)
        },
    }


def _blocks(spec: Spec, blocks: int | None, length: float | None) -> int:
    """Returns the number of blocks in a batch, given itself or by the length of its paths."""
    if (blocks is None) == (length is None):
        raise ArgumentError(
            f"blocks (per batch) or length (of the effective paths) must be given, and not both; got "
            f"blocks={blocks!r} and length={length!r}."
        )
    if blocks is not None:
        whole_number("blocks", blocks, 1, spec.blocks)
        return blocks
    if not isinstance(length, int | float) or isinstance(length, bool) or not 1 <= round(2 * length) <= spec.blocks:
        raise ArgumentError(
            f"length must be a number from 0.5 to {spec.blocks / 2}, half the blocks of {spec.name!r}; got {length!r}."
        )
    return round(2 * length)


curves = by_arms.curves


def draw(study: Study):
    """Plots the arms' errors and the paired differences, with their intervals."""
    summary = study.summary
    title = f"train {summary['blocks']} of {summary['of']} blocks per batch"
    return by_arms.draw(study, title, {arm: _label(summary, arm, "\n") for arm in summary["arms"]})


def _label(summary, arm: str, separator: str = ", ") -> str:
    """Returns an arm's name with its blocks, epochs and compute."""
    stats, blocks = summary["arms"][arm], summary["of"] if arm == FULL else summary["blocks"]
    return separator.join(
        (arm, f"{blocks} blocks", counted(stats["epochs"], "epoch"), f"compute {stats['compute']:.2f}")
    )


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    lines = [
        f"{_label(s, arm)}: {by_arms.describe_error(stats, s['seeds'])}, loss {stats['loss_mean']:.4f}, "
        f"{stats['seconds']:.0f} s, an epoch in {stats['time_of_an_epoch']:.2f} of the time"
        for arm, stats in s["arms"].items()
    ]
    lines += [f"{arm}: {verdict(differences['error'])}" for arm, differences in s["differences"].items()]
    return "\n".join(lines)


DRAWINGS["effective"] = Drawing(draw, describe, curves)
