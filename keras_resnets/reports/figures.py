"""Elements shared by the figures of all studies: panels, percent axes, stages in the background, boxes."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from keras_resnets.errors import ArgumentError
from keras_resnets.reports import labels as _labels

OURS, OTHER, PAPER, INTACT = "tab:blue", "tab:red", "0.45", "tab:orange"
# Of light to dark, for stages from input to output.
BY_STAGE = ("#9ecae1", "#4292c6", "#08519c", "#08306b")
MEAN = "mean, 95% t interval over seeds"
COLOURS = (OURS, OTHER, "tab:green", "tab:purple", "tab:brown")


# The names of stages above panels, which are shortened where they do not fit.
_STAGES: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
# Panels of the caller's own to draw in, instead of a figure of ours.
_GIVEN: ContextVar[list[Any] | None] = ContextVar("given", default=None)


@contextlib.contextmanager
def drawn_in(axes) -> Iterator[None]:
    """Lets figures be drawn in the given panels, one or several; None for a new figure."""
    token = _GIVEN.set(None if axes is None else list(np.ravel(np.array(axes, dtype=object))))
    try:
        yield
    finally:
        _GIVEN.reset(token)


def panels(count: int = 1, height: float = 4.6, rows: int = 1, widths: Sequence[float] | None = None, width: float = 0):
    """Creates a figure with `rows` rows of `count` panels each, or takes the panels of `drawn_in`.

    Args:
        count: the panels of a row.
        height: of the figure, in inches.
        rows: of panels.
        widths: of the panels of a row, relative to each other; equal by default.
        width: of the figure, in inches; by default it depends on `count`.
    """
    given = _GIVEN.get()
    if given is not None:
        if len(given) != rows * count:
            raise ArgumentError(
                f"axes must be as many as the study's figure has panels, {rows * count}; got {len(given)}. For "
                f"example: matplotlib.pyplot.subplots({rows}, {count})[1]."
            )
        return given[0].figure, given
    from matplotlib.figure import Figure

    size = width or (9 if count == 1 else 5.4 * count)
    figure = Figure(figsize=(size, height), layout="constrained")
    axes = figure.subplots(rows, count, squeeze=False, width_ratios=widths).ravel()
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def place(summary: Mapping[str, Any]) -> str | None:
    """Returns the name of the data of a study; None for a study of an early version, which did not write it down."""
    data = summary.get("data")
    if data is None:
        return None
    return "the given data" if data in ("given", "arrays") else Path(str(data)).name


def is_cifar10(summary: Mapping[str, Any]) -> bool:
    """Whether a study is of CIFAR-10, the set of the papers' figures, as far as the name of its data tells."""
    return (place(summary) or "").split(":")[0].lower() in ("cifar10", "cifar-10")


def heading(summary: Mapping[str, Any], what: str) -> str:
    """Returns the title of a figure: the network, the data, the number of examples, and what was done."""
    subject = " on ".join(name for name in (summary.get("model"), place(summary)) if name)
    return f"{f'{subject}, ' if subject else ''}{summary['examples']:,} examples: {what}"


def with_paper(summary: Mapping[str, Any], widths: Sequence[float] = (1,), width: float = 9):
    """Creates panels in a row, with the panel for what a paper measured of ResNet-110, of 54 blocks, on CIFAR-10.

    Returns:
        The figure, the panels, and the one to draw the paper's values in: the first, if the study's network and data
        are like the paper's; a faint one of its own, if only the network is; None for another network.
    """
    alike = summary["blocks"] == 54
    same = alike and is_cifar10(summary)
    apart = alike and not same and _GIVEN.get() is None
    every = [*widths, *([0.4 * max(widths)] if apart else [])]
    figure, axes = panels(len(every), widths=every, width=width * sum(every) / max(every))
    if not apart:
        return figure, axes, axes[0] if same else None
    *axes, paper = axes
    paper.spines[:].set_color("0.75")
    paper.tick_params(colors="0.55")
    paper.xaxis.label.set_color("0.55")
    paper.set_title("the paper's own:\nResNet-110 on CIFAR-10", fontsize=9, color="0.55", pad=14)
    return figure, axes, paper


def errors(
    axes, summary: Mapping[str, Any], note: str = "", limits: tuple[float, float] = (0, 1), axis: str = "y"
) -> None:
    """Formats an axis, by default the vertical one, for errors, and labels it with the number of examples."""
    name = "top-1 error" if summary["labels"] == "given" else "answers unlike the whole network's"
    axes.set(**{f"{axis}label": f"{name}{note}\nover {summary['examples']:,} examples", f"{axis}lim": limits})
    getattr(axes, f"{axis}axis").set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def room(*values) -> tuple[float, float]:
    """Returns limits of an axis of errors with space above the largest of the values, arrays or numbers."""
    return 0, min(1.0, 1.05 * max(float(np.max(value)) for value in values)) or 1.0


def stage_bands(axes, stages: Sequence[str]) -> None:
    """Shades every other stage behind block numbers, which start at 1, and labels all stages."""
    starts = [i + 1 for i in range(len(stages)) if i == 0 or stages[i] != stages[i - 1]]
    for k, (start, end) in enumerate(zip(starts, [*starts[1:], len(stages) + 1], strict=True)):
        axes.axvspan(start - 0.5, end - 0.5, color="0.95" if k % 2 == 0 else "white", zorder=0, lw=0)
        place = {"transform": axes.get_xaxis_transform(), "ha": "center"}  # above the panel, whatever its values
        name = axes.text((start + end - 1) / 2, 1.01, stages[start - 1], color="0.4", fontsize=8, **place)
        _STAGES.setdefault(axes, []).append(name)
    axes.set_xlim(0.5, len(stages) + 0.5)


def with_intervals(axes, x, rows, colour: str, label: str | None, marker: str = "o") -> None:
    """Draws errors with their intervals over examples."""
    spread = [rows["error"] - rows["error_low"], rows["error_high"] - rows["error"]]
    axes.errorbar(
        x,
        rows["error"],
        np.abs(spread),
        fmt=marker,
        color=colour,
        elinewidth=0.8,
        markersize=4.2,
        label=label,
        zorder=3,
    )


def seeds_by_arm(axes, values, means, names: Mapping[str, str], colour: str, label: str) -> None:
    """Draws a row for each arm, from top to bottom: a dot for every seed, and the mean with its interval.

    Args:
        axes: the axes to draw on.
        values: a pandas.DataFrame with a column for each arm and a row for each seed.
        means: for each arm the mean, and the lengths of its interval downwards and upwards.
        names: the labels of the arms.
        colour: the colour of the means.
        label: the legend's label of the means.
    """
    for i, arm in enumerate(values):
        mean, lengths = means[arm]
        axes.plot(values[arm], [i] * len(values), "o", color="0.4", ms=4.5, alpha=0.6, label=None if i else "a seed")
        legend = None if i else label  # once for all arms
        bar = {"fmt": "D", "ms": 5, "capsize": 3, "color": colour, "label": legend, "zorder": 4}
        axes.errorbar(mean, i + 0.2, xerr=[[length] for length in lengths], **bar)
    axes.set_yticks(range(values.shape[1]), [names[arm] for arm in values])
    axes.set_ylim(values.shape[1] - 0.4, -0.6)


def ends(points, column: str = "error"):
    """Returns the table `points` of means of a column over seeds with the columns that `with_intervals` draws."""
    mean, half = points[f"{column}_mean"], points[f"{column}_half_interval"]
    return points.assign(error=mean, error_low=mean - half, error_high=mean + half)


def over_depth(axes, points, label: str, dots=None) -> None:
    """Draws errors with their intervals against depth in layers, in a colour for each group of networks.

    Args:
        axes: the axes to draw on.
        points: a pandas.DataFrame of `depth`, `error`, `error_low`, `error_high` and `group`; a group with one
            point at each depth is connected by a line.
        label: the legend's label of a point.
        dots: a pandas.DataFrame of `depth`, `error` and `group` with the single trainings behind the points.
    """
    depths, groups = sorted(points["depth"].unique()), list(points["group"].unique())
    # Side by side, so that no interval hides another.
    step = 0.1 * (min(np.diff(depths)) if len(depths) > 1 else 1)
    for i, group in enumerate(groups):
        colour, means = COLOURS[i % len(COLOURS)], points[points["group"] == group].sort_values("depth")
        shift = step * (i - (len(groups) - 1) / 2)
        name = f"{group}: " if len(groups) > 1 else ""
        with_intervals(axes, means["depth"] + shift, means, colour, f"{name}{label}", "D")
        if means["depth"].is_unique:
            axes.plot(means["depth"] + shift, means["error"], color=colour, lw=1)
        if dots is not None:
            single = dots[dots["group"] == group]
            place = single["depth"] + shift + (0.8 if shift >= 0 else -0.8) * step
            axes.plot(place, single["error"], "o", ms=3.5, color=colour, alpha=0.5, label=f"{name}a seed")
    axes.set_xticks(depths)
    axes.set_xlabel("depth in layers")


def boxes(axes, groups: dict[float, Sequence[float]], width: float, label: str) -> None:
    """Draws a box of quartiles over draws at each position, with whiskers to the extremes within 1.5 times the box."""
    drawn = axes.boxplot(
        list(groups.values()),
        positions=list(groups),
        widths=width,
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": "#c6dbef", "edgecolor": OURS},
        medianprops={"color": OURS, "linewidth": 1.6},
        whiskerprops={"color": OURS},
        capprops={"color": OURS},
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": OURS},
    )
    drawn["boxes"][0].set_label(label)


# With more bars than this, they are drawn as lines.
MANY = 200


def bars(values, what: str, axis: str, title: str = ""):
    """Draws a figure of a bar for each of the values, whatever they stand beside: blocks, classes, seeds.

    Args:
        values: a pandas.Series; what is not finite has no bar.
        what: what the values are.
        axis: what its index is.
        title: the network and the data.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(24, max(6, 2 + 0.3 * len(values))), 4.4), layout="constrained")
    axes, names = figure.subplots(), [str(name) for name in values.index]
    places = np.arange(len(names))
    heights = values.to_numpy(float)
    if len(names) <= MANY:
        axes.bar(places, heights, color=OURS, width=0.7)
    else:  # one artist: matplotlib needs a millisecond and more for each bar
        axes.vlines(places, 0, heights, color=OURS, lw=max(0.3, 0.7 * 72 * figure.get_figwidth() / len(names)))
    axes.spines[["top", "right"]].set_visible(False)
    shown = places[:: max(1, len(names) // 70)]
    is_long = max(map(len, names), default=0) > 3
    axes.set_xticks(shown, [names[i] for i in shown], rotation=90 if is_long else 0, fontsize=8)
    axes.set(xlabel=axis, ylabel=what, xlim=(-0.6, len(names) - 0.4))
    if title:
        axes.set_title(title, loc="left", fontsize=10)
    return figure


def decades(axes) -> None:
    """Makes the vertical axis logarithmic, with labels at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def far(axes, linear: float) -> None:
    """Makes the horizontal axis linear up to a distance `linear` from 0, and logarithmic beyond."""
    from matplotlib.ticker import FixedLocator, NullLocator

    formatter, (low, high) = axes.xaxis.get_major_formatter(), axes.get_xlim()
    axes.set_xscale("symlog", linthresh=linear)
    steps = (0.5, 1, 2.5, 5, 10, 25) if low >= 0 else (1, 5, 50)
    ticks = [0.0, *(sign * linear * step for step in steps for sign in (1, -1))]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(formatter)


def by_time(moments: Sequence[int], most: int = 5) -> dict[int, Any]:
    """Returns up to `most` of the moments, including the first and the last, with colours that darken with time."""
    import matplotlib

    chosen = sorted({moments[round(i)] for i in np.linspace(0, len(moments) - 1, min(most, len(moments)))})
    return dict(zip(chosen, matplotlib.colormaps["viridis_r"](np.linspace(0.12, 0.95, len(chosen))), strict=True))


def paper_points(axes, points: Mapping[Any, float], label: str) -> None:
    """Draws values read off a paper's figure."""
    axes.plot(
        list(points),
        list(points.values()),
        "D",
        color="none",
        markeredgecolor=PAPER,
        markersize=5,
        label=label,
        zorder=2,
    )


def intact(facts: Mapping[str, Any]) -> str:
    """Returns the error of the intact network as text; without labels it has none: its answers stand for them."""
    if facts.get("labels", "given") != "given":
        return "its answers stand for labels"
    return f"{facts['intact']['error']:.1%}"


def levels(axes, facts: Mapping[str, Any], told: bool = True) -> None:
    """Draws the error of the intact network, and that of guessing among equally frequent classes.

    Args:
        axes: where to draw.
        facts: of the intact network, as `evaluate` returns them.
        told: whether the legend tells the error; not where it stands in the title of each panel.
    """
    label = f"left whole{f': {intact(facts)}' if told else ''}"
    axes.axhline(facts["intact"]["error"], color=INTACT, lw=1.2, label=label, zorder=1)
    chance = 1 - 1 / facts["classes"]
    axes.axhline(chance, color="0.7", lw=1, ls="--", label=f"chance: {100 * chance:.3g}%", zorder=1)


def finish(figure, title: str, legend_columns: int = 2, labels: Sequence[_labels.Label] = ()) -> None:
    """Adds the title above, one legend for all panels below, and labels of points.

    Panels of the caller's own get a legend each, and a title where there is one of them: the figure is the caller's.
    """
    given = _GIVEN.get()
    if given is not None:
        for axes in given:
            if axes.get_legend_handles_labels()[1]:
                axes.legend(fontsize=8)
        if len(given) == 1:
            given[0].set_title(title, loc="left", pad=16)
        _label(figure, given, labels)
        return
    title = textwrap.fill(title, int(10.5 * figure.get_figwidth()))
    figure.suptitle(title, x=0.01, ha="left")
    handles: dict = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()),
        list(handles),
        frameon=False,
        loc="outside lower center",
        ncols=legend_columns,
        fontsize=9,
    )
    _label(figure, figure.axes, labels)


def _label(figure, panels: Sequence[Any], labels: Sequence[_labels.Label]) -> None:
    """Places labels of points, and shortens names of stages, in a figure that is otherwise complete."""
    stages = [_STAGES[axes] for axes in panels if axes in _STAGES]
    if labels or stages:
        figure.draw_without_rendering()  # the layout decides where things are
    for names in stages:
        _labels.thin(names)
    _labels.place(figure, labels)
