"""The figure and text of a search's results, after Wu et al. 2016, Table 1, and WRN, Table 4."""

from __future__ import annotations

from keras_resnets.reports import figures
from keras_resnets.reports.events import Curve
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted

# Costs with their axis labels and the factors of their units.
COSTS = {
    "parameters": ("parameters, thousands", 1e-3),
    "macs": ("multiply-adds, millions", 1e-6),
    "activations": ("activations, thousands", 1e-3),
    "latency": ("milliseconds for one image", 1e3),
}
# Choices that may set the colour of a trial; the first that varies does.
KINDS = ("unit", "placement", "shortcut", "skip", "paths")


def curves(study: Study) -> dict[str, Curve]:
    """Returns, for TensorBoard, the smallest and the median error by depth."""
    errors = study.rows[study.rows["status"] == "completed"].groupby("depth")["error"]
    values = {"least error by depth": errors.min(), "median error by depth": errors.median()}
    return {name: Curve(series, "depth in layers") for name, series in values.items()}


def draw(study: Study):
    """Draws error against depth at the budget, and error against the other costs with the Pareto front."""
    from matplotlib.ticker import MaxNLocator

    # Error against depth.
    s, rows = study.summary, study.rows[study.rows["status"] == "completed"]
    costs = [cost for cost in ("parameters", "macs", "latency") if cost != s["measure"]]
    figure, (left, *others) = figures.panels(1 + len(costs))
    kind = next((name for name in KINDS if name in rows and rows[name].nunique() > 1), None)
    trials = rows.assign(group=rows[kind].astype(str) if kind else s["model"])
    figures.over_depth(left, trials, "a trial, 95% interval over images")
    medians = trials.groupby("depth")["error"].median()
    left.plot(medians.index, medians, color="0.6", lw=1.2, zorder=1, label="median of a depth")
    left.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    left.set_xlabel("layers; the width follows from the budget")

    # Error against each other cost.
    for axes, cost in zip(others, costs, strict=True):
        name, unit = COSTS[cost]
        for colour, group in zip(figures.COLOURS, trials["group"].unique(), strict=False):
            of_group = trials[trials["group"] == group]
            figures.with_intervals(axes, unit * of_group[cost], of_group, colour, None, "D")
        front = trials[trials[f"front_{cost}"]].sort_values(cost)
        label = "front: none is better in both"
        ring = {"marker": "o", "ms": 9, "mfc": "none", "color": "0.2", "lw": 1.2, "zorder": 2}
        axes.step(unit * front[cost], front["error"], where="post", label=label, **ring)
        axes.set_xlabel(name)
    for axes in (left, *others):
        figures.errors(axes, s, ", validation split", figures.room(trials["error_high"]) if len(trials) else (0, 1))
    trained = f"{counted(len(rows), 'trial')} of {counted(s['epochs'], 'epoch')}"
    title = f"{s['model']} at {s['budget']:,} {s['measure']}: {trained} on {s['data']}"
    figures.finish(figure, title, 4)
    return figure


def describe(study: Study) -> str:
    """Returns the results in a few lines of text."""
    s, rows = study.summary, study.rows.set_index("trial")
    states = ", ".join(f"{count} {status}" for status, count in rows["status"].value_counts().items())
    budget = f"{s['budget']:,} {s['measure']} (within {s['tolerance']:.0%})"
    lines = [f"{counted(s['trials'], 'trial')} by {s['oracle']} at {budget}: {states}"]
    lines += [
        f"{d['depth']} layers: {counted(d['trials'], 'trial')}, validation error median {d['median']:.2%} "
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


DRAWINGS["search"] = Drawing(draw, describe, curves)
