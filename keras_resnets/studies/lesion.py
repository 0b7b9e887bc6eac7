"""Delete one block at a time: Veit et al. 2016, Fig. 3."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.instruments.evaluation import evaluate, side_by_side
from keras_resnets.instruments.lanes import SHORTCUT, program
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.study import DRAWINGS, Drawing, Study

if TYPE_CHECKING:
    import pandas as pd

# Read off Veit et al. 2016, Fig. 3 left (54 blocks, CIFAR-10), to about +-0.02: block -> error.
VEIT = {1: 0.42, 11: 0.12, 19: 0.12, 37: 0.11}
VEIT_ELSEWHERE = 0.065


def lesion(
    model: keras.Model,
    data,
    *,
    beside: Sequence[keras.Model] = (),
    budget: int = 2**30,
    verbose: bool = False,
    resume: str | os.PathLike | None = None,
) -> Study:
    """Measures the network with each residual branch deleted in turn.

    A deleted block hands on its shortcut, with the projection or down-sampling that it has (Veit
    et al. 2016, section 4). Of a plain network, each layer is a block: deleted, its input goes to
    the next layer as it is, or, where the layer changes the shape, subsampled, and with channels of
    zeros appended or the last ones left out (the paper does not say what it did there). Nothing is
    retrained or rescaled. All deletions are measured in one walk through the network.

    Args:
        model: a classifier that is a `ResidualNetwork`, or that `adopt` takes.
        data: `(x, y)` arrays, batched `tf.data`, or what `keras_resnets.data.load` gives, of which
            the test split is taken.
        beside: further networks for the same data, such as a plain one, to stand in the same rows
            and figure.
        budget: bytes that intermediate values may take.
        verbose: whether to draw a progress bar.
        resume: a folder where finished batches are kept until `Study.save` to it; the same study
            started again after a kill goes on from them.

    Returns:
        A `Study` with one row per block: `model`, `block`, `stage`, `error`, `error_low`,
        `error_high` (95 % Wilson interval over examples), `top5_error`, `loss`, `agreement` with
        the intact network.

    Raises:
        ArgumentError: the network is no chain, or `data` is of the wrong kind.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet20", input_shape=(8, 8, 1))
        >>> study = kr.studies.lesion(model, (np.zeros((4, 8, 8, 1)), np.zeros(4, int)))
        >>> len(study.rows)
        9
    """
    how: dict[str, Any] = {"budget": budget, "verbose": verbose, "resume": resume}
    rows, found = side_by_side(map(adopt, (model, *beside)), lambda network: sweep(network, data, **how))
    first, *others = found.items()
    return Study("lesion", rows, first[1] | {"beside": dict(others)})


def sweep(network: ResidualNetwork, data, **how) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows and the summary of one network; `how` as for `evaluate`."""
    blocks = network.blocks
    programs = [program(network, {i: SHORTCUT}) for i in range(len(blocks))]
    rows, facts = evaluate(network, data, programs, task=f"deleting blocks of {network.name}", **how)
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


def curves(study: Study) -> dict[str, pd.Series]:
    """For TensorBoard: measures by number of the deleted block."""
    found: dict[str, pd.Series] = {}
    for name, rows in study.rows.groupby("model", sort=False):
        numbered = rows.set_index(np.arange(1, len(rows) + 1))
        prefix = "" if name == study.rows["model"].iloc[0] else f"{name}/"
        found |= {f"{prefix}{measure}": numbered[measure] for measure in ("error", "loss", "agreement")}
    return found


def draw(study: Study):
    """Error against deleted block, with the intact network, stages and the paper's points."""
    from keras_resnets.reports import figures

    summary, [axes] = study.summary, (made := figures.panels())[1]
    for (name, rows), colour in zip(study.rows.groupby("model", sort=False), figures.COLOURS, strict=False):
        facts = summary["beside"].get(name, summary)
        index = range(1, len(rows) + 1)
        if facts is summary:
            figures.stage_bands(axes, list(rows["stage"]))
            figures.levels(axes, facts["intact"]["error"], facts["classes"])
            for i in rows["error"].nlargest(3).index:
                if rows["error"][i] > facts["intact"]["error"] + 0.05:
                    place = (index[rows.index.get_loc(i)], rows["error"][i])
                    axes.annotate(rows["block"][i], place, (7, -9), textcoords="offset points", fontsize=8)
        figures.with_intervals(axes, index, rows, colour, f"{name}, one block deleted (left whole: {_intact(facts)})")
        for i, block in enumerate(rows["block"], 1):
            if block in facts["bridged_without_weights"]:
                axes.plot(i, rows["error"].iloc[i - 1], "s", color="none", markeredgecolor=colour, markersize=8)
    if summary["blocks"] == 54:
        label = "Veit et al. 2016, Fig. 3, read off: ResNet-110, CIFAR-10"
        figures.paper_points(axes, VEIT, label)
        axes.axhline(VEIT_ELSEWHERE, color=figures.PAPER, lw=1, ls=":", label="the same, all other blocks")
    if any(facts["bridged_without_weights"] for facts in (summary, *summary["beside"].values())):
        axes.plot(
            [],
            [],
            "s",
            color="none",
            markeredgecolor="0.3",
            markersize=8,
            label="changes the shape: bridged",
        )
    axes.set_xlabel("deleted block")
    figures.errors(axes, summary, ", 95% interval")
    figures.finish(made[0], f"{summary['model']}: delete one block, keep its skip")
    return made[0]


def _intact(facts) -> str:
    return f"{facts['intact']['error']:.1%}"


def describe(study: Study) -> str:
    """The finding in two lines for each network."""
    lines = []
    for name, facts in [(None, study.summary), *study.summary["beside"].items()]:
        worst = ", ".join(f"{block} {error:.1%}" for block, error in facts["worst"].items())
        lines.append(
            f"{f'{name}: ' if name else ''}error {_intact(facts)} left whole, median {facts['median_error']:.1%} with "
            f"one of {facts['blocks']} blocks deleted; {facts['blocks_within_one_point']} blocks cost at most a point\n"
            f"the costliest: {worst}"
        )
    return "\n".join(lines)


DRAWINGS["lesion"] = Drawing(draw, describe, curves)
