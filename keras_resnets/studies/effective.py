"""Train with so many blocks a batch as leave only effective paths: Veit et al. 2016, section 4.3."""

from __future__ import annotations

import os

from keras_resnets.architecture.spec import Spec
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.paths import FixedSize
from keras_resnets.reports.statistics import verdict
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.studies import arms as by_arms
from keras_resnets.studies.cells import Cell, spec_of
from keras_resnets.training.recipes import Recipe

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
    """Trains a network as a whole, and with `blocks` of its n blocks drawn anew for every batch.

    If only paths of a certain length count, training those alone must do (Veit et al. 2016, section
    4.3). Of the network left by m blocks, a path drawn evenly goes through k of them with the
    probability C(m, k) / 2^m, so through m/2 on average: paths of an effective length l are what the
    network of m = 2 l blocks has most of. The paper takes 23 of 54, for paths around 11.5, and finds
    5.96 % against 6.10 % for the whole on CIFAR-10, "no statistically significant difference". It does
    not say how the network is used afterwards. Here all of its blocks are, with their residual branches
    multiplied with m/n, the probability that each was on (Huang et al. 2016, section 3): so the sums
    that a block reads have the mean that they had in training, by which its batch-norm goes.

    There are three arms, each trained with the same seeds, which set initial weights, order and
    augmentation of the data, and the draws:

    - `"all blocks"` for `epochs`;
    - `"same epochs"`, m blocks a batch for as many, which computes m/n as many residual branches;
    - `"same compute"`, m blocks a batch for `epochs` times n/m, rounded, the schedule stretched to it.

    Differences to the first arm are taken seed by seed. What is inferred from them is about other
    seeds, with this test split; `keras_resnets.studies.paired` says how.

    Args:
        network: a variant's name or a spec.
        data: as for `keras_resnets.train`.
        recipe: as for `keras_resnets.train`.
        out: where the networks are trained, below `cells`; the same call goes on there after a kill.
        blocks: m, 1 to n.
        length: the effective length l, to be given instead of `blocks`.
        seeds: how many, 2 to 16. With fewer than six, the exact test cannot give a p below 0.05.
        epochs: as for `keras_resnets.train`.
        rescale: whether to multiply so; without, all branches count in full.
        seed: the first one; the others follow it.
        verbose: whether to say a line for each network trained.

    Returns:
        A `Study` with a row for every arm and seed: `arm`, `blocks` (of a batch), `compute` (residual
        branches to be computed, relative to the first arm), and the columns of
        `keras_resnets.studies.cells.train_cells`. The summary gives each arm's means and standard
        deviations, and the paired differences of error and loss.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.effective("preresnet110", "digits", blocks=23, out="effective")  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    spec = spec_of(network)
    n, m = spec.blocks, _blocks(spec, blocks, length)
    whole_number("epochs", epochs, 1)
    arms = {
        FULL: (None, epochs),
        EPOCHS: (FixedSize(m, rescale=rescale), epochs),
        COMPUTE: (FixedSize(m, rescale=rescale), max(1, round(epochs * n / m))),
    }
    cells = [Cell({"arm": arm}, spec, recipe, lasting, paths=policy) for arm, (policy, lasting) in arms.items()]
    rows = by_arms.train_arms(cells, data, out=out, seeds=seeds, seed=seed, verbose=verbose)
    rows.insert(2, "blocks", [n if arms[arm][0] is None else m for arm in rows["arm"]])
    rows.insert(3, "compute", rows["blocks"] / n * rows["epochs"] / epochs)
    found_by = {arm: rows[rows["arm"] == arm].set_index("seed", drop=False) for arm in arms}
    first = found_by[FULL]
    summary = {
        "model": spec.name,
        "blocks": m,
        "of": n,
        "path_length": m / 2,
        "rescale": rescale,
        **by_arms.facts(rows),
        "arms": {
            arm: {
                "epochs": int(found["epochs"].iloc[0]),
                "compute": float(found["compute"].iloc[0]),
                "seconds": float(found["seconds"].median()),
                **by_arms.over_seeds(found, "error", "loss"),
                "time_of_an_epoch": float((found["epoch_seconds"] / first["epoch_seconds"]).median()),
            }
            for arm, found in found_by.items()
        },
        "differences": {
            arm: {measure: by_arms.against(found_by[arm], first, measure) for measure in ("error", "loss")}
            for arm in (EPOCHS, COMPUTE)
        },
    }
    return Study("effective", rows, summary)


def _blocks(spec: Spec, blocks: int | None, length: float | None) -> int:
    """The number of blocks whose paths are of that length."""
    if (blocks is None) == (length is None):
        raise ArgumentError(
            f"blocks, of each batch, or length, of the effective paths, must be given, and not both; got "
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
    """The arms' errors and the paired differences, with their intervals."""
    summary = study.summary
    title = f"{summary['model']}: train {summary['blocks']} of {summary['of']} blocks a batch"
    return by_arms.draw(study, title, {arm: _name(summary, arm, "\n") for arm in summary["arms"]})


def _name(summary, arm: str, between: str = ", ") -> str:
    found, blocks = summary["arms"][arm], summary["of"] if arm == FULL else summary["blocks"]
    return between.join((arm, f"{blocks} blocks", f"{found['epochs']} epochs", f"compute {found['compute']:.2f}"))


def describe(study: Study) -> str:
    """The finding in a few lines."""
    s = study.summary
    lines = [
        f"{_name(s, arm)}: {by_arms.told(found, s['seeds'])}, loss {found['loss_mean']:.4f}, {found['seconds']:.0f} s, "
        f"an epoch in {found['time_of_an_epoch']:.2f} of the time"
        for arm, found in s["arms"].items()
    ]
    lines += [f"{arm}: {verdict(found['error'])}" for arm, found in s["differences"].items()]
    return "\n".join(lines)


DRAWINGS["effective"] = Drawing(draw, describe, curves)
