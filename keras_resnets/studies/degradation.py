"""Plain and residual networks by depth: He et al. 2015, Fig. 6."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture import budget, variants
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.reports.statistics import verdict
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.runs import read_csv
from keras_resnets.studies.arms import against, facts, over_seeds, told, train_arms
from keras_resnets.studies.cells import Cell
from keras_resnets.training import recipes
from keras_resnets.training.feeding import data_for
from keras_resnets.training.recipes import Recipe

if TYPE_CHECKING:
    import pandas as pd

ERRORS = {"error": "test", "train_error": "training"}
# After each epoch, with the line and the name in the figure.
FOLLOWED = {"train_error": ("--", "training error"), "test_error": ("-", "test error")}


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

    He et al. (2015, section 4.2, Fig. 6) find that a deeper plain network has the larger error, and
    that already while training, which overfitting cannot explain: they call it degradation. Residual
    networks of the same parameters get better with depth. On CIFAR-10, after 64,000 steps, theirs err
    by 8.75 % at 20 layers, 7.51 % at 32, 7.17 % at 44, 6.97 % at 56 and 6.43 % at 110 (Table 6).

    As for that figure, networks are trained on the whole training split, and the test split is followed
    after each epoch. Nothing is chosen by it: the networks compared are those of the last epoch. Training
    error is the mean over the batches of an epoch, each as the weights were when it came, augmentation and
    batch statistics included, as a log of training has it.

    Args:
        data: as for `keras_resnets.train`; a `Data` must be loaded with `validation="test"`.
        recipe: as for `keras_resnets.train`.
        out: where the networks are trained, below `cells`; the same call goes on there after a kill.
        depths: in layers, as in the names of the variants.
        families: `"plain"`, `"resnet"`, `"preresnet"`: what gives, with a depth appended, a variant's
            name. All are compared with the first.
        seeds: how many trainings of each network, 2 to 16.
        epochs: as for `keras_resnets.train`.
        seed: the first one; the others follow it.
        verbose: whether to say a line for each network trained.

    Returns:
        A `Study` with a row for every family, depth and seed: `family`, `depth`, the columns of
        `keras_resnets.studies.cells.train_cells` without `best_epoch`, and `train_error` in the last epoch.
        Its table `epochs` has `train_error` and `test_error` after each. The summary gives means, standard
        deviations and intervals over seeds, and differences paired by seed, of both errors: from the least
        to the greatest depth of each family, and between families at each depth.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.degradation("digits", out="degradation")  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    import pandas as pd

    networks = _networks(families, depths)
    if isinstance(data, Data) and data.options["validation"] != "test":
        raise ArgumentError(
            f"data must be loaded with validation='test', for the test split is followed while training on all of "
            f"the training split; got validation={data.options['validation']!r}."
        )
    if not isinstance(data, Data):
        data = data_for(recipes.get(recipe), data, validation="test")
    arms = [Cell({"family": f, "depth": d}, name, recipe, epochs) for (f, d), name in networks.items()]
    rows = train_arms(arms, data, out=out, seeds=seeds, seed=seed, verbose=verbose)
    followed = [_followed(row, Path(out)) for row in rows.to_dict("records")]
    rows.insert(3, "train_error", [epochs_of["train_error"].iloc[-1] for epochs_of in followed])
    # With nothing held out, it would be that of the least training error.
    rows = rows.drop(columns="best_epoch")
    by = dict(list(rows.groupby(["family", "depth"])))
    depths = sorted(depths)
    summary = {
        "families": list(families),
        "depths": depths,
        "epochs": epochs,
        **facts(rows),
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
    return Study("degradation", rows, summary, tables={"epochs": pd.concat(followed, ignore_index=True)})


def _networks(families: Sequence[str], depths: Sequence[int]) -> dict[tuple[str, int], str]:
    """The variants' names by family and depth."""
    for argument, values in {"families": families, "depths": depths}.items():
        if isinstance(values, str) or not values or len({*values}) < len(values):
            raise ArgumentError(f"{argument} must be one or several, each of them once; got {values!r}.")
    for depth in depths:
        whole_number("depths", depth, 1)
    names = {(family, depth): f"{family}{depth}" for depth in depths for family in families}
    # Such as resnet50, which is no deeper resnet20 but another network.
    specs = {name: budget.with_blocks(variants.spec(name), 1) for name in names.values()}
    for (family, _), name in names.items():
        for other, field in ((names[family, depths[0]], "stages"), (names[families[0], depths[0]], "stem")):
            if getattr(specs[name], field) != getattr(specs[other], field):
                raise ArgumentError(
                    f"depths must be of networks that differ in the number of blocks alone; got {other!r} and "
                    f"{name!r}, of another {field.removesuffix('s')}. Leave one of them out."
                )
    return names


def _followed(row: dict[str, Any], out: Path) -> pd.DataFrame:
    """Both errors of one training after each epoch."""
    import pandas as pd

    history = read_csv(out / row["run"] / "history.csv")
    columns: dict[str, Any] = {key: row[key] for key in ("family", "depth", "seed")}
    columns |= {"epoch": history["epoch"], "train_error": 1 - history["accuracy"]}
    return pd.DataFrame({**columns, "test_error": 1 - history["val_accuracy"]})


def _against(rows: pd.DataFrame, others: pd.DataFrame) -> dict[str, Any]:
    return {column: against(rows, others, column) for column in ERRORS}


def curves(study: Study) -> dict[str, pd.Series]:
    """For TensorBoard: both errors by epoch, medians over seeds."""
    medians = study.tables["epochs"].groupby(["family", "depth", "epoch"])[[*FOLLOWED]].median()
    networks = medians.index.droplevel("epoch").unique()
    return {f"{family}{depth}/{e}": medians.loc[family, depth][e] for family, depth in networks for e in medians}


def draw(study: Study):
    """The paper's figure for each family, and the last epoch's test error against depth."""
    import pandas as pd

    from keras_resnets.reports import figures

    summary, epochs = study.summary, study.tables["epochs"]
    figure, (*panels, last) = figures.panels(len(summary["families"]) + 1, 4.8)
    # As in the paper's figure, the first epochs are cut off: what is to be seen are the last.
    limits = figures.room(3 * epochs.loc[epochs["epoch"] == epochs["epoch"].max(), [*FOLLOWED]])
    for style, name in FOLLOWED.values():
        panels[0].plot([], [], style, color="0.3", label=f"{name}: median, and extremes of seeds")
    for panel, family in zip(panels, summary["families"], strict=True):
        for depth, colour in figures.by_time(summary["depths"], len(summary["depths"])).items():
            found = epochs[(epochs["family"] == family) & (epochs["depth"] == depth)].groupby("epoch")
            for column, (style, _) in FOLLOWED.items():
                label = f"{depth} layers" if style == "-" else None
                median, low, high = (found[column].agg(how) for how in ("median", "min", "max"))
                panel.plot(median.index, median, style, color=colour, lw=1.3, label=label)
                panel.fill_between(low.index, low, high, color=colour, alpha=0.12, lw=0)
        panel.set(title=family, xlabel="epoch", ylim=limits)
        panel.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
        panel.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("error")
    points, dots = (t.rename(columns={"family": "group"}) for t in (pd.DataFrame(summary["networks"]), study.rows))
    points = figures.ends(points)
    figures.over_depth(last, points, figures.MEAN, dots)
    figures.errors(last, summary, limits=figures.room(points["error_high"], dots["error"]))
    figures.finish(figure, f"Degradation by depth after {summary['epochs']} epochs, {summary['seeds']} seeds", 4)
    return figure


def describe(study: Study) -> str:
    """The finding in a few lines."""
    s = study.summary
    lines = [
        f"{found['family']}{found['depth']}: {told(found, s['seeds'])}, training error {found['train_error_mean']:.2%} "
        f"({found['train_error_sd']:.2%})"
        for found in s["networks"]
    ]
    compared = [(f"{found['family']}, {found['to']} layers against {found['from']}", found) for found in s["deepening"]]
    compared += [
        (f"{found['depth']} layers, {found['family']} against {found['against']}", found) for found in s["between"]
    ]
    lines += [f"{who}, {name} error: {verdict(found[e])}" for who, found in compared for e, name in ERRORS.items()]
    return "\n".join(lines)


DRAWINGS["degradation"] = Drawing(draw, describe, curves)
