"""What comes back after an edit: batch-norm statistics taken anew, then training.

A network without one of its skips answers near chance (`unskip`). Either what the skip carried is lost, or it is still
there and the layers behind it only expect other statistics, or other weights. Statistics are taken anew without
training any weight; so what returns then was not lost, and what returns after an epoch was near.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.data import Data
from keras_resnets.data.needs import for_network
from keras_resnets.errors import one_of, whole_number
from keras_resnets.explaining import explained
from keras_resnets.instruments.evaluation import evaluate
from keras_resnets.instruments.lanes import MEMORY, RESIDUAL, SHORTCUT, program
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.surgery import copied, delete, select, unskip
from keras_resnets.reports.events import Curve
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted
from keras_resnets.studies.unskip import identity_skips
from keras_resnets.training import fine_tuning, recipes
from keras_resnets.training.recalibration import recalibrate

if TYPE_CHECKING:
    import pandas as pd

WHOLE, STATES = "whole", ("before", "recalibrated", "fine-tuned")
EDITS = {"unskip": (unskip, RESIDUAL), "delete": (delete, SHORTCUT)}
# What is asked of a measured network; its agreement is with itself.
MEASURES = ("error", "error_low", "error_high", "top5_error", "loss")


@explained
def recovery(
    model: keras.Model,
    data: Data,
    recipe: str | recipes.Recipe = "digits",
    *,
    out: str | os.PathLike,
    blocks: int | Iterable[str | int] | None = None,
    epochs: int = 1,
    examples: int | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> Study:
    """Removes one skip, or deletes one residual branch, and measures what comes back.

    Each edited network is measured as it is; with batch-norm statistics taken anew over 4,096 training images
    (`keras_resnets.recalibrate`), which trains no weight; and after some epochs of `keras_resnets.fine_tune`. The whole
    network goes through the same, so that what training adds to any network is told from what comes back.

    Args:
        model: a classifier: a `ResidualNetwork`, or a model that `adopt` takes; it is not changed.
        data: what `keras_resnets.data.load` gives: the training split is for statistics and fine-tuning, the test split
            is measured.
        recipe: recipe of the fine-tuning, whose learning rate starts at a tenth of the recipe's.
        out: the study's folder. Fine-tunings are below it; the same call resumes after an interruption.
        blocks: names or indices of the blocks to edit, or how many to take, evenly spread; None takes all blocks with
            a residual branch and an identity for a skip.
        epochs: of fine-tuning; 0 for none.
        examples: measure on at most this many images; None for all.
        seed: of the fine-tuning.
        verbose: whether to draw progress bars.

    Returns:
        A `Study` with a row for each `kind` (`"whole"`, `"unskip"`, `"delete"`), `block`, its `stage`, and `state`
        (`"before"`, `"recalibrated"`, `"fine-tuned"`): `error` with its 95 % Wilson interval over images, `error_low`
        and `error_high`, `top5_error` and `loss`.

    Raises:
        ArgumentError: an argument breaks its rule, or a block has no identity skip or no residual branch.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> data, model = kr.data.load("digits", batch_size=400), kr.build("resnet14", (8, 8, 1))
        >>> study = kr.studies.recovery(model, data, out=tempfile.mkdtemp(), blocks=1, epochs=0)
        >>> study.rows[["kind", "state"]].value_counts(sort=False).tolist()
        [1, 1, 1, 1, 1, 1]
    """
    # The blocks, and the networks to measure.
    whole_number("epochs", epochs, 0)
    if examples is not None:
        whole_number("examples", examples, 1)
    network = adopt(model)
    data = for_network(data, network)
    fine_tuning.check_data(network, data)
    chosen = _blocks(network, blocks)
    measured = data.first(examples) if examples else data
    edits = [(WHOLE, None), *((kind, i) for kind in EDITS for i in chosen)]

    # As they are: all of them in one pass.
    programs = [program(network, {i: EDITS[kind][1]}) for kind, i in edits if i is not None]
    table, facts = evaluate(network, measured, programs, verbose=verbose, resume=out, task="editing")
    first = [facts["intact"], *table.to_dict("records")]
    rows = [_row(network, edit, STATES[0], values) for edit, values in zip(edits, first, strict=True)]

    # With statistics taken anew, and fine-tuned: one after the other.
    read = 0
    for kind, i in edits:
        own = copied(network) if i is None else EDITS[kind][0](network, i, copy=True)
        read = recalibrate(own, data)
        name = kind if i is None else f"{kind}_{network.blocks[i].name}"
        options: dict[str, Any] = {"budget": MEMORY, "verbose": verbose, "resume": out}
        again = evaluate(own, measured, [], task=f"{name}, recalibrated", **options)[1]["intact"]
        rows.append(_row(network, (kind, i), STATES[1], again))
        if epochs:
            where = Path(out) / "networks" / name.replace("/", "_")
            tuned = fine_tuning.fine_tune(
                own, data, recipe, out=where, epochs=epochs, seed=seed, verbose="auto" if verbose else 0
            )
            again = evaluate(tuned, measured, [], task=f"{name}, fine-tuned", **options)[1]["intact"]
            rows.append(_row(network, (kind, i), STATES[2], again))
            del tuned
        del own
        gc.collect()  # a network refers to itself

    import pandas as pd

    facts |= {"blocks": len(network.blocks), "edited": [network.blocks[i].name for i in chosen]}
    facts |= {"recalibrated_on": read, "seed": seed, "fine_tuning": None}
    if epochs:
        short = fine_tuning.short(recipe, epochs)
        facts["fine_tuning"] = {"recipe": short.name, "epochs": epochs, "learning_rate": short.learning_rate}
    return Study("recovery", pd.DataFrame(rows), facts)


def _blocks(network: ResidualNetwork, blocks: int | Iterable[str | int] | None) -> list[int]:
    """Returns the indices of the blocks to edit."""
    able = identity_skips(network)
    if blocks is None:
        return able
    if isinstance(blocks, int):
        whole_number("blocks", blocks, 1, len(able))
        return [able[round(place)] for place in np.linspace(0, len(able) - 1, blocks)]
    chosen = select(network, blocks)
    names = [network.blocks[i].name for i in able]
    for i in chosen:
        one_of("blocks", network.blocks[i].name, names)
    return sorted(chosen)


def _row(network: ResidualNetwork, edit: tuple[str, int | None], state: str, values: dict[str, float]):
    kind, i = edit
    place = {"kind": kind, "block": "-" if i is None else network.blocks[i].name}
    place["stage"] = "-" if i is None else network.stages[i]
    return place | {"state": state} | {name: values[name] for name in MEASURES}


def medians(study: Study) -> pd.DataFrame:
    """Returns the median errors over blocks: a row for each kind, a column for each state."""
    table = study.rows.pivot_table("error", "kind", "state", "median")
    return table.reindex(index=[WHOLE, *EDITS], columns=[state for state in STATES if state in table])


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: error by block, for each edit and state."""
    what = {"unskip": "skip removed", "delete": "block deleted"}
    groups = study.rows.groupby(["kind", "state"], sort=False)
    return {
        f"error, one {what[kind]}, {state}": Curve(rows.set_index("block")["error"], "block")
        for (kind, state), rows in groups
        if kind != WHOLE
    }


def draw(study: Study):
    """Plots the error in each state, for the blocks whose skip was removed and for those that were deleted."""
    from keras_resnets.reports import figures

    s, (figure, panels) = study.summary, figures.panels(2, 4.8)
    colours = dict(zip(STATES, (figures.OTHER, "tab:purple", figures.OURS), strict=True))
    names = {
        "before": "as edited",
        "recalibrated": f"batch-norm statistics taken anew, {s['recalibrated_on']:,} images",
        "fine-tuned": _tuning(s),
    }
    whole = study.rows[study.rows["kind"] == WHOLE].set_index("state")
    for axes, (kind, title) in zip(
        panels, {"unskip": "its skip removed", "delete": "its branch deleted"}.items(), strict=True
    ):
        of_kind = study.rows[study.rows["kind"] == kind]
        for n, (state, colour) in enumerate(colours.items()):
            points = of_kind[of_kind["state"] == state]
            if len(points):
                figures.with_intervals(
                    axes, np.arange(len(points)) + 0.16 * (n - 1), points, colour, names[state], "osD"[n]
                )
        end = whole.iloc[-1]
        axes.axhline(whole["error"].iloc[0], color=figures.INTACT, lw=1.2, label=f"left whole: {figures.intact(s)}")
        if end.name == STATES[2]:
            axes.axhline(
                end["error"],
                color=figures.INTACT,
                lw=1.2,
                ls="--",
                label=f"whole, fine-tuned alike: {end['error']:.1%}",
            )
        axes.set_xticks(range(len(s["edited"])), s["edited"], rotation=40, ha="right", fontsize=8)
        axes.set_title(title, loc="left", fontsize=10)
        figures.errors(axes, s, ", 95% interval", figures.room(study.rows["error_high"]))
    panels[1].set_ylabel("")
    figures.finish(figure, figures.heading(s, "edit one block, and let the network recover"), 2)
    return figure


def _tuning(summary: dict[str, Any]) -> str:
    """Returns the length of the fine-tuning in words."""
    epochs = (summary["fine_tuning"] or {}).get("epochs", 0)
    return f"and {counted(epochs, 'epoch')} of fine-tuning"


def describe(study: Study) -> str:
    """Summarises the result in a line for each edit."""
    s, table = study.summary, medians(study)
    over = f"median of {counted(len(s['edited']), 'block')}" if len(s["edited"]) > 1 else f"that of {s['edited'][0]}"
    names = {
        WHOLE: "left whole",
        "unskip": f"one skip removed, {over}",
        "delete": f"one residual branch deleted, {over}",
    }
    after = {"before": "", "recalibrated": " with statistics taken anew", "fine-tuned": f" {_tuning(s)}"}
    lines = [
        f"{names[kind]}: error {', '.join(f'{row[state]:.2%}{after[state]}' for state in table)}"
        for kind, row in table.iterrows()
    ]
    return "\n".join([*lines, f"over {s['examples']:,} examples"])


DRAWINGS["recovery"] = Drawing(draw, describe, curves)
