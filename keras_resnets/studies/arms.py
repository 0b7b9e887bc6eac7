"""Arms: ways of training that are compared over seeds, each with the first one, seed by seed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture import counting
from keras_resnets.architecture.spec import Spec
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.reports.statistics import MOST, interval, paired, verdict
from keras_resnets.reports.study import Study
from keras_resnets.runs import Run
from keras_resnets.studies.cells import Cell, train_cells
from keras_resnets.training.recipes import Recipe

if TYPE_CHECKING:
    import pandas as pd


def train_arms(
    arms: Sequence[Cell],
    data: str | os.PathLike | Data,
    *,
    out: str | os.PathLike,
    seeds: int,
    seed: int = 0,
    verbose: bool = False,
) -> pd.DataFrame:
    """Trains each arm with each seed.

    Args:
        arms: what to train, of whatever seed.
        data: as for `keras_resnets.studies.cells.train_cells`.
        out: as for `train_cells`.
        seeds: how many, 2 to 16.
        seed: the first one; the others follow it.
        verbose: as for `train_cells`.

    Returns:
        The rows of `train_cells`.

    Raises:
        ArgumentError: an argument breaks its rule.
    """
    whole_number("seeds", seeds, 2, MOST)
    whole_number("seed", seed, 0, 2**31 - 1 - seeds)
    for arm in arms:
        whole_number("epochs", arm.epochs, 1)
    # Seed by seed: what else the machine does meanwhile weighs on the arms of a seed alike.
    cells = [dataclasses.replace(arm, seed=seed + k) for k in range(seeds) for arm in arms]
    return train_cells(cells, data, out=out, verbose=verbose)


def facts(rows: pd.DataFrame) -> dict[str, Any]:
    """What the summary of every such study says of the trainings that the rows are of."""
    return {
        "seeds": int(rows["seed"].nunique()),
        "first_seed": int(rows["seed"].min()),
        "examples": int(rows["examples"].iloc[0]),
        "labels": "given",
    }


def over_seeds(rows: pd.DataFrame, *columns: str) -> dict[str, float]:
    """Mean, standard deviation and half the 95 % t interval of the mean of columns, a row being a seed."""
    measures = {"mean": "mean", "sd": "std", "half_interval": interval}
    return {f"{column}_{name}": float(rows[column].agg(how)) for column in columns for name, how in measures.items()}


def against(rows: pd.DataFrame, first: pd.DataFrame, column: str = "error") -> dict[str, Any]:
    """The differences of a column to that of the first arm, seed by seed, as `paired` judges them."""
    return paired((rows.set_index("seed")[column] - first.set_index("seed")[column]).tolist())


def told(found: Mapping[str, Any], seeds: int) -> str:
    """An arm's error in words."""
    return f"error {found['error_mean']:.2%} (standard deviation {found['error_sd']:.2%} over {seeds} seeds)"


def counts_of(run: Path) -> counting.Counts:
    """What a trained network costs, on the images that it was trained on."""
    record = Run(run, {}).record or {}
    return counting.count(Spec.from_dict(record["asked"]["spec"]))


def compare(
    name: str,
    arms: Mapping[str, Spec],
    data: str | os.PathLike | Data,
    recipe: str | Recipe,
    *,
    out: str | os.PathLike,
    epochs: int,
    **how: Any,
) -> Study:
    """Trains variants of one network that differ in nothing but their specs.

    Args:
        name: the study's.
        arms: the specs by name; the others are compared with the first.
        data: as for `train_arms`.
        recipe: as for `keras_resnets.train`.
        out: as for `train_arms`.
        epochs: as for `keras_resnets.train`.
        **how: `seeds`, `seed` and `verbose`, as for `train_arms`.

    Returns:
        A `Study` with a row for every arm and seed: `arm`, `parameters`, `macs` and the columns of
        `train_cells`. The summary gives means, standard deviations and intervals over seeds, and
        the paired differences to the first arm.

    Raises:
        ArgumentError: there is only one arm, or an argument breaks its rule.
    """
    first, *others = arms
    if not others:
        raise ArgumentError(f"arms must name one or more beside {first!r}, the network as it is; got no other.")
    cells = [Cell({"arm": arm}, spec, recipe, epochs) for arm, spec in arms.items()]
    rows = train_arms(cells, data, out=out, **how)
    counts = [counts_of(Path(out) / run) for run in rows["run"]]
    for place, column in enumerate(("parameters", "macs"), 2):
        rows.insert(place, column, [getattr(count, column) for count in counts])
    by_arm = {arm: rows[rows["arm"] == arm] for arm in arms}
    summary = {
        "model": arms[first].name,
        "epochs": epochs,
        "first": first,
        **facts(rows),
        "arms": {
            arm: {column: int(found[column].iloc[0]) for column in ("parameters", "macs")}
            | over_seeds(found, "error", "loss")
            for arm, found in by_arm.items()
        },
        "differences": {
            arm: {column: against(by_arm[arm], by_arm[first], column) for column in ("error", "loss")} for arm in others
        },
    }
    return Study(name, rows, summary)


def curves(study: Study) -> dict[str, pd.Series]:
    """For TensorBoard: error by seed."""
    named = {arm: "".join(c if c.isalnum() or c in ".-_" else "_" for c in arm) for arm in study.rows["arm"].unique()}
    return {named[arm]: rows.set_index("seed")["error"] for arm, rows in study.rows.groupby("arm", sort=False)}


def draw(study: Study, title: str, names: Mapping[str, str] | None = None):
    """The error of each arm, and its difference to the first, seed by seed.

    Args:
        study: its rows have `arm`, `seed` and `error`, its summary `arms` and `differences` as those of `compare`.
        title: what stands on top.
        names: what the figure calls the arms; by default what they are called.
    """
    from keras_resnets.reports import figures

    summary, arms = study.summary, list(study.summary["arms"])
    names = names or {arm: arm for arm in arms}
    lines = sum(names[arm].count("\n") + 1 for arm in arms)
    figure, (left, right) = figures.panels(2, max(3.6, 1.8 + 0.3 * lines))
    errors = study.rows.pivot(index="seed", columns="arm", values="error")[arms]
    means = {arm: (found["error_mean"], 2 * (found["error_half_interval"],)) for arm, found in summary["arms"].items()}
    figures.seeds_by_arm(left, errors, means, names, figures.OURS, figures.MEAN)
    limits = figures.room(errors, [mean + half[1] for mean, half in means.values()])
    figures.errors(left, summary, limits=limits, axis="x")
    points = 100 * errors[arms[1:]].sub(errors[arms[0]], axis=0)
    means = {
        arm: (100 * d["mean"], (100 * (d["mean"] - d["low"]), 100 * (d["high"] - d["mean"])))
        for arm, found in summary["differences"].items()
        for d in [found["error"]]
    }
    figures.seeds_by_arm(right, points, means, names, figures.OTHER, figures.MEAN.replace("mean", "mean difference"))
    right.axvline(0, color=figures.INTACT, lw=1.2)
    right.set_xlabel(f"error less that with {arms[0]},\nin points, seed by seed")
    # One arm that fails would hide what the others differ by.
    if errors.max(axis=None) > 10 * max(0.01, errors.median().median()):
        figures.far(left, 0.02)
        figures.far(right, 2)
    figures.finish(figure, title, 3)
    return figure


def describe(study: Study) -> str:
    """The finding in a few lines."""
    s = study.summary
    lines = []
    for arm, found in s["arms"].items():
        line = f"{arm}: {told(found, s['seeds'])}, {found['parameters']:,} parameters"
        if arm != s["first"]:
            line += f"; against {s['first']} {verdict(s['differences'][arm]['error'])}"
        lines.append(line)
    return "\n".join(lines)
