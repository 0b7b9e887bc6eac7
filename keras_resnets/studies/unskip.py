"""Removes skips instead of residual branches.

Veit et al. 2016 delete residual branches and find little loss in accuracy, since most paths remain. Removing the
skip of a block halves the number of paths in the same way, but leaves a plain layer that was
trained as a correction. This study shows which of the two matters.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import keras

from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.instruments.evaluation import evaluate
from keras_resnets.instruments.lanes import MEMORY, RESIDUAL, SHORTCUT, program
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.events import Curve
from keras_resnets.reports.study import DRAWINGS, Drawing, Study


@explained
def unskip(
    model: keras.Model,
    data,
    *,
    budget: int = MEMORY,
    verbose: bool = False,
    resume: str | os.PathLike | None = None,
) -> Study:
    """Measures the network without its identity skips, one at a time and one after the other.

    Nothing is retrained or rescaled. For comparison, the residual branch of the same block is
    deleted instead.

    Args:
        model: a classifier: a `ResidualNetwork`, or a model that `adopt` takes.
        data: as for `keras_resnets.studies.lesion`.
        budget: as for `lesion`.
        verbose: as for `lesion`.
        resume: as for `lesion`.

    Returns:
        A `Study` with rows of `kind` `"unskip"` (one skip removed), `"delete"` (the same block's
        residual branch deleted), `"from_input"` and `"from_output"` (the skips of the first and of
        the last `count` such blocks removed), `count`, `block` (the last one changed), `stage`,
        and the measures of `lesion`.

    Raises:
        ArgumentError: no block has both branches and an identity for a shortcut.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet20", input_shape=(8, 8, 1))
        >>> study = kr.studies.unskip(model, (np.zeros((4, 8, 8, 1)), np.zeros(4, int)))
        >>> study.rows["kind"].value_counts()["unskip"]  # 9 blocks, 2 of them with another shortcut
        np.int64(7)
    """
    # The blocks with identity skips, and all changes to them.
    network = adopt(model)
    blocks = identity_skips(network)
    kinds = {
        "unskip": [{i: RESIDUAL} for i in blocks],
        "delete": [{i: SHORTCUT} for i in blocks],
        "from_input": [dict.fromkeys(blocks[: n + 1], RESIDUAL) for n in range(len(blocks))],
        "from_output": [dict.fromkeys(blocks[-n - 1 :], RESIDUAL) for n in range(len(blocks))],
    }

    # All of them are measured in one pass.
    programs = [program(network, choices) for rows in kinds.values() for choices in rows]
    rows, facts = evaluate(
        network, data, programs, budget=budget, verbose=verbose, resume=resume, task="removing skips"
    )
    last = [*blocks, *blocks, *blocks, *reversed(blocks)]
    rows.insert(0, "kind", [kind for kind, choices in kinds.items() for _ in choices])
    rows.insert(1, "count", [len(choices) for lists in kinds.values() for choices in lists])
    rows.insert(2, "block", [network.blocks[i].name for i in last])
    rows.insert(3, "stage", [network.stages[i] for i in last])

    # Quartiles over blocks, and what removed skips cost beside deleted branches.
    one = {kind: rows[rows["kind"] == kind].reset_index(drop=True) for kind in kinds}
    facts |= {
        "blocks": len(network.blocks),
        "identity_skips": len(blocks),
        "unskip": _quartiles(one["unskip"]["error"]),
        "delete": _quartiles(one["delete"]["error"]),
        "unskip_costs_more": int((one["unskip"]["error"] > one["delete"]["error"]).sum()),
        "unskip_within_one_point": int((one["unskip"]["error"] <= facts["intact"]["error"] + 0.01).sum()),
        "delete_within_one_point": int((one["delete"]["error"] <= facts["intact"]["error"] + 0.01).sum()),
        "removed_until_half_of_chance": {
            kind: _count_until_half_of_chance(one[kind], facts["intact"]["error"], 1 - 1 / facts["classes"])
            for kind in ("from_input", "from_output")
        },
    }
    return Study("unskip", rows, facts)


def identity_skips(network: ResidualNetwork) -> list[int]:
    """Returns the indices of the blocks with a residual branch and an identity for a skip.

    Raises:
        ArgumentError: there are none.
    """
    blocks = [i for i, block in enumerate(network.blocks) if block.has_identity_shortcut and block.residual is not None]
    if not blocks:
        raise ArgumentError(f"model: no block of {network.name!r} has an identity for a skip; use one with skips.")
    return blocks


def _quartiles(errors) -> dict[str, float]:
    """Returns quartiles and extremes of errors, by name."""
    names = {"min": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "max": 1.0}
    return {name: float(errors.quantile(share)) for name, share in names.items()}


def _count_until_half_of_chance(rows, intact: float, chance: float) -> int | None:
    """Returns the number of removed skips at which the error first passes the mean of intact and chance level."""
    beyond = rows[rows["error"] > (intact + chance) / 2]
    return int(beyond["count"].iloc[0]) if len(beyond) else None


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: error by block, and by number of removed skips."""
    kinds = dict(list(study.rows.groupby("kind")))
    one, more = {"unskip": "skip removed", "delete": "block deleted"}, {"from_input": "input", "from_output": "output"}
    series = {
        f"error, one {what}": Curve(kinds[kind].set_index("block")["error"], "block") for kind, what in one.items()
    }
    for kind, end in more.items():
        errors = kinds[kind].set_index("count")["error"]
        series[f"error, skips removed from the {end} on"] = Curve(errors, "number of removed skips", follows=True)
    return series


def draw(study: Study):
    """Plots errors with one skip or one residual branch removed: block by block, and one against the other."""
    from keras_resnets.reports import figures

    summary, (figure, (left, right)) = study.summary, figures.panels(2, 5)
    rows = {kind: study.rows[study.rows["kind"] == kind].reset_index(drop=True) for kind in ("unskip", "delete")}
    unskipped, deleted, index = rows["unskip"], rows["delete"], range(1, len(rows["unskip"]) + 1)

    # Left: one block at a time.
    figures.stage_bands(left, list(unskipped["stage"]))
    figures.levels(left, summary)
    figures.with_intervals(left, index, deleted, figures.OURS, "its residual branch deleted")
    figures.with_intervals(left, index, unskipped, figures.OTHER, "its skip removed", "^")
    left.set_xlabel("block, of those with an identity skip")
    left.xaxis.get_major_locator().set_params(integer=True)
    figures.errors(left, summary, ", 95% interval")

    # Right: what a block costs either way.
    for stage, colour in zip(unskipped["stage"].unique(), itertools.cycle(figures.BY_STAGE)):
        of_stage = unskipped["stage"] == stage
        points = {"ms": 5.5, "color": colour, "alpha": 0.85, "label": f"a block of {stage}"}
        right.plot(deleted["error"][of_stage], unskipped["error"][of_stage], "o", **points)
    whole = summary["intact"]["error"]
    right.plot([whole], [whole], "*", ms=11, color=figures.INTACT, label=f"left whole: {figures.intact(summary)}")
    right.axline((0, 0), slope=1, color="0.6", lw=1, ls=":", label=_count_above(summary))
    figures.errors(right, summary, ", its skip removed")
    figures.errors(right, summary, ", its residual branch deleted", figures.room(deleted["error"], whole), "x")
    ends = dict.fromkeys([deleted["error"].idxmax(), unskipped["error"].idxmin()])
    labels = [(right, deleted["error"][i], unskipped["error"][i], unskipped["block"][i]) for i in ends]
    what = "remove one skip, or delete the block's residual branch"
    figures.finish(figure, figures.heading(summary, what), 4, labels)
    return figure


def _count_above(summary: dict[str, Any]) -> str:
    return f"equal; above it, {summary['unskip_costs_more']} of {summary['identity_skips']}, the skip costs more"


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    until = {kind: f"{n} removed" if n else "never" for kind, n in s["removed_until_half_of_chance"].items()}
    return (
        f"one skip removed: median error {s['unskip']['median']:.1%} (quartiles {s['unskip']['lower_quartile']:.1%} to "
        f"{s['unskip']['upper_quartile']:.1%}) over {s['identity_skips']} blocks; its residual branch deleted instead: "
        f"{s['delete']['median']:.1%} ({s['delete']['lower_quartile']:.1%} to {s['delete']['upper_quartile']:.1%})\n"
        f"removing the skip costs more in {s['unskip_costs_more']} of {s['identity_skips']} blocks; half way to chance "
        f"level with {until['from_input']} from the input on, {until['from_output']} from the output back"
    )


DRAWINGS["unskip"] = Drawing(draw, describe, curves)
