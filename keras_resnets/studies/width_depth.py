"""Deeper or wider at an equal budget: Zagoruyko & Komodakis 2016, Tables 4 and 5, and Wu et al. 2016, Table 1."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture import budget, counting
from keras_resnets.architecture.spec import Spec
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, nearest, whole_number
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import paired, verdict
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted
from keras_resnets.studies.arms import describe_error, facts, over_seeds, train_arms
from keras_resnets.studies.cells import Cell, spec_of
from keras_resnets.training import recipes
from keras_resnets.training.feeding import data_for

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {"parameters": "parameters", "macs": "multiply-adds", "activations": "activations"}


def width_depth(
    network: str | Spec = "preresnet20",
    data: str | os.PathLike | Data = "digits",
    recipe: str | recipes.Recipe = "digits",
    *,
    out: str | os.PathLike,
    depths: Sequence[int] = (1, 2, 3, 5, 9),
    tolerance: float = 0.02,
    seeds: int = 3,
    epochs: int = 20,
    seed: int = 0,
    verbose: bool = False,
    **budgets: int,
) -> Study:
    """Trains networks of several depths, each as wide as an equal budget allows.

    Zagoruyko & Komodakis (2016, Table 5) find errors on CIFAR-10 of 4.53 % with WRN-40-4, which has 8.9 M
    parameters, of 4.27 % with WRN-16-8 (11.0 M) and of 4.00 % with WRN-28-10 (36.5 M). Wu et al. (2016, Table 1)
    find top-1 errors on ImageNet of 19.2 % with 38 wide layers and 20.7 % with a pre-activation ResNet of 200.
    In both, budgets differ. Here they are equal: all stages have the same number of blocks,
    and the widths are those at which the network meets the budget.

    The best depth is not known in advance, and choosing it by the same errors that judge it would overstate it. So for
    each seed, the depth with the smallest mean error over all other seeds is chosen (the shallowest of equals) and
    judged by that seed alone. Both use the same test split, so conclusions are about other seeds with that split.

    Args:
        network: a variant's name or a spec, which determines kind, proportions and number of stages.
        data: as for `keras_resnets.train`.
        recipe: as for `keras_resnets.train`.
        out: where the networks are trained, below `cells`; after an interruption, the same call resumes there.
        depths: numbers of blocks in each stage, a network for each; at least two.
        tolerance: allowed deviation of a network's cost from the budget, as a share of it.
        seeds: trainings of each, 2 to 16.
        epochs: as for `keras_resnets.train`.
        seed: the first seed; the others follow it.
        verbose: whether to print a line for each trained network.
        **budgets: one of `parameters`, trainable ones; `macs`, multiply-adds for one example; and `activations`,
            elements of all convolutions' outputs for one example (Wu et al.'s memory). Without any, the number of
            parameters of `network`.

    Returns:
        A `Study` with a row for every depth and seed: `depth` in layers, `blocks` of a stage, `width` of the last
        one, `parameters`, `macs`, `activations`, and the columns of
        `keras_resnets.studies.cells.train_cells`. The summary gives means, standard deviations and
        intervals over seeds, and the differences of the chosen depth from the smallest and the largest, paired by seed.

    Raises:
        ArgumentError: an argument breaks its rule, or no width meets the budget.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.width_depth("preresnet20", out="width_depth")  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    # The budget, in one measure.
    spec = spec_of(network)
    if len({*depths}) < max(2, len(depths)):
        raise ArgumentError(f"depths must be two or more numbers, each of them once; got {list(depths)!r}.")
    for blocks in depths:
        whole_number("depths", blocks, 1)
    for name in budgets.keys() - set(budget.MEASURES):
        raise ArgumentError(f"width_depth takes no {name!r}; did you mean one of: {nearest(name, budget.MEASURES)}?")
    given = {measure: budgets[measure] for measure in budget.MEASURES if budgets.get(measure) is not None}
    if len(given) > 1:
        raise ArgumentError(
            f"The budget must be given as one of {', '.join(budget.MEASURES)}; got {' and '.join(given)}. Leave out "
            f"all others."
        )
    recipe = recipes.get(recipe)
    if not isinstance(data, Data):
        data = data_for(recipe, data, seed=seed)
    spec = spec.replace(input_shape=data.input_shape, classes=data.classes)
    measure, amount = next(iter(given.items()), ("parameters", counting.count(spec).parameters))

    # A network of each depth at that budget, and its trainings.
    specs = [budget.solve(budget.with_blocks(spec, n), measure, amount, tolerance) for n in sorted(depths)]
    networks = {solved.depth: _costs(solved) for solved in specs}
    arms = [Cell({"depth": solved.depth}, solved, recipe, epochs) for solved in specs]
    rows = train_arms(arms, data, out=out, seeds=seeds, seed=seed, verbose=verbose)
    for place, column in enumerate(next(iter(networks.values())), 2):
        rows.insert(place, column, [networks[depth][column] for depth in rows["depth"]])

    summary = {
        "model": spec.name,
        "measure": measure,
        "budget": amount,
        "tolerance": tolerance,
        "epochs": epochs,
        **facts(rows, data),
        "networks": [
            {"depth": depth, **networks[depth], **over_seeds(rows_of_depth, "error", "loss")}
            for depth, rows_of_depth in rows.groupby("depth")
        ],
        "best": _judge_best(rows),
    }
    return Study("width_depth", rows, summary)


def _costs(spec: Spec) -> dict[str, int]:
    """Returns blocks, width and costs of a network, by column."""
    last = spec.stages[-1]
    return {"blocks": last.blocks, "width": spec.widths(last)[-1], **budget.costs(spec)}


def _depth_of_least_error(errors: pd.DataFrame) -> int:
    """Returns the depth with the smallest mean error, the shallowest of equals."""
    # Means that are equal in exact arithmetic may differ by rounding.
    return int(errors.mean().round(12).idxmin())


def _judge_best(rows: pd.DataFrame) -> dict[str, Any]:
    """Compares the best depth, chosen for each seed by the others, with the smallest and the largest."""
    errors = rows.pivot(index="seed", columns="depth", values="error")
    chosen = {int(seed): _depth_of_least_error(errors.drop(seed)) for seed in errors.index}
    ends = {"shallowest": int(errors.columns[0]), "deepest": int(errors.columns[-1])}
    return {
        "depth": _depth_of_least_error(errors),
        "chosen": [{"seed": seed, "depth": depth} for seed, depth in chosen.items()],
        "against": {
            end: {
                "depth": depth,
                "error": paired([errors.loc[seed, best] - errors.loc[seed, depth] for seed, best in chosen.items()]),
            }
            for end, depth in ends.items()
        },
    }


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: mean error by depth."""
    return {"error by depth, mean over seeds": Curve(study.rows.groupby("depth")["error"].mean(), "depth in layers")}


def draw(study: Study):
    """Plots error against depth at the budget, and the networks' other costs."""
    import pandas as pd

    from keras_resnets.reports import figures

    summary, points = study.summary, pd.DataFrame(study.summary["networks"])
    figure, (left, right) = figures.panels(2)

    # Left: errors.
    points, dots = (table.assign(group=summary["model"]) for table in (figures.ends(points), study.rows))
    figures.over_depth(left, points, figures.MEAN, dots)
    figures.errors(left, summary, limits=figures.room(points["error_high"], dots["error"]))

    # Right: costs.
    for (measure, name), colour in zip(MEASURES.items(), figures.COLOURS[1:], strict=False):
        right.plot(points["depth"], points[measure] / points[measure].iloc[0], ".-", color=colour, label=name)
    right.set(ylabel="relative to the shallowest network", ylim=(0, None))
    for axes in (left, right):
        axes.set_xlabel("depth in layers, below it width of the last stage")
        axes.set_xticks(points["depth"], [f"{row.depth}\n{row.width}" for row in points.itertuples()])
    title = figures.heading(
        summary, f"at {summary['budget']:,} {MEASURES[summary['measure']]}, {counted(summary['seeds'], 'seed')}"
    )
    figures.finish(figure, title, 3)
    return figure


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    best = s["best"]
    lines = [
        f"{network['depth']} layers, blocks a stage {network['blocks']}, width of the last {network['width']}: "
        f"{describe_error(network, s['seeds'])}, {network['parameters']:,} parameters, {network['macs']:,} "
        f"multiply-adds, {network['activations']:,} activations"
        for network in s["networks"]
    ]
    chosen = ", ".join(f"{choice['depth']}" for choice in best["chosen"])
    lines.append(
        f"least mean error: {best['depth']} layers, of {counted(s['seeds'], 'seed')}; "
        f"chosen for each seed by the others: {chosen}"
    )
    for end, comparison in best["against"].items():
        itself = {choice["depth"] for choice in best["chosen"]} == {comparison["depth"]}
        judgement = "it is that one" if itself else verdict(comparison["error"])
        lines.append(f"so chosen, against the {end}, {comparison['depth']} layers: {judgement}")
    return "\n".join(lines)


DRAWINGS["width_depth"] = Drawing(draw, describe, curves)
