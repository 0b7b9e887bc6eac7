"""The figure and the summary text of `keras_resnets.compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnets.reports.events import Curve
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted

if TYPE_CHECKING:
    import pandas as pd

WORDS = {"accuracy": "accuracy", "mean_iou": "mean IoU"}


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: the score of each run by epoch."""
    table, score = study.tables.get("curves"), study.summary["score"]
    if table is None:
        return {}
    column = _watched(table, score)
    what = column.replace("val_", "validation ").replace("_", " ")
    return {
        f"{what} of {name}": Curve(rows.set_index("epoch")[column].dropna(), "finished epochs", follows=True)
        for name, rows in table.groupby("network", sort=False)
    }


def _watched(table: pd.DataFrame, score: str) -> str:
    """Returns the column of the curves that is drawn: of validation, if there was any."""
    return f"val_{score}" if f"val_{score}" in table else score


def draw(study: Study):
    """Plots curves of training, scores with intervals, differences of pairs, and score against cost."""
    from keras_resnets.reports import figures

    s, rows = study.summary, study.rows
    has_curves = "curves" in study.tables
    figure, panels = figures.panels(2, 4.2 + max(4.2, 1.6 + 0.42 * len(rows)), rows=2)
    colours = _colours(rows)
    if has_curves:
        _draw_curves(panels[0], study.tables["curves"], rows, s["score"], colours)
    else:
        panels[0].set_axis_off()
        panels[0].text(0, 0.9, "No network comes from a run directory,\nso there are no curves of training.", va="top")
    _draw_scores(panels[1], study, colours)
    _draw_pairs(figure, panels[2], study.tables["pairs"], list(rows["network"]))
    labels = _draw_costs(panels[3], rows, s["score"], colours)
    places = sorted({name.rstrip("/").split("/")[-1] for name in s["data"].values()})
    figures.finish(figure, f"{len(rows)} networks on {', '.join(places)}, {s['split']}", 4, labels)
    return figure


def _colours(rows: pd.DataFrame) -> dict[str, Any]:
    """Returns the colour of each network; repeats of a recipe have the same one."""
    import matplotlib

    recipes = list(dict.fromkeys(rows["recipe"]))
    palette = matplotlib.colormaps["tab10" if len(recipes) <= 10 else "tab20"]
    return {name: palette(recipes.index(recipe) % palette.N) for name, recipe in _by_network(rows, "recipe").items()}


def _by_network(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    return dict(zip(rows["network"], rows[column], strict=True))


def _shortened(names: Sequence[Any], most: int = 26) -> list[str]:
    """Returns names of bounded length, without what is between their ends; numbered, if that leaves some alike."""
    names = [str(name) for name in names]
    start = most // 2
    short = [name if len(name) <= most else f"{name[:start]}…{name[1 + start - most :]}" for name in names]
    return short if len(set(short)) == len(set(names)) else [f"{i} {name}" for i, name in enumerate(short, 1)]


def _percent(axis) -> None:
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def _draw_curves(axes, table: pd.DataFrame, rows: pd.DataFrame, score: str, colours) -> None:
    """Draws the error of each run by epoch: of validation as a line, of training dotted."""
    watched, recipes, seen = _watched(table, score), _by_network(rows, "recipe"), set()
    every = list(dict.fromkeys(rows["recipe"]))
    labels = dict(zip(every, _shortened(every), strict=True))
    for name, epochs in table.groupby("network", sort=False):
        recipe = recipes[name]
        label = None if recipe in seen else labels[recipe]
        seen.add(recipe)
        look = {"color": colours[name], "marker": "o" if len(epochs) == 1 else None, "ms": 3}
        axes.plot(epochs["epoch"], 1 - epochs[watched], lw=1.4, label=label, **look)
        if watched != score:
            axes.plot(epochs["epoch"], 1 - epochs[score], lw=0.9, ls=":", **look)
    axes.plot([], [], color="0.3", lw=1.4, label="validation" if watched != score else "training")
    if watched != score:
        axes.plot([], [], color="0.3", lw=0.9, ls=":", label="training")
    axes.set(xlabel="epoch", ylabel="error" if score == "accuracy" else "1 - mean IoU")
    errors = 1 - table[[*{watched, score}]].to_numpy()
    least = errors[errors > 0].min(initial=1)
    if errors.max() > 20 * least:
        axes.set_yscale("log")
        axes.set_ylim(least / 1.3, min(1.05, 1.3 * errors.max()))
    else:
        axes.set_ylim(0, min(1.02, 1.08 * errors.max()))
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    _percent(axes.yaxis)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_scores(axes, study: Study, colours) -> None:
    """Draws the score of each network with its interval over examples, and the mean of each recipe's seeds."""
    rows, score = study.rows, study.summary["score"]
    for i, row in enumerate(rows.to_dict("records")):
        reach = [[abs(row[score] - row[f"{score}_low"])], [abs(row[f"{score}_high"] - row[score])]]
        axes.errorbar(row[score], i, xerr=reach, fmt="o", ms=5, capsize=2, color=colours[row["network"]])
        axes.annotate(f"{row[score]:.2%}", (row[score], i), (0, 5), textcoords="offset points", ha="center", fontsize=8)
    for i, recipe in enumerate(study.tables["recipes"].to_dict("records") if "recipes" in study.tables else []):
        places = np.flatnonzero(rows["recipe"] == recipe["recipe"])
        label = None if i else "mean over seeds, 95% t interval"
        colour = colours[rows["network"].iloc[places.max()]]
        bar = {"color": colour, "fmt": "D", "ms": 4.5, "capsize": 3, "label": label, "alpha": 0.6}
        half = min(recipe["half_interval"], 1.0)
        axes.errorbar(recipe["mean"], places.max() + 0.3, xerr=half, **bar)
    axes.set_yticks(range(len(rows)), _shortened(rows["network"]), fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    low, high = rows[f"{score}_low"].min(), rows[f"{score}_high"].max()
    room = 0.08 * (high - low)
    axes.set_xlim(max(0, low - room), min(1 + room, high + room))
    axes.set_xlabel(f"{WORDS[score]}, 95% interval over {_range(rows['examples'])} examples")
    _percent(axes.xaxis)
    axes.grid(axis="x", color="0.93")


def _count(number: float) -> str:
    """Returns a number of three to five digits with its unit."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 10 * unit:
            return f"{number / unit:,.0f} {letter}"
    return f"{number:,.0f}"


def _range(counts) -> str:
    low, high = counts.min(), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _draw_pairs(figure, axes, pairs: pd.DataFrame, names: list[str]) -> None:
    """Draws the differences of all pairs, row less column, in points; marked where they are more than chance."""
    size = len(names)
    values, marks = np.full((size, size), np.nan), np.full((size, size), "", object)
    for pair in pairs.to_dict("records"):
        i, j = names.index(pair["first"]), names.index(pair["second"])
        if not pair["paired"]:
            marks[i, j] = marks[j, i] = "–"
            continue
        mark = "*" if _is_significant(pair) else ""
        values[i, j], values[j, i] = pair["difference"], -pair["difference"]
        points = 100 * pair["difference"]
        marks[i, j], marks[j, i] = (f"{sign * points:+.2f}{mark}" if points else "0" for sign in (1, -1))
    import matplotlib

    most = np.nanmax(np.abs(values)) if np.isfinite(values).any() else 1.0
    palette = matplotlib.colormaps["RdBu"].with_extremes(bad="0.95")
    axes.imshow(values, cmap=palette, vmin=-(most or 1), vmax=most or 1, aspect="auto")
    for (i, j), text in np.ndenumerate(marks):
        dark = np.isfinite(values[i, j]) and abs(values[i, j]) > 0.6 * most
        axes.text(
            j, i, text, ha="center", va="center", fontsize=8 if size <= 6 else 7, color="white" if dark else "0.15"
        )
    shown = _shortened(names, 18)
    axes.set_xticks(range(size), shown, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(size), shown, fontsize=8)
    axes.spines[:].set_visible(False)
    test = "*: p < 0.05, McNemar, Holm" if "p_holm" in pairs else "*: 95% interval without 0"
    others = "" if pairs["paired"].all() else "; –: other images"
    axes.set_xlabel(f"row less column, points, by the same examples\n({test}{others})", fontsize=9)


def _is_significant(pair: dict[str, Any]) -> bool:
    p = pair.get("p_holm", np.nan)
    return bool(p < 0.05) if p is not None and np.isfinite(p) else bool(pair["low"] > 0 or pair["high"] < 0)


def _draw_costs(axes, rows: pd.DataFrame, score: str, colours) -> list[Any]:
    """Draws score against latency or, if not timed, multiply-adds or parameters; returns labels of the points."""
    choices = [("latency", 1e3, "milliseconds for one example, quartiles")]
    choices += [("macs", 1e-6, "multiply-adds, millions"), ("parameters", 1e-3, "parameters, thousands")]
    column, unit, label = next(choice for choice in choices if choice[0] in rows)
    values, names = unit * rows[column], _shortened(rows["network"], 18)
    at: dict[tuple[float, float], list[str]] = {}  # networks that are alike share a label
    for i, row in enumerate(rows.to_dict("records")):
        x, colour = unit * row[column], colours[row["network"]]
        reach = [[x - unit * row["latency_low"]], [unit * row["latency_high"] - x]] if column == "latency" else None
        axes.errorbar(x, row[score], xerr=reach, fmt="o", ms=6, color=colour, elinewidth=1)
        if row["recipe"] not in list(rows["recipe"][:i]):  # repeats are as large as each other
            at.setdefault((x, row[score]), []).append(f"{names[i]}: {_count(row['parameters'])} parameters")
    if values.max() > 8 * values.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(0.16, 0.2)
    axes.set_ylim(max(0, axes.get_ylim()[0]), min(1.02, axes.get_ylim()[1]))
    axes.set(xlabel=label, ylabel=WORDS[score])
    _percent(axes.yaxis)
    return [(axes, x, y, "\n".join(lines)) for (x, y), lines in at.items()]


def describe(study: Study) -> str:
    """Summarises the result: a table of the networks, then what tells them apart."""
    score, rows = study.summary["score"], study.rows
    paragraphs = [[_table(rows, score)], _describe_recipes(study), _describe_pairs(study.tables["pairs"])]
    return "\n".join(line for lines in paragraphs for line in lines)


def _describe_recipes(study: Study) -> list[str]:
    """Describes the spread over seeds, and what tells recipes apart."""
    words = WORDS[study.summary["score"]]
    if "recipes" not in study.tables:
        return []
    lines = [
        f"{recipe['recipe']}, {counted(recipe['seeds'], 'seed')}: {words} {recipe['mean']:.2%} on average "
        f"(standard deviation {100 * recipe['sd']:.2f}, from {recipe['least']:.2%} to {recipe['most']:.2%})"
        for recipe in study.tables["recipes"].to_dict("records")
    ]
    for pair in study.tables["recipe_pairs"].to_dict("records") if "recipe_pairs" in study.tables else []:
        p = "" if pair["p"] is None or not np.isfinite(pair["p"]) else f", p {pair['p']:.2g}"
        over = f"{pair['first']} less {pair['second']}, over {pair['by']}"
        lines.append(f"{over}: {_points(pair)}{p}: {_verdict(pair)} between the recipes")
    return lines


def _describe_pairs(pairs: pd.DataFrame, most: int = 10) -> list[str]:
    """Describes the differences of networks, of repeats only where there is nothing else."""
    shown = pairs[~pairs["repeats"]] if not pairs["repeats"].all() else pairs
    same, apart = shown[shown["paired"]], shown[~shown["paired"]]
    lines = [
        f"{pair['first']} less {pair['second']}, {_by_example(pair)}: {_verdict(pair)}"
        for pair in same.head(most).to_dict("records")
    ]
    if len(same) > most:
        lines.append(f"{len(same) - most} further pairs are in pairs.csv")
    if len(apart):
        names = "; ".join(f"{pair['first']} and {pair['second']}" for pair in apart.head(5).to_dict("records"))
        more = f"; and {len(apart) - 5} further pairs" if len(apart) > 5 else ""
        lines.append(f"measured on different images, so not compared by example: {names}{more}")
    return lines


def _points(pair: dict[str, Any]) -> str:
    low, high = (f"{100 * pair[end]:+.2f}" for end in ("low", "high"))
    return f"{100 * pair['difference']:+.2f} points (95 % interval {low} to {high})"


def _by_example(pair: dict[str, Any]) -> str:
    """Returns the difference of a pair, with what it was found from."""
    if pair.get("p") is None or not np.isfinite(pair["p"]):
        return f"by the same {int(pair['examples']):,} images: {_points(pair)}"
    return (
        f"by the same {int(pair['examples']):,} examples: {_points(pair)}, {int(pair['first_only'])} right against "
        f"{int(pair['second_only'])}, p {pair['p']:.2g}, {pair['p_holm']:.2g} adjusted"
    )


def _verdict(pair: dict[str, Any]) -> str:
    return "a difference" if _is_significant(pair) else "no significant difference"


def _table(rows: pd.DataFrame, score: str) -> str:
    """Returns the table of the networks as aligned text."""
    import pandas as pd

    shown = pd.DataFrame({"network": rows["network"], WORDS[score]: [f"{value:.2%}" for value in rows[score]]})
    bounds = zip(rows[f"{score}_low"], rows[f"{score}_high"], strict=True)
    shown["95 % interval"] = [f"{100 * low:.2f}-{100 * high:.2f}" for low, high in bounds]
    shown["examples"] = [f"{value:,}" for value in rows["examples"]]
    shown["loss"] = [f"{value:.4f}" for value in rows["loss"]]
    shown["parameters"] = [f"{value:,}" for value in rows["parameters"]]
    if "macs" in rows:
        shown["MACs"] = ["" if np.isnan(value) else _count(value) for value in rows["macs"]]
    if "latency" in rows:
        shown["ms"] = [f"{1e3 * value:.2f}" for value in rows["latency"]]
    if "epochs" in rows:
        shown["epochs"] = ["" if np.isnan(value) else f"{value:.0f}" for value in rows["epochs"]]
    return shown.to_string(index=False)


DRAWINGS["compare"] = Drawing(draw, describe, curves)
