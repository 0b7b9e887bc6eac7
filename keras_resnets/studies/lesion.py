"""Deletes one block at a time: Veit et al. 2016, Fig. 3."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.explaining import explained
from keras_resnets.instruments.evaluation import evaluate, side_by_side
from keras_resnets.instruments.lanes import MEMORY, SHORTCUT, program
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.events import Curve
from keras_resnets.reports.study import DRAWINGS, Drawing, Study

if TYPE_CHECKING:
    import pandas as pd

# Read from Veit et al. 2016, Fig. 3 left (54 blocks, CIFAR-10), to about +-0.02: block -> error.
VEIT = {1: 0.42, 11: 0.12, 19: 0.12, 37: 0.11}
VEIT_ELSEWHERE = 0.065


@explained
def lesion(
    model: keras.Model,
    data,
    *,
    beside: Sequence[keras.Model] = (),
    budget: int = MEMORY,
    verbose: bool = False,
    resume: str | os.PathLike | None = None,
) -> Study:
    """Measures the network with each residual branch deleted in turn.

    A deleted block keeps its shortcut, with its projection or down-sampling (Veit
    et al. 2016, section 4). In a plain network, each layer is a block: if it is deleted, the next layer
    gets its input unchanged or, if the layer changes the shape, subsampled, with channels of
    zeros appended or the last ones removed (the paper does not say what it did there). Nothing is
    retrained or rescaled. All deletions are measured in one pass through the network.

    Args:
        model: a classifier: a `ResidualNetwork`, or a model that `adopt` takes.
        data: `(x, y)` arrays, batched `tf.data`, or what `keras_resnets.data.load` gives, of which
            the test split is used.
        beside: further networks for the same data, such as a plain one, for the same rows
            and figure.
        budget: bytes for intermediate values.
        verbose: whether to draw a progress bar.
        resume: a folder where finished batches are kept until `Study.save` to it; after an
            interruption, the same study resumes from them.

    Returns:
        A `Study` with one row per block: `model`, `block`, `stage`, `error`, `error_low`,
        `error_high` (95 % Wilson interval over examples), `top5_error`, `loss`, `agreement` with
        the intact network.

    Raises:
        ArgumentError: the network is not a chain of blocks, or `data` is of the wrong kind.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet20", input_shape=(8, 8, 1))
        >>> study = kr.studies.lesion(model, (np.zeros((4, 8, 8, 1)), np.zeros(4, int)))
        >>> len(study.rows)
        9
    """
    options: dict[str, Any] = {"budget": budget, "verbose": verbose, "resume": resume}
    rows, facts = side_by_side(map(adopt, (model, *beside)), lambda network: sweep(network, data, **options))
    first, *others = facts.items()
    return Study("lesion", rows, first[1] | {"beside": dict(others)})


def sweep(network: ResidualNetwork, data, **options) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Deletes each block of one network in turn; returns rows and summary. `options` as for `evaluate`."""
    blocks = network.blocks
    programs = [program(network, {i: SHORTCUT}) for i in range(len(blocks))]
    rows, facts = evaluate(network, data, programs, task=f"deleting blocks of {network.name}", **options)
    rows.insert(0, "model", network.name)
    rows.insert(1, "block", [block.name for block in blocks])
    rows.insert(2, "stage", network.stages)
    worst = rows.sort_values("error", ascending=False, kind="stable").head(3)
    facts |= {
        "blocks": len(blocks),
        "median_error": float(rows["error"].median()),
        "blocks_within_one_point": int((rows["error"] <= facts["intact"]["error"] + 0.01).sum()),
        "worst": {row.block: row.error for row in worst.itertuples()},
        "bridged_without_weights": [
            block.name
            for block in blocks
            if block.shortcut is None and not isinstance(block.stand_in(), keras.layers.Identity)
        ],
    }
    return rows, facts


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: measures by deleted block."""
    measures: dict[str, Curve] = {}
    for name, rows in study.rows.groupby("model", sort=False):
        by_block = rows.set_index("block")
        prefix = "" if name == study.rows["model"].iloc[0] else f"{name}: "
        for measure, what in (("error", "error"), ("loss", "loss"), ("agreement", "share of answers kept")):
            measures[f"{prefix}{what}, by deleted block"] = Curve(by_block[measure], "deleted block")
    return measures


def draw(study: Study):
    """Plots error against deleted block, a panel for each network, with its stages and costliest blocks."""
    from keras_resnets.reports import figures

    summary, networks = study.summary, list(study.rows.groupby("model", sort=False))
    most = max(len(rows) for _, rows in networks)
    figure, panels, paper = figures.with_paper(summary, [max(len(rows), 0.4 * most) for _, rows in networks])

    labels = []
    for axes, (name, rows) in zip(panels, networks, strict=True):
        facts = summary["beside"].get(name, summary)
        labels += _draw_network(axes, rows, facts, alone=len(networks) == 1)
        if len(networks) > 1:
            axes.set_title(f"{name}, left whole: {figures.intact(facts)}", loc="left", fontsize=10, pad=16)
        figures.errors(axes, summary, ", 95% interval")
        if axes is not panels[0]:
            axes.set_ylabel("")

    # The paper's points, and the legend of the marked blocks.
    if paper is not None:
        figures.paper_points(paper, VEIT, "Veit et al. 2016, Fig. 3, read from it: ResNet-110, CIFAR-10")
        paper.axhline(VEIT_ELSEWHERE, color=figures.PAPER, lw=1, ls=":", label="the same, all other blocks")
        if paper not in panels:
            figures.errors(paper, summary)
            paper.set(xlim=(0, 55), xlabel="deleted block", ylabel="")
    if any(facts["bridged_without_weights"] for facts in (summary, *summary["beside"].values())):
        square = {"color": "none", "markeredgecolor": "0.3", "markersize": 8}
        panels[0].plot([], [], "s", **square, label="changes the shape: bridged")
    what = "delete one block, keep its skip"
    beside = f", beside {', '.join(map(str, summary['beside']))}" if summary["beside"] else ""
    figures.finish(figure, figures.heading(summary, what + beside), labels=labels)
    return figure


def _draw_network(axes, rows: pd.DataFrame, facts: dict[str, Any], alone: bool) -> list:
    """Draws the lesions of one network, and returns the labels of its costliest blocks."""
    from keras_resnets.reports import figures

    index = np.arange(1, len(rows) + 1)
    figures.stage_bands(axes, list(rows["stage"]))
    figures.levels(axes, facts, told=alone)
    figures.with_intervals(axes, index, rows, figures.OURS, "one block deleted")
    bridged = rows["block"].isin(facts["bridged_without_weights"]).to_numpy()
    axes.plot(index[bridged], rows["error"][bridged], "s", color="none", markeredgecolor=figures.OURS, markersize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("deleted block")
    costly = rows.assign(number=index).nlargest(3, "error")
    costly = costly[costly["error"] > facts["intact"]["error"] + 0.05]
    return [(axes, row.number, row.error, row.block) for row in costly.itertuples()]


def _left_whole(facts) -> str:
    """Returns how the summary of a network begins: with the error of the network left whole, if it has one."""
    if facts["labels"] == "given":
        return f"error {facts['intact']['error']:.1%} intact,"
    return "beside the answers of the network left whole:"


def describe(study: Study) -> str:
    """Summarises the result in two lines for each network."""
    lines = []
    for name, facts in [(None, study.summary), *study.summary["beside"].items()]:
        worst = ", ".join(f"{block} {error:.1%}" for block, error in facts["worst"].items())
        lines.append(
            f"{f'{name}: ' if name else ''}{_left_whole(facts)} median {facts['median_error']:.1%} with one "
            f"of {facts['blocks']} blocks deleted; {facts['blocks_within_one_point']} blocks cost at most one point\n"
            f"the costliest: {worst}"
        )
    return "\n".join(lines)


DRAWINGS["lesion"] = Drawing(draw, describe, curves)
