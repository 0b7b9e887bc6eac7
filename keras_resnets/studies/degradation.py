"""Plain and residual networks by depth: He et al. 2015, Fig. 6."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture import budget, variants
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import verdict
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.runs import read_csv
from keras_resnets.showing import counted
from keras_resnets.studies.arms import against, describe_error, facts, over_seeds, train_arms
from keras_resnets.studies.cells import Cell
from keras_resnets.training import recipes
from keras_resnets.training.feeding import data_for
from keras_resnets.training.recipes import Recipe

if TYPE_CHECKING:
    import pandas as pd

ERRORS = {"error": "test", "train_error": "training"}
# Measured after each epoch, with what the figure calls it.
FOLLOWED = {"train_error": "training error", "test_error": "test error"}


def degradation(
    data: str | os.PathLike | Data = "digits",
    recipe: str | Recipe = "digits",
    *,
    out: str | os.PathLike,
    depths: Sequence[int] = (20, 32, 44, 56),
    families: Sequence[str] = ("plain", "resnet"),
    seeds: int = 3,
    epochs: int = 20,
    seed: int = 0,
    verbose: bool = False,
) -> Study:
    """Trains families of networks at several depths and follows their training and test error.

    He et al. (2015, section 4.2, Fig. 6) find that a deeper plain network has a larger error, even
    the training error, which overfitting cannot explain: they call this degradation. Residual
    networks with the same parameters improve with depth. On CIFAR-10, after 64,000 steps, their errors are
    8.75 % at 20 layers, 7.51 % at 32, 7.17 % at 44, 6.97 % at 56 and 6.43 % at 110 (Table 6).

    As for that figure, networks are trained on the whole training split, and the test split is evaluated
    after each epoch. It selects nothing: the networks compared are those of the last epoch. Training
    error is the mean over the batches of an epoch, each with the weights at that step, including augmentation
    and batch statistics, as in a training log.

    Args:
        data: as for `keras_resnets.train`; a `Data` must be loaded with `validation="test"`.
        recipe: as for `keras_resnets.train`.
        out: where the networks are trained, below `cells`; after an interruption, the same call resumes there.
        depths: numbers of layers, as in the names of the variants.
        families: `"plain"`, `"resnet"`, `"preresnet"`: prefixes that, followed by a depth, are variants'
            names. All are compared with the first.
        seeds: trainings of each network, 2 to 16.
        epochs: as for `keras_resnets.train`.
        seed: the first seed; the others follow it.
        verbose: whether to print a line for each trained network.

    Returns:
        A `Study` with a row for every family, depth and seed: `family`, `depth`, the columns of
        `keras_resnets.studies.cells.train_cells` without `best_epoch`, and `train_error` in the last epoch.
        Its table `epochs` has `train_error` and `test_error` after each. The summary gives means, standard
        deviations and intervals over seeds, and differences paired by seed, of both errors: between the smallest
        and the largest depth of each family, and between families at each depth.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.degradation("digits", out="degradation")  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    import pandas as pd

    # The networks, and data of which nothing is held out.
    networks = _networks(families, depths)
    if isinstance(data, Data) and data.options["validation"] != "test":
        raise ArgumentError(
            f"data must be loaded with validation='test', because the whole training split is trained on and the test "
            f"split is evaluated meanwhile; got validation={data.options['validation']!r}."
        )
    if not isinstance(data, Data):
        data = data_for(recipes.get(recipe), data, validation="test")

    # Each network with each seed, and both errors after each epoch.
    arms = [Cell({"family": f, "depth": d}, name, recipe, epochs) for (f, d), name in networks.items()]
    rows = train_arms(arms, data, out=out, seeds=seeds, seed=seed, verbose=verbose)
    histories = [_errors_by_epoch(row, Path(out)) for row in rows.to_dict("records")]
    rows.insert(3, "train_error", [history["train_error"].iloc[-1] for history in histories])
    # With nothing held out, the best epoch would be the one with the smallest training error.
    rows = rows.drop(columns="best_epoch")

    summary = {"families": list(families), "depths": sorted(depths), "epochs": epochs, **facts(rows, data)}
    summary |= _compare(rows, families, sorted(depths))
    return Study("degradation", rows, summary, tables={"epochs": pd.concat(histories, ignore_index=True)})


def _compare(rows: pd.DataFrame, families: Sequence[str], depths: Sequence[int]) -> dict[str, Any]:
    """Returns the statistics of each network, and the differences between depths and between families."""
    by = dict(list(rows.groupby(["family", "depth"])))
    return {
        "networks": [
            {"family": f, "depth": d, **over_seeds(by[f, d], "error", "train_error")} for f in families for d in depths
        ],
        "deepening": [
            {"family": f, "from": depths[0], "to": depths[-1], **_against(by[f, depths[-1]], by[f, depths[0]])}
            for f in families
            if len(depths) > 1
        ],
        "between": [
            {"family": f, "against": families[0], "depth": d, **_against(by[f, d], by[families[0], d])}
            for d in depths
            for f in families[1:]
        ],
    }


def _networks(families: Sequence[str], depths: Sequence[int]) -> dict[tuple[str, int], str]:
    """Returns the variants' names by family and depth."""
    for argument, values in {"families": families, "depths": depths}.items():
        if isinstance(values, str) or not values or len({*values}) < len(values):
            raise ArgumentError(f"{argument} must be one or several, each of them once; got {values!r}.")
    for depth in depths:
        whole_number("depths", depth, 1)
    names = {(family, depth): f"{family}{depth}" for depth in depths for family in families}
    # Refuses, for example, resnet50, which is not a deeper resnet20 but another network.
    specs = {name: budget.with_blocks(variants.spec(name), 1) for name in names.values()}
    for (family, _), name in names.items():
        for other, field in ((names[family, depths[0]], "stages"), (names[families[0], depths[0]], "stem")):
            if getattr(specs[name], field) != getattr(specs[other], field):
                raise ArgumentError(
                    f"depths must be of networks that differ only in the number of blocks; got {other!r} and "
                    f"{name!r}, of another {field.removesuffix('s')}. Leave one of them out."
                )
    return names


def _errors_by_epoch(row: dict[str, Any], out: Path) -> pd.DataFrame:
    """Returns both errors of one training after each epoch."""
    import pandas as pd

    history = read_csv(out / row["run"] / "history.csv")
    columns: dict[str, Any] = {key: row[key] for key in ("family", "depth", "seed")}
    columns |= {"epoch": history["epoch"], "train_error": 1 - history["accuracy"]}
    return pd.DataFrame({**columns, "test_error": 1 - history["val_accuracy"]})


def _against(rows: pd.DataFrame, others: pd.DataFrame) -> dict[str, Any]:
    """Compares both errors of two networks, seed by seed."""
    return {column: against(rows, others, column) for column in ERRORS}


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: both errors by epoch, medians over seeds."""
    medians = study.tables["epochs"].groupby(["family", "depth", "epoch"])[[*FOLLOWED]].median()
    networks = medians.index.droplevel("epoch").unique()
    return {
        f"{FOLLOWED[e]} of {family}{depth}": Curve(medians.loc[family, depth][e], "finished epochs", follows=True)
        for family, depth in networks
        for e in medians
    }


def draw(study: Study):
    """Plots the paper's figure for each family, and the last epoch's errors by depth: training above, test below."""
    import pandas as pd

    from keras_resnets.reports import figures

    summary, families = study.summary, list(study.summary["families"])
    figure, every = figures.panels(len(families) + 1, 7.6, rows=2)
    points, dots = (t.rename(columns={"family": "group"}) for t in (pd.DataFrame(summary["networks"]), study.rows))

    # A row of panels for each error: its epochs, a panel for each family, and its last epoch by depth.
    for column, after, (*panels, last) in (
        ("train_error", "train_error", every[: len(families) + 1]),
        ("test_error", "error", every[len(families) + 1 :]),
    ):
        _draw_epochs(panels, study.tables["epochs"], column, families, summary["depths"])
        means = figures.ends(points, after)
        figures.over_depth(last, means, figures.MEAN, dots.assign(error=dots[after]))
        last.set_title("last epoch, by depth", loc="left", fontsize=9)
        last.set_ylabel(FOLLOWED[column])
        last.set_ylim(*figures.room(means["error_high"], dots[after]))
        last.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
    what = f"plain and residual networks by depth, {counted(summary['seeds'], 'seed')}, after epoch {summary['epochs']}"
    figures.finish(figure, figures.heading(summary, what), 4)
    return figure


def _draw_epochs(panels, epochs: pd.DataFrame, column: str, families: Sequence[str], depths: Sequence[int]) -> None:
    """Draws an error by epoch, a panel for each family; the panels have one scale."""
    from keras_resnets.reports import figures

    # As in the paper's figure, the axis is cut to show the last epochs; the first have larger errors.
    limits = figures.room(3 * epochs.loc[epochs["epoch"] == epochs["epoch"].max(), column])
    for panel, family in zip(panels, families, strict=True):
        for depth, colour in figures.by_time(depths, len(depths)).items():
            by_epoch = epochs[(epochs["family"] == family) & (epochs["depth"] == depth)].groupby("epoch")
            median, low, high = (by_epoch[column].agg(how) for how in ("median", "min", "max"))
            label = f"{depth} layers: median, and extremes of seeds"
            marker = "o" if len(median) == 1 else None
            panel.plot(median.index, median, color=colour, lw=1.3, label=label, marker=marker)
            panel.fill_between(low.index, low, high, color=colour, alpha=0.12, lw=0)
        panel.set(xlabel="epoch", ylim=limits)
        panel.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
        panel.xaxis.get_major_locator().set_params(integer=True)
        if epochs["epoch"].nunique() == 1:
            panel.set_xticks(epochs["epoch"].unique())
        most = epochs.loc[epochs["family"] == family, column].max()
        cut = f"\naxis cut at {limits[1]:.0%}: the first epochs reach {most:.0%}" if most > limits[1] else ""
        panel.set_title(f"{family}, {FOLLOWED[column]}{cut}", loc="left", fontsize=9)
    panels[0].set_ylabel(FOLLOWED[column])


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    lines = [
        f"{network['family']}{network['depth']}: {describe_error(network, s['seeds'])}, "
        f"training error {network['train_error_mean']:.2%} ({network['train_error_sd']:.2%})"
        for network in s["networks"]
    ]
    compared = [(f"{pair['family']}, {pair['to']} layers against {pair['from']}", pair) for pair in s["deepening"]]
    compared += [(f"{pair['depth']} layers, {pair['family']} against {pair['against']}", pair) for pair in s["between"]]
    lines += [f"{label}, {name} error: {verdict(pair[e])}" for label, pair in compared for e, name in ERRORS.items()]
    return "\n".join(lines)


DRAWINGS["degradation"] = Drawing(draw, describe, curves)
