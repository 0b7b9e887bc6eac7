"""Delete several blocks at once: Veit et al. 2016, Fig. 5a."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.errors import whole_number
from keras_resnets.explaining import explained
from keras_resnets.instruments.evaluation import engine_for, evaluate, one_more, ranked, rounds_for
from keras_resnets.instruments.lanes import MEMORY, SHORTCUT, program
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import spread
from keras_resnets.reports.study import DRAWINGS, Drawing, Study

if TYPE_CHECKING:
    import pandas as pd

# Medians read from Veit et al. 2016, Fig. 5a (54 blocks, CIFAR-10), to about +-0.02: count -> error.
VEIT = {1: 0.065, 5: 0.09, 8: 0.14, 10: 0.19, 12: 0.25, 13: 0.30, 15: 0.33, 16: 0.52, 20: 0.58}


@explained
def delete(
    model: keras.Model,
    data,
    *,
    most: int = 20,
    draws: int = 20,
    greedy: bool = True,
    seed: int = 0,
    budget: int = MEMORY,
    verbose: bool = False,
    resume: str | os.PathLike | None = None,
) -> Study:
    """Measures the network with 1 to `most` blocks deleted: at random, and chosen one by one.

    A random draw deletes a set of that many blocks, all sets being equally likely. The greedy choices
    start from the intact network and delete, in every round, the block whose deletion leaves the smallest error
    (`"best"`) or the largest (`"worst"`), ties by loss. They are made on the validation split if
    `data` has one, and then measured like the draws; else on the measured examples themselves,
    which biases the best downwards: the summary's `chosen_on` says which. A round goes on from the activations of the
    last one, as far as `budget` bytes hold them.

    Args:
        model: a classifier: a `ResidualNetwork`, or a model that `adopt` takes.
        data: as for `keras_resnets.studies.lesion`.
        most: the largest number of deleted blocks, at most the network's number of blocks.
        draws: random sets for each number.
        greedy: whether to make the greedy choices, which takes 2 x `most` sweeps over all blocks.
        seed: seed of the draws.
        budget: as for `lesion`; as many bytes again hold activations between the rounds of the greedy choices.
        verbose: as for `lesion`.
        resume: as for `lesion`.

    Returns:
        A `Study` with rows of `kind` `"random"`, `"best"` or `"worst"`, `count`, `draw`, `blocks`
        (names, in the order of the network; of a greedy choice in the order chosen), and the
        measures of `lesion`. The summary gives median, quartiles and extremes over the draws.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet20", input_shape=(8, 8, 1))
        >>> x, y = np.zeros((4, 8, 8, 1)), np.zeros(4, int)
        >>> study = kr.studies.delete(model, (x, y), most=2, draws=3)
        >>> study.rows["kind"].value_counts().to_dict()
        {'random': 6, 'best': 2, 'worst': 2}
    """
    network = adopt(model)
    names = [block.name for block in network.blocks]
    most = min(most, len(names)) if most == 20 else most
    whole_number("most", most, 1, len(names))
    whole_number("draws", draws, 1, 10**6)
    whole_number("seed", seed, 0, 2**31 - 1)
    options: dict[str, Any] = {"verbose": verbose, "resume": resume, "engine": engine_for(network, budget)}

    # The sets of blocks to delete: random ones, then greedy ones.
    rng = np.random.default_rng(seed)
    rows = [
        ("random", count, draw, sorted(rng.choice(len(names), count, replace=False).tolist()))
        for count in range(1, most + 1)
        for draw in range(1, draws + 1)
    ]
    selection = getattr(data, "validation", None)
    if greedy:
        for kind, order in _greedy_orders(network, data if selection is None else selection, most, options).items():
            rows += [(kind, count, 1, order[:count]) for count in range(1, most + 1)]

    # All of them are measured in one pass.
    programs = [program(network, dict.fromkeys(blocks, SHORTCUT)) for *_, blocks in rows]
    table, facts = evaluate(network, data, programs, task=f"deleting up to {most} blocks", **options)
    for i, column in enumerate(("kind", "count", "draw")):
        table.insert(i, column, [row[i] for row in rows])
    table.insert(3, "blocks", [" ".join(names[i] for i in blocks) for *_, blocks in rows])
    random = table[table["kind"] == "random"].groupby("count")["error"]
    facts |= {
        "blocks": len(names),
        "most": most,
        "draws": draws,
        "seed": seed,
        "random": {str(count): spread(errors) for count, errors in random},
        "chosen_on": ("the examples measured" if selection is None else "the validation split") if greedy else None,
    }
    return Study("delete", table, facts)


def _greedy_orders(network: ResidualNetwork, data, most: int, options: dict[str, Any]) -> dict[str, list[int]]:
    """Returns the first `most` blocks that greedy choices delete, for the `"best"` and the `"worst"` choice."""
    count = len(network.blocks)
    options = options | {"engine": (rounds := rounds_for(options["engine"], data))}
    sweeps: dict[tuple[int, ...], pd.DataFrame] = {}  # the first round of both kinds is the same
    orders: dict[str, list[int]] = {}
    for kind in ("best", "worst"):
        chosen: list[int] = []
        for number in range(1, most + 1):
            key = tuple(chosen)
            if key not in sweeps:
                remaining = [i for i in range(count) if i not in chosen]
                task = f"choosing block {number} of {most}{rounds.told}"
                sweeps[key] = one_more(network, data, key, remaining, task=task, **options)[0]
            chosen.append(int(ranked(sweeps[key], ascending=kind == "best")["block"].iloc[0]))
        orders[kind] = chosen
    return orders


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: error by number of deleted blocks."""
    names = {"random": "at random, median", "best": "chosen to cost least", "worst": "chosen to cost most"}
    return {
        f"error, {names[str(kind)]}": Curve(
            rows.groupby("count")["error"].median(), "number of deleted blocks", follows=True
        )
        for kind, rows in study.rows.groupby("kind", sort=False)
    }


def draw(study: Study):
    """Plots error against the number of deleted blocks: boxes over draws, greedy choices, the paper's medians."""
    from keras_resnets.reports import figures

    figure, [axes], paper = figures.with_paper(study.summary)
    summary, rows = study.summary, study.rows
    random = rows[rows["kind"] == "random"].groupby("count")["error"]
    label = f"at random, {summary['draws']} draws: median, quartiles, extremes"
    figures.boxes(axes, {count: list(errors) for count, errors in random}, 0.6, label)
    for kind, colour, label in (("best", "tab:green", "chosen to cost least"), ("worst", "tab:red", "to cost most")):
        chosen = rows[rows["kind"] == kind]
        if len(chosen):
            axes.plot(chosen["count"], chosen["error"], ".-", color=colour, lw=1, label=f"{label}, one by one")
    figures.levels(axes, summary)
    if paper is not None:
        figures.paper_points(paper, VEIT, "Veit et al. 2016, Fig. 5a, medians read from it: ResNet-110, CIFAR-10")
    axes.set_xlabel(f"number of deleted blocks, of {summary['blocks']}")
    axes.set_xlim(0.2, summary["most"] + 0.8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    figures.errors(axes, summary)
    if paper not in (axes, None):
        paper.set_xlabel("number of deleted blocks, of 54")
        figures.errors(paper, summary)
        paper.set_ylabel("")
    figures.finish(figure, figures.heading(summary, "delete several blocks at once"))
    return figure


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s, rows = study.summary, study.rows
    shown = sorted({count for count in (1, s["most"] // 4, s["most"] // 2, s["most"]) if count})
    lines = []
    for count in shown:
        r = s["random"][str(count)]
        greedy = rows[(rows["count"] == count) & (rows["kind"] != "random")].set_index("kind")["error"]
        extra = "".join(f", {kind} choice {error:.1%}" for kind, error in greedy.items())
        lines.append(
            f"{count:>2} deleted: median error {r['50%']:.1%} (quartiles {r['25%']:.1%} to {r['75%']:.1%}, "
            f"{s['draws']} draws){extra}"
        )
    return "\n".join(lines)


DRAWINGS["delete"] = Drawing(draw, describe, curves)
