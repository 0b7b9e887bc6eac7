"""The figure and the summary text of `keras_resnets.prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_resnets.reports import figures
from keras_resnets.reports.events import Curve
from keras_resnets.reports.study import DRAWINGS, Drawing, Study

if TYPE_CHECKING:
    import pandas as pd

# The states of a network, with colour, marker and label.
STATES = {
    "dropped": (figures.OURS, "o", "blocks dropped"),
    "recalibrated": ("tab:green", "s", "and batch-norm statistics recomputed"),
    "fine-tuned": (figures.OTHER, "D", "and fine-tuned"),
}
# The state of the whole network that was fine-tuned like the pruned one.
CONTROL = "whole fine-tuned"
# What is timed, with its name: exports, or where Keras does not compute with TensorFlow, which writes them, Keras.
FORMATS = {"saved_model": "SavedModel", "litert": "LiteRT", "keras": "Keras"}


def timed(rows: pd.DataFrame) -> list[str]:
    """Returns what was timed: exports, or Keras."""
    return [name for name in FORMATS if f"{name}_latency" in rows]


def ends(rows: pd.DataFrame) -> list[pd.Series]:
    """Returns the rows of the whole network, and of the one after the last drop in each of its states.

    The whole network that was fine-tuned like the pruned one, if there is one, comes second.
    """
    whole = rows["state"].isin(["whole", CONTROL])
    last = rows[(rows["dropped"] == rows["dropped"].max()) & ~whole]
    return [row for part in (rows[whole], last) for _, row in part.iterrows()]


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: error by number of dropped blocks, in each state."""
    states = study.rows.groupby("state", sort=False)
    return {
        f"error, {state}": Curve(rows.set_index("dropped")["error"], "number of dropped blocks", follows=True)
        for state, rows in states
    }


def draw(study: Study):
    """Plots error against the number of dropped blocks, and against latency or, if not timed, multiply-adds."""
    s, rows = study.summary, study.rows
    axis = [
        (f"{name}_latency", 1e3, f"milliseconds for one image by {FORMATS[name]}, quartiles") for name in timed(rows)
    ]
    axis = axis or [("macs", 1e-6, "multiply-adds, millions")]
    figure, panels = figures.panels(1 + len(axis))

    # The error of each state, against each axis. By the number of dropped blocks, states stand side by side, so that
    # no interval hides another, and lines show the order; measured times come in no order.
    for axes, (column, unit, label) in zip(panels, [("dropped", 1, ""), *axis], strict=True):
        intact, ordered = s["intact"]["error"], column in ("dropped", "macs")
        axes.axhline(intact, color=figures.INTACT, lw=1.2, label=f"left whole: {intact:.1%}", zorder=1)
        for _, row in rows[rows["state"] == CONTROL].iterrows():
            axes.axhline(
                row["error"], color=figures.OTHER, lw=1.2, ls="--", label=f"whole, fine-tuned: {row['error']:.1%}"
            )
        for i, (state, (colour, marker, name)) in enumerate(STATES.items()):
            points = rows[rows["state"].isin([state] if state != "dropped" else ["whole", state])].dropna(subset=column)
            places = unit * points[column] + (0.18 * (i - 1) if column == "dropped" else 0)
            if len(points):
                figures.with_intervals(axes, places, points, colour, name, marker)
                if len(points) > 1 and ordered:
                    axes.plot(places, points["error"], color=colour, lw=1, zorder=2)
        axes.set_xlabel(label or f"number of dropped blocks, of {s['blocks']}")
        figures.errors(axes, s, ", 95% interval", figures.room(rows["error_high"]))

    # The number of dropped blocks beside points whose axis does not show it.
    panels[0].xaxis.get_major_locator().set_params(integer=True)
    labels = []
    for axes, (column, unit, _) in zip(panels[1:], axis, strict=True):
        points = rows[rows["state"].isin(["whole", "dropped"])].dropna(subset=column)
        labels += _label_points(axes, points, column, unit)
    what = f"drop {len(s['dropped'])} of {s['blocks']} blocks, {s['method'].replace('_', '-')}"
    figures.finish(figure, figures.heading(s, what), 4, labels)
    return figure


def _label_points(axes, points: pd.DataFrame, column: str, unit: float) -> list[Any]:
    """Returns labels of about six of the points, their number of dropped blocks, and draws quartiles of latency."""
    if f"{column}_low" in points:
        reach = [unit * abs(points[column] - points[f"{column}_{end}"]) for end in ("low", "high")]
        axes.errorbar(unit * points[column], points["error"], xerr=reach, fmt="none", color="0.75", lw=3, zorder=0)
    last = points["dropped"].max()
    return [
        (axes, unit * row[column], row["error"], f"{row['dropped']}{' dropped' if row['dropped'] == last else ''}")
        for _, row in points.iloc[:: -max(1, round(len(points) / 6))].iterrows()
    ]


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s, rows = study.summary, study.rows
    whole, *last = ends(rows)
    if not last or not s["dropped"]:
        return f"no block of {s['model']} can be dropped within a tolerance of {s['tolerance']} on {s['chosen_on']}"
    names, end = s["dropped"], last[-1]
    lines = [
        f"{len(names)} of {s['blocks']} blocks dropped, {s['method'].replace('_', '-')}, on {s['chosen_on']}: "
        f"{', '.join(names)}",
        f"error {_describe_error(whole)} whole, "
        + ", ".join(f"{_describe_error(row)} {row['state']}" for row in last)
        + f"; over {s['examples']:,} examples",
        f"parameters {whole['parameters']:,} to {end['parameters']:,} ({end['parameters'] / whole['parameters']:.0%}), "
        f"multiply-adds {whole['macs']:,} to {end['macs']:,} ({end['macs'] / whole['macs']:.0%})",
    ]
    for name in timed(rows):
        before, after = (_describe_latency(row, f"{name}_latency") for row in (whole, end))
        ratio = end[f"{name}_latency"] / whole[f"{name}_latency"]
        lines.append(f"one image by {FORMATS[name]}: {before} to {after} ms ({ratio:.0%})")
    return "\n".join(lines)


def _describe_error(row: Any) -> str:
    """Returns an error with its interval, in per cent."""
    return f"{row['error']:.2%} ({100 * row['error_low']:.2f} to {100 * row['error_high']:.2f})"


def _describe_latency(row: Any, column: str) -> str:
    """Returns a latency with its quartiles, in milliseconds."""
    median, low, high = (1e3 * row[name] for name in (column, f"{column}_low", f"{column}_high"))
    return f"{median:.3g} ({low:.3g} to {high:.3g})"


DRAWINGS["prune"] = Drawing(draw, describe, curves)
