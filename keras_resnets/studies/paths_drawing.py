"""The figure and the summary text of `keras_resnets.studies.paths`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_resnets.instruments.path_draws import REST
from keras_resnets.reports.events import Curve
from keras_resnets.reports.study import Study

if TYPE_CHECKING:
    import pandas as pd

# Read from Veit et al. 2016, Fig. 6c: the lengths that carry the gradient of ResNet-110 on CIFAR-10.
VEIT = (5, 17)


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: shares by length."""
    rows = study.rows[study.rows["kind"] == "input"].set_index("length")
    names = {
        "paths": "share of all paths",
        "sampled_share": "share of the gradient, by sampled paths",
        "norm_share": "share of the gradient, by norms of exact sums",
        "share": "share of the gradient, exact and signed",
    }
    return {f"{what}, by length": Curve(rows[name], "length of path in blocks") for name, what in names.items()}


def draw(study: Study):
    """Plots the norm along one path, the shares of lengths by either measure, and which lengths teach which block."""
    from keras_resnets.reports import figures

    summary, rows = study.summary, study.rows[study.rows["kind"] == "input"]
    blocks = study.rows[study.rows["kind"] == "weights"]
    figure, axes = figures.panels(3 if len(blocks) else 2, 4.8)
    one, shares = axes[0], axes[1]

    # Norms: along one path, and of the exact sum.
    positive = rows[rows["sampled"] > 0]
    one.errorbar(
        positive["length"],
        positive["sampled"],
        positive["sampled_sd"] / positive["sampled_count"] ** 0.5,
        fmt="o",
        color=figures.OURS,
        markersize=3.5,
        elinewidth=0.8,
        label=f"along one path (mean of {int(rows['sampled_count'].min())} or more)",
    )
    one.plot(rows["length"], rows["norm"], color=figures.OTHER, label="sum over all paths of the length, exact")
    # Far smaller norms are only rounding errors, so they are cut off.
    one.set_ylim(max(positive["sampled"].min(), 1e-26 * rows["norm"].max()) / 3, 3 * rows["norm"].max())
    one.set(yscale="log", xlabel="path length: residual branches on it", ylabel="norm of the gradient at the input")

    # Shares of each length. One draw of a large norm can make a sampled share many times as large as the others.
    top = 1.3 * float(rows[["norm_share", "share", "paths"]].max().max())
    shares.fill_between(rows["length"], rows["paths"], color="0.85", label="number of paths (binomial)", lw=0)
    shares.plot(rows["length"], rows["sampled_share"], "o-", ms=3, color=figures.OURS, label="number x norm along one")
    shares.plot(
        rows["length"], rows["norm_share"], color=figures.OTHER, label="sum over all paths of the length, exact"
    )
    shares.plot(rows["length"], rows["share"], "--", color="tab:green", lw=1, label="contribution to the gradient")
    beyond = rows[rows["sampled_share"] > top]
    if len(beyond):
        look = {"color": figures.OURS, "ms": 7, "clip_on": False, "label": "beyond the axis: a few large draws"}
        shares.plot(beyond["length"], [top] * len(beyond), "^", **look)
    exact = summary["exact"]
    label = f"lengths {exact['low']} to {exact['high']}: {exact['mass']:.0%} of the exact sums"
    shares.axvspan(exact["low"] - 0.5, exact["high"] + 0.5, color=figures.OTHER, alpha=0.08, lw=0, label=label)
    if summary["blocks"] == 54 and figures.is_cifar10(summary):
        shares.axvspan(*VEIT, color=figures.PAPER, alpha=0.12, lw=0, label="Veit et al. 2016, Fig. 6c: 5 to 17")
    shares.axhline(0, color="0.8", lw=0.8, zorder=0)
    shares.set(xlabel="path length", ylabel="share of all lengths", ylim=(min(0, 1.2 * rows["share"].min()), top))
    caption(
        one, "How strong are one path, and all of its length?", "between them: the number of paths, less what cancels"
    )
    caption(shares, "Which lengths carry the gradient?", "grey: how many paths there are; lines: what they carry")

    for panel in axes:
        panel.xaxis.get_major_locator().set_params(integer=True)
    if len(blocks):
        _heat_map(figure, axes[2], blocks)
    labels = [(shares, row.length, top, f"{row.sampled_share:.0%}") for row in beyond.itertuples()]
    figures.finish(figure, figures.heading(summary, "the gradient by path length"), 3, labels)
    return figure


def _heat_map(figure, axes, rows: pd.DataFrame) -> None:
    """Plots, for each link, the share of each length in the gradient of its weights, and their mean length."""
    from matplotlib.colors import PowerNorm

    names = list(dict.fromkeys(rows["at"]))
    table = rows.pivot(index="length", columns="at", values="norm_share")[names]
    image = axes.imshow(
        table,
        origin="lower",
        aspect="auto",
        cmap="Blues",
        norm=PowerNorm(0.5, 0, 1),  # the last link has one length, the first ones have many
        interpolation="nearest",
        extent=(-0.5, len(names) - 0.5, -0.5, len(table) - 0.5),
    )
    lengths = table.fillna(0).mul(table.index.to_numpy(), axis=0).sum()
    axes.plot(range(len(names)), lengths, color="tab:orange", lw=1.2, label="mean length, by the norms")
    axes.set(xlabel="link whose weights learn (0: the stem)", ylabel="path length from its weights to the loss")
    caption(axes, "Which lengths teach which link?", "a column: the gradient of one link's weights, by length")
    figure.colorbar(image, ax=axes, label="share of the norms", pad=0.02)


def caption(axes, question: str, reading: str) -> None:
    """Writes above a panel what it answers, and how it is read."""
    axes.set_title(f"{question}\n{reading}", loc="left", fontsize=9, color="0.25")


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    sampled, exact, peak = s["sampled"], s["exact"], s.get("coherence_at_the_peak")
    # Studies of the first version have it where sampling has its peak, without its error.
    cancelling = peak and (
        f"paths cancel: at length {peak['length']}, where the exact sums have their peak, they are "
        f"{peak['coherence']:.2g} (relative standard error {peak['relative_standard_error']:.2g}) of what they would "
        f"be if all paths pointed one way; "
    )
    return (
        f"by sampled paths, lengths {sampled['low']} to {sampled['high']} carry {sampled['mass']:.0%} of the gradient "
        f"(mean {sampled['mean_length']:.1f} of {s['blocks_with_a_choice']}; {100 * sampled['of_all_paths']:.3g}% of "
        f"all paths); by the exact sums, {exact['low']} to {exact['high']} (mean {exact['mean_length']:.1f})\n"
        f"{cancelling or ''}paths beyond length {exact['needed_length']} add less than {REST:.0%} together\n"
        f"the parts sum to the gradient within {s['largest_error_of_sum']:.0e}, in double precision within "
        f"{s['checked_in_double_precision']['largest_error_of_sum']:.0e}"
    )
