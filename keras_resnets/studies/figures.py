"""What the figures of the studies share: size, percent axes, stages in the background, boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OURS, OTHER, PAPER, INTACT = "tab:blue", "tab:red", "0.45", "tab:orange"
COLOURS = (OURS, OTHER, "tab:green", "tab:purple", "tab:brown")


def panels(count: int = 1, height: float = 4.6, rows: int = 1):
    """A figure with `rows` of panels, `count` of them side by side; width in inches follows from their number."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9 if count == 1 else 5.4 * count, height), layout="constrained")
    axes = figure.subplots(rows, count, squeeze=False).ravel()
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def errors(axes, summary: Mapping[str, Any], note: str = "", limits: tuple[float, float] = (0, 1)) -> None:
    """Makes the vertical axis one of errors, and says what they were measured on."""
    name = "top-1 error" if summary["labels"] == "given" else "answers unlike the whole network's"
    axes.set(ylabel=f"{name}{note}\nover {summary['examples']:,} examples", ylim=limits)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def stage_bands(axes, stages: Sequence[str]) -> None:
    """Shades every other stage behind block numbers from 1, and names it."""
    starts = [i + 1 for i in range(len(stages)) if i == 0 or stages[i] != stages[i - 1]]
    for k, (start, end) in enumerate(zip(starts, [*starts[1:], len(stages) + 1], strict=True)):
        axes.axvspan(start - 0.5, end - 0.5, color="0.95" if k % 2 == 0 else "white", zorder=0, lw=0)
        place = {"transform": axes.get_xaxis_transform(), "ha": "center"}  # above the panel, whatever its values
        axes.text((start + end - 1) / 2, 1.01, stages[start - 1], color="0.4", fontsize=8, **place)
    axes.set_xlim(0.5, len(stages) + 0.5)


def with_intervals(axes, x, rows, colour: str, label: str, marker: str = "o") -> None:
    """Errors with their intervals over examples."""
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


def boxes(axes, groups: dict[float, Sequence[float]], width: float, label: str) -> None:
    """A box of quartiles over draws at each position; whiskers to the extremes within 1.5 times the box."""
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


def decades(axes) -> None:
    """Makes the vertical axis logarithmic, with plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def by_time(moments: Sequence[int], most: int = 5) -> dict[int, Any]:
    """Up to so many of the moments, the first and the last among them, with colours that darken with time."""
    import matplotlib

    chosen = sorted({moments[round(i)] for i in np.linspace(0, len(moments) - 1, min(most, len(moments)))})
    return dict(zip(chosen, matplotlib.colormaps["viridis_r"](np.linspace(0.12, 0.95, len(chosen))), strict=True))


def paper_points(axes, points: Mapping[Any, float], label: str) -> None:
    """Values read off a paper's figure."""
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


def levels(axes, intact: float, classes: int) -> None:
    """The error of the network left whole, and that of guessing among equally frequent classes."""
    axes.axhline(intact, color=INTACT, lw=1.2, label=f"left whole: {intact:.1%}", zorder=1)
    chance = 1 - 1 / classes
    axes.axhline(chance, color="0.7", lw=1, ls="--", label=f"chance: {chance:.0%}", zorder=1)


def finish(figure, title: str, legend_columns: int = 2) -> None:
    """Puts the title on top and one legend for all panels below."""
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
