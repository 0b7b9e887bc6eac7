"""Lesions of networks trained with and without stochastic depth, over seeds: Veit et al. 2016, last figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.reports.statistics import paired, spread
from keras_resnets.reports.study import Study
from keras_resnets.studies.lesion import lesion
from keras_resnets.training.opening import load_model

if TYPE_CHECKING:
    import pandas as pd


def lesion_of(row: dict[str, Any], out: Path, data, budget: int, verbose: bool) -> pd.DataFrame:
    """Returns the rows of one network's lesion study, which is stored in its run directory."""
    folder = out / row["run"] / "studies" / "lesion"
    study = Study.load(folder) if (folder / "study.json").exists() else None
    if study is None or study.summary["examples"] != row["examples"] or study.summary["beside"]:
        network = load_model(out / row["run"])
        study = lesion(network, data, budget=budget, verbose=verbose, resume=folder)
        study.save(folder)
    rows = study.rows.drop(columns="model")
    for column in ("seed", "survival", "decay"):
        rows.insert(0, column, row[column])
    rows.insert(0, "kind", "lesion")
    return rows.assign(rise=rows["error"] - study.summary["intact"]["error"])


def compare(lesions: pd.DataFrame, chosen: float) -> dict[str, Any]:
    """Compares medians over each network's blocks: their spread over seeds, and differences paired by seed."""
    one = lesions[(lesions["survival"] == 1) & (lesions["seed"] == lesions["seed"].iloc[0])]
    starts = one["block"][(one["stage"] != one["stage"].shift()).to_numpy()].tolist()[1:]
    groups: dict[str, pd.DataFrame] = {"all": lesions}
    if starts:
        groups["down_sampling"] = lesions[lesions["block"].isin(starts)]
    summary: dict[str, Any] = {"survival": chosen, "down_sampling_blocks": starts, "errors": {}}
    for name, rows in groups.items():
        medians = rows.groupby(["survival", "seed"])[["error", "rise"]].median()
        summary["errors"][name] = {
            "without": spread(medians.loc[1.0]["error"]),
            "with": spread(medians.loc[chosen]["error"]),
            "rise_without": spread(medians.loc[1.0]["rise"]),
            "rise_with": spread(medians.loc[chosen]["rise"]),
            "difference_of_rises": paired((medians.loc[chosen]["rise"] - medians.loc[1.0]["rise"]).tolist()),
        }
    return summary


def by_block(lesions: pd.DataFrame) -> dict[float, pd.DataFrame]:
    """Returns, for each survival, errors by number of the deleted block, with a column for each seed."""
    tables = {}
    for p, rows in lesions.groupby("survival"):
        errors = rows.pivot(index="block", columns="seed", values="error").loc[rows["block"].unique()]
        tables[float(p)] = errors.set_axis(range(1, len(errors) + 1))
    return tables


def draw_lesions(axes, summary: dict[str, Any], lesions: pd.DataFrame) -> None:
    """Plots the error after each deletion, for the networks trained with and without stochastic depth."""
    from keras_resnets.reports import figures

    first = lesions[(lesions["survival"] == 1) & (lesions["seed"] == summary["first_seed"])]
    figures.stage_bands(axes, list(first["stage"]))
    for p, errors in reversed(by_block(lesions).items()):
        colour, training = (figures.INTACT, "without") if p == 1 else (figures.OURS, f"with survival {p:g}")
        label = f"a block deleted, trained {training}: median and extremes of seeds"
        axes.plot(errors.index, errors.median(axis=1), "o-", ms=3.2, lw=0.9, color=colour, label=label)
        axes.fill_between(errors.index, errors.min(axis=1), errors.max(axis=1), color=colour, alpha=0.2, lw=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("deleted block")
    figures.errors(axes, summary)
