"""Exchanges blocks: Veit et al. 2016, Fig. 5b."""

from __future__ import annotations

import os

import keras
import numpy as np

from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.explaining import explained
from keras_resnets.instruments.evaluation import evaluate
from keras_resnets.instruments.lanes import MEMORY, program
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.surgery import interchangeable
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import spread, tau
from keras_resnets.reports.study import DRAWINGS, Drawing, Study

# Medians read from Veit et al. 2016, Fig. 5b (54 blocks, CIFAR-10), to about +-0.02: Kendall tau -> error.
VEIT = {0.99: 0.065, 0.96: 0.095, 0.94: 0.165, 0.92: 0.23, 0.90: 0.38, 0.88: 0.485, 0.86: 0.63, 0.84: 0.66}


@explained
def reorder(
    model: keras.Model,
    data,
    *,
    most: int = 20,
    draws: int = 20,
    seed: int = 0,
    budget: int = MEMORY,
    verbose: bool = False,
    resume: str | os.PathLike | None = None,
) -> Study:
    """Measures the network after 1 to `most` random exchanges of two blocks of equal shapes.

    Each exchange swaps a pair drawn from all pairs of blocks whose inputs and outputs have the same
    shapes, so down-sampling blocks stay in place. Kendall's tau over all blocks measures the
    distance of an order from the trained one.

    Args:
        model: a classifier: a `ResidualNetwork`, or a model that `adopt` takes.
        data: as for `keras_resnets.studies.lesion`.
        most: the largest number of exchanges.
        draws: random orders for each number.
        seed: seed of the draws.
        budget: as for `lesion`.
        verbose: as for `lesion`.
        resume: as for `lesion`.

    Returns:
        A `Study` with rows `swaps`, `draw`, `tau`, `order` (indices of the blocks) and the measures
        of `lesion`. The summary gives median, quartiles and extremes in bins of tau of 0.01.

    Raises:
        ArgumentError: an argument breaks its rule, or there are no two blocks of equal shapes.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.build("resnet20", input_shape=(8, 8, 1))
        >>> x, y = np.zeros((4, 8, 8, 1)), np.zeros(4, int)
        >>> len(kr.studies.reorder(model, (x, y), most=2, draws=3).rows)
        6
    """
    # The random orders.
    network = adopt(model)
    whole_number("most", most, 1, 10**6)
    whole_number("draws", draws, 1, 10**6)
    whole_number("seed", seed, 0, 2**31 - 1)
    rng, rows = np.random.default_rng(seed), []
    pairs = _pairs(network)
    for swaps in range(1, most + 1):
        for attempt in range(1, draws + 1):
            order = exchanged(len(network.blocks), pairs, swaps, rng)
            rows.append((swaps, attempt, tau(order), order))

    # All of them are measured in one pass.
    programs = [program(network, order=order) for *_, order in rows]
    table, facts = evaluate(
        network,
        data,
        programs,
        verbose=verbose,
        resume=resume,
        task="exchanging blocks",
        budget=budget,
    )
    for i, column in enumerate(("swaps", "draw", "tau")):
        table.insert(i, column, [row[i] for row in rows])
    table.insert(3, "order", [" ".join(map(str, order)) for *_, order in rows])
    bins = table["error"].groupby(table["tau"].round(2))
    facts |= {
        "blocks": len(network.blocks),
        "most": most,
        "draws": draws,
        "seed": seed,
        "pairs": len(pairs),
        "by_tau": {f"{at:.2f}": {"orders": len(errors)} | spread(errors) for at, errors in bins},
    }
    return Study("reorder", table, facts)


def _pairs(network: ResidualNetwork) -> list[tuple[int, int]]:
    """Returns the indices of all pairs of blocks that can be exchanged."""
    blocks = network.blocks
    pairs = [(i, j) for j in range(len(blocks)) for i in range(j) if interchangeable(blocks[i], blocks[j])]
    if not pairs:
        raise ArgumentError(f"model: no two blocks of {network.name!r} have equal shapes, so none can be exchanged.")
    return pairs


def exchanged(count: int, pairs: list[tuple[int, int]], swaps: int, rng: np.random.Generator) -> list[int]:
    """Returns the order of `count` blocks after a number of random `swaps` from `pairs`."""
    order = list(range(count))
    for i, j in (pairs[k] for k in rng.integers(len(pairs), size=swaps)):
        order[i], order[j] = order[j], order[i]
    return order


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: median error and mean tau by number of exchanges."""
    groups = study.rows.groupby("swaps")
    values = {"error, median": groups["error"].median(), "Kendall's tau, mean": groups["tau"].mean()}
    return {name: Curve(series, "number of exchanges of two blocks", follows=True) for name, series in values.items()}


def draw(study: Study):
    """Plots error against Kendall's tau: boxes over orders, and the paper's medians."""
    from keras_resnets.reports import figures

    figure, [axes], paper = figures.with_paper(study.summary)
    summary = study.summary
    bins = study.rows["error"].groupby(study.rows["tau"].round(2))
    label = f"orders in bins of 0.01, {len(study.rows)} in all: median, quartiles, extremes"
    figures.boxes(axes, {at: list(errors) for at, errors in bins}, 0.006, label)
    figures.levels(axes, summary)
    if paper is not None:
        figures.paper_points(paper, VEIT, "Veit et al. 2016, Fig. 5b, medians read from it: ResNet-110, CIFAR-10")
    axes.set_xlabel("Kendall's tau of the order of blocks")
    axes.set_xlim(1.005, min(study.rows["tau"].min(), 0.9) - 0.01)
    figures.errors(axes, summary)
    if paper not in (axes, None):
        paper.set(xlabel="Kendall's tau", xlim=(1.005, min(VEIT) - 0.01))
        figures.errors(paper, summary)
        paper.set_ylabel("")
    figures.finish(figure, figures.heading(summary, "exchange blocks of equal shapes"))
    return figure


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    bins = sorted(study.summary["by_tau"].items(), reverse=True)
    shown = [bins[i] for i in sorted({0, len(bins) // 3, 2 * len(bins) // 3, len(bins) - 1})]
    return "\n".join(
        f"tau {at}: median error {b['50%']:.1%} (quartiles {b['25%']:.1%} to {b['75%']:.1%}, {b['orders']} orders)"
        for at, b in shown
    )


DRAWINGS["reorder"] = Drawing(draw, describe, curves)
