"""Arms: ways of training that are compared over seeds, each with the first arm, paired by seed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture import counting
from keras_resnets.architecture.spec import Spec
from keras_resnets.data import Data
from keras_resnets.data.batches import name_of
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import MOST, interval, paired, verdict
from keras_resnets.reports.study import Study
from keras_resnets.runs import Run
from keras_resnets.showing import counted
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
        arms: the cells to train; their seeds are replaced.
        data: as for `keras_resnets.studies.cells.train_cells`.
        out: as for `train_cells`.
        seeds: number of seeds, 2 to 16.
        seed: the first seed; the others follow it.
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
    # Seed by seed, so that changes in the machine's load affect all arms of a seed.
    cells = [dataclasses.replace(arm, seed=seed + k) for k in range(seeds) for arm in arms]
    return train_cells(cells, data, out=out, verbose=verbose)


def facts(rows: pd.DataFrame, data: str | os.PathLike | Data) -> dict[str, Any]:
    """Returns the facts about the trainings that every such study's summary holds; `data` as for `train_arms`."""
    return {
        "data": name_of(data),
        "seeds": int(rows["seed"].nunique()),
        "first_seed": int(rows["seed"].min()),
        "examples": int(rows["examples"].iloc[0]),
        "labels": "given",
    }


def over_seeds(rows: pd.DataFrame, *columns: str) -> dict[str, float]:
    """Returns mean, standard deviation and half the mean's 95 % t interval of columns, with one row per seed."""
    measures = {"mean": "mean", "sd": "std", "half_interval": interval}
    return {f"{column}_{name}": float(rows[column].agg(how)) for column in columns for name, how in measures.items()}


def against(rows: pd.DataFrame, first: pd.DataFrame, column: str = "error") -> dict[str, Any]:
    """Compares a column with that of the first arm, seed by seed, by `paired`."""
    return paired((rows.set_index("seed")[column] - first.set_index("seed")[column]).tolist())


def describe_error(arm: Mapping[str, Any], seeds: int) -> str:
    """Returns an arm's mean error with its standard deviation over seeds, as text."""
    return f"error {arm['error_mean']:.2%} (standard deviation {arm['error_sd']:.2%} over {counted(seeds, 'seed')})"


def counts_of(run: Path) -> counting.Counts:
    """Returns the costs of a trained network, for images of the size it was trained on."""
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
    **options: Any,
) -> Study:
    """Trains variants of one network that differ only in their specs.

    Args:
        name: the study's name.
        arms: the specs by name; the others are compared with the first.
        data: as for `train_arms`.
        recipe: as for `keras_resnets.train`.
        out: as for `train_arms`.
        epochs: as for `keras_resnets.train`.
        **options: `seeds`, `seed` and `verbose`, as for `train_arms`.

    Returns:
        A `Study` with a row for every arm and seed: `arm`, `parameters`, `macs` and the columns of
        `train_cells`. The summary gives means, standard deviations and intervals over seeds, and
        the paired differences from the first arm.

    Raises:
        ArgumentError: there is only one arm, or an argument breaks its rule.
    """
    first, *others = arms
    if not others:
        raise ArgumentError(f"arms must name one or more beside {first!r}, the network as it is; got no other.")
    cells = [Cell({"arm": arm}, spec, recipe, epochs) for arm, spec in arms.items()]
    rows = train_arms(cells, data, out=out, **options)
    counts = [counts_of(Path(out) / run) for run in rows["run"]]
    for place, column in enumerate(("parameters", "macs"), 2):
        rows.insert(place, column, [getattr(count, column) for count in counts])

    by_arm = {arm: rows[rows["arm"] == arm] for arm in arms}
    summary = {
        "model": arms[first].name,
        "epochs": epochs,
        "first": first,
        **facts(rows, data),
        "arms": {
            arm: {column: int(rows_of_arm[column].iloc[0]) for column in ("parameters", "macs")}
            | over_seeds(rows_of_arm, "error", "loss")
            for arm, rows_of_arm in by_arm.items()
        },
        "differences": {
            arm: {column: against(by_arm[arm], by_arm[first], column) for column in ("error", "loss")} for arm in others
        },
    }
    return Study(name, rows, summary)


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: the error of each arm."""
    means = study.rows.groupby("arm", sort=False)["error"].mean()
    return {"error of each arm, mean over seeds": Curve(means, "arm")}


def draw(study: Study, title: str, names: Mapping[str, str] | None = None):
    """Plots the error of each arm, and its difference from the first, seed by seed.

    Args:
        study: a study whose rows have `arm`, `seed` and `error`, and whose summary has `arms` and `differences` like
            that of `compare`.
        title: what was done, for the figure's title.
        names: the arms' labels in the figure; by default their names.
    """
    from keras_resnets.reports import figures

    summary, arms = study.summary, list(study.summary["arms"])
    names = names or {arm: arm for arm in arms}
    lines = sum(names[arm].count("\n") + 1 for arm in arms)
    figure, (left, right) = figures.panels(2, max(3.6, 1.8 + 0.3 * lines))

    # Left: the errors, with their means.
    errors = study.rows.pivot(index="seed", columns="arm", values="error")[arms]
    means = {arm: (stats["error_mean"], 2 * (stats["error_half_interval"],)) for arm, stats in summary["arms"].items()}
    figures.seeds_by_arm(left, errors, means, names, figures.OURS, figures.MEAN)
    limits = figures.room(errors, [mean + half[1] for mean, half in means.values()])
    figures.errors(left, summary, limits=limits, axis="x")

    # Right: the differences, in percentage points.
    points = 100 * errors[arms[1:]].sub(errors[arms[0]], axis=0)
    means = {
        arm: (100 * d["mean"], (100 * (d["mean"] - d["low"]), 100 * (d["high"] - d["mean"])))
        for arm, differences in summary["differences"].items()
        for d in [differences["error"]]
    }
    figures.seeds_by_arm(right, points, means, names, figures.OTHER, figures.MEAN.replace("mean", "mean difference"))
    right.axvline(0, color=figures.INTACT, lw=1.2)
    right.set_xlabel(f"error minus that with {arms[0]},\nin points, seed by seed")

    # One arm that fails would hide the differences between the others.
    if errors.max(axis=None) > 10 * max(0.01, errors.median().median()):
        figures.far(left, 0.02)
        figures.far(right, 2)
    figures.finish(figure, figures.heading(summary, title), 3)
    return figure


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    lines = []
    for arm, stats in s["arms"].items():
        line = f"{arm}: {describe_error(stats, s['seeds'])}, {stats['parameters']:,} parameters"
        if arm != s["first"]:
            line += f"; against {s['first']} {verdict(s['differences'][arm]['error'])}"
        lines.append(line)
    return "\n".join(lines)
