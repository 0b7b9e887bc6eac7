"""How what `keras_resnets.search` found is drawn and told, after Wu et al. 2016, Table 1, and WRN, Table 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_resnets.studies import figures
from keras_resnets.studies.study import Study

if TYPE_CHECKING:
    import pandas as pd

# Costs on an axis: what they are called there, and in which unit.
COSTS = {
    "parameters": ("parameters, thousands", 1e-3),
    "macs": ("multiply-adds, millions", 1e-6),
    "activations": ("activations, thousands", 1e-3),
    "latency": ("milliseconds for one image", 1e3),
}
# What may tell trials apart by colour; the first that varies does.
KINDS = ("unit", "placement", "shortcut", "skip", "paths")


def curves(study: Study) -> dict[str, pd.Series]:
    """For TensorBoard: the least and the median error by depth."""
    found = study.rows[study.rows["status"] == "completed"].groupby("depth")["error"]
    return {"least_error_by_depth": found.min(), "median_error_by_depth": found.median()}


def draw(study: Study):
    """Error against depth at the budget; error against what differs between networks that meet it, with the front."""
    s, rows = study.summary, study.rows[study.rows["status"] == "completed"]
    costs = [cost for cost in ("parameters", "macs", "latency") if cost != s["measure"]]
    figure, (left, *others) = figures.panels(1 + len(costs))
    kind = next((name for name in KINDS if name in rows and rows[name].nunique() > 1), None)
    groups = list(rows.groupby(kind)) if kind else [("", rows)]
    for colour, (name, found) in zip(figures.COLOURS, groups, strict=False):
        label = f"{kind} {name}" if kind else "a network, 95% interval over images"
        figures.with_intervals(left, found["depth"], found, colour, label)
        for axes, cost in zip(others, costs, strict=True):
            figures.with_intervals(axes, COSTS[cost][1] * found[cost], found, colour, label)
    medians = rows.groupby("depth")["error"].median()
    left.plot(medians.index, medians, color="0.4", lw=1.2, zorder=2, label="median of a depth")
    for axes, cost in zip(others, costs, strict=True):
        name, unit = COSTS[cost]
        front = rows[rows[f"front_{cost}"]].sort_values(cost)
        label = "front: none is better in both"
        axes.step(unit * front[cost], front["error"], where="post", color="0.2", lw=1.4, zorder=2, label=label)
        axes.set_xlabel(name)
    left.set_xlabel("layers; the width follows from the budget")
    top = min(1.0, 1.15 * float(rows["error_high"].max())) if len(rows) else 1.0
    for axes in (left, *others):
        figures.errors(axes, s, ", validation split", (0, top))
    title = f"{s['model']} at {s['budget']:,} {s['measure']}: {len(rows)} trials of {s['epochs']} epochs on {s['data']}"
    figures.finish(figure, title, 4)
    return figure


def describe(study: Study) -> str:
    """The finding in a few lines."""
    s, rows = study.summary, study.rows.set_index("trial")
    states = ", ".join(f"{count} {status}" for status, count in rows["status"].value_counts().items())
    budget = f"{s['budget']:,} {s['measure']} (within {s['tolerance']:.0%})"
    lines = [f"{s['trials']} trials by {s['oracle']} at {budget}: {states}"]
    lines += [
        f"{d['depth']} layers: {d['trials']} trials, validation error median {d['median']:.2%} "
        f"(quartiles {d['low']:.2%} to {d['high']:.2%}), least {d['best']:.2%}"
        for d in s["by_depth"]
    ]
    if s["best"] is not None:
        best = rows.loc[s["best"]]
        values = {name: best[name] for name in s["choices"]}
        chosen = ", ".join(f"{name} {v:.3g}" if isinstance(v, float) else f"{name} {v}" for name, v in values.items())
        lines.append(
            f"best: trial {s['best']} ({chosen}), {best['depth']} layers, {best['widths']} wide, "
            f"{best['parameters']:,} parameters, {best['macs']:,} multiply-adds; validation error "
            f"{best['error']:.2%} over {s['examples']:,}, test error {best['test_error']:.2%} "
            f"over {s['test_examples']:,}"
        )
    return "\n".join(lines)
