"""Figures of trainings: the curves of one, and several beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# What is drawn of a training, the first that it has, with the label of the axis.
_SCORES = {"mean_iou": "mean intersection over union", "accuracy": "accuracy"}
# With more trainings, lines are no longer told apart by colour and dashes: the best is, among the rest in grey.
_FEW = 6
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))


def score_of(history: pd.DataFrame) -> str | None:
    """Returns the name of the main score in a table of epochs; None if it has none."""
    return next((name for name in _SCORES if name in history or f"val_{name}" in history), None)


def of_training(history: pd.DataFrame, title: str, best_epoch: int | None = None) -> Figure:
    """Draws the score and the loss of each epoch, in training and in validation."""
    from keras_resnets.reports import figures

    score = score_of(history)
    panels = [(score, _SCORES[score])] if score else []
    panels += [("loss", "loss")] if {"loss", "val_loss"} & set(history) else []
    figure, axes = figures.panels(len(panels) or 1, 4.2)
    marker = "o" if len(history) == 1 else None  # a line of one point is not seen
    for panel, (name, label) in zip(axes, panels, strict=False):
        splits = (("", "training", figures.OURS, "--"), ("val_", "validation", figures.INTACT, "-"))
        for prefix, words, colour, dashes in splits:
            if prefix + name in history:
                values = history[prefix + name]
                panel.plot(history["epoch"], values, dashes, color=colour, label=words, marker=marker)
        if best_epoch is not None and best_epoch in set(history["epoch"]):
            panel.axvline(best_epoch, color="0.6", lw=1, ls=":", label=f"best validation: epoch {best_epoch}")
        panel.set_ylabel(label)
        _epochs(panel)
        panel.grid(axis="y", color="0.9")
        _percent(panel, name)
    figures.finish(figure, title, 3)
    return figure


def of_several(histories: Mapping[str, pd.DataFrame], title: str) -> Figure | None:
    """Draws the validation score of each epoch of several trainings; None where they have none in common."""
    from keras_resnets.reports import figures

    scores = {score_of(history) for history in histories.values()}
    score = scores.pop() if len(scores) == 1 else "loss"
    column = f"val_{score}"
    shown = {name: history.dropna(subset=column) for name, history in histories.items() if column in history}
    shown = {name: history for name, history in shown.items() if len(history)}
    if len(shown) < 2 or score is None:
        return None
    figure, (axes,) = figures.panels(1, 4.6)
    sign = -1 if score == "loss" else 1
    best = max(shown, key=lambda name: (sign * shown[name][column]).max())
    for i, (name, history) in enumerate(shown.items()):
        few = len(shown) <= _FEW
        style = {"color": figures.COLOURS[i % 5], "ls": _DASHES[i]} if few else {"color": "0.7", "lw": 0.8}
        if not few and name == best:
            style = {"color": figures.OURS, "lw": 1.8, "zorder": 4}
        label = name if few else f"best: {name}" if name == best else f"the other {len(shown) - 1}"
        axes.plot(
            history["epoch"], history[column], label=label, marker="o" if len(history) < 4 else None, ms=4, **style
        )
    axes.set_ylabel(f"{_SCORES.get(score, 'loss')} in validation")
    _epochs(axes)
    axes.grid(axis="y", color="0.9")
    _percent(axes, score)
    figures.finish(figure, title, 2)
    return figure


def of_results(rows: pd.DataFrame, title: str) -> Figure:
    """Draws the test accuracy of several runs with their intervals, one below the other, the best first.

    Args:
        rows: `run`, `accuracy`, `low` and `high`, one row for each run.
        title: the figure's title.
    """
    from keras_resnets.reports import figures

    ordered = rows.sort_values("accuracy", ascending=False, kind="stable").reset_index(drop=True)
    figure, (axes,) = figures.panels(1, 1.9 + 0.3 * len(ordered))
    reach = [ordered["accuracy"] - ordered["low"], ordered["high"] - ordered["accuracy"]]
    places = list(range(len(ordered)))
    axes.errorbar(
        ordered["accuracy"],
        places,
        xerr=[spread.clip(lower=0) for spread in reach],
        fmt="o",
        ms=5,
        color=figures.OURS,
        label="test accuracy, 95 % interval over the examples",
    )
    axes.set_yticks(places, [name if len(name) < 45 else f"…{name[-44:]}" for name in ordered["run"]])
    axes.set(ylim=(len(ordered) - 0.5, -0.5), xlabel="test accuracy")
    axes.grid(axis="x", color="0.9")
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
    figures.finish(figure, title)
    return figure


def _epochs(axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def _percent(axes, name: str) -> None:
    if name != "loss":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
