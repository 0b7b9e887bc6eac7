"""Training with stochastic depth: Huang et al. 2016, Fig. 8, and its effect on lesions: Veit et al. 2016."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture.spec import Spec
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.instruments.lanes import MEMORY
from keras_resnets.paths import StochasticDepth
from keras_resnets.reports.events import Curve
from keras_resnets.reports.statistics import spread, verdict
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.showing import counted
from keras_resnets.studies import robustness
from keras_resnets.studies.arms import against, describe_error, facts, over_seeds, train_arms
from keras_resnets.studies.cells import Cell, spec_of
from keras_resnets.training.feeding import data_of
from keras_resnets.training.recipes import Recipe

if TYPE_CHECKING:
    import pandas as pd


def survival(
    network: str | Spec,
    data: str | os.PathLike | Data = "digits",
    recipe: str | Recipe = "digits",
    *,
    out: str | os.PathLike,
    survivals: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 1.0),
    decays: Sequence[str] = ("linear",),
    seeds: int = 3,
    epochs: int = 20,
    lesion: float | bool = True,
    seed: int = 0,
    budget: int = MEMORY,
    verbose: bool = False,
) -> Study:
    """Trains a network without stochastic depth and with it, at several survival rates of the last block.

    Block l of L is on in a batch with the probability 1 - l/L (1 - p), or p for every block with
    `"uniform"` decay (`keras_resnets.paths.StochasticDepth`). The mean of this over the blocks is the
    share of residual branches to compute, for linear decay (1 + p)/2 - (1 - p)/(2L): with p
    of 0.5, (3L - 1)/(4L). Huang et al. find 5.25 % against 6.41 % on CIFAR-10 at 0.5 (Table 1), a
    quarter of the time saved, and good values from 0.4 to 0.8 (Fig. 8), in trainings of 500 epochs.

    Then every block is deleted in turn, in the networks trained without stochastic depth and with one of
    the survival rates. Veit et al. (2016, last figure) find that such a network is slightly more robust, and less
    dependent on the blocks that down-sample: here the first block of every stage except the first.

    Args:
        network: a variant's name or a spec.
        data: as for `keras_resnets.train`.
        recipe: as for `keras_resnets.train`.
        out: where the networks are trained, below `cells`; after an interruption, the same call resumes there.
        survivals: survival rates of the last block, from 0 to 1; 1, training without stochastic depth,
            is always included.
        decays: `"linear"`, `"uniform"` or both.
        seeds: trainings of each, 2 to 16.
        epochs: as for `keras_resnets.train`.
        lesion: the survival rate, with the first decay, whose networks are lesioned beside those of 1; True
            takes the one nearest to Huang et al.'s 0.5, False skips the lesions.
        seed: the first seed; the others follow it.
        budget: as for `keras_resnets.studies.lesion`.
        verbose: whether to print a line for each trained network, and draw progress bars.

    Returns:
        A `Study`. Its rows of `kind` `"trained"`, one for every decay, survival and seed, have
        `compute` (the expected share of residual branches), `time` (the median seconds of an epoch, relative
        to the network trained without stochastic depth with the same seed), and the columns of
        `keras_resnets.studies.cells.train_cells`. Those of `kind` `"lesion"`, one for every deleted block, have
        `block`, `stage`, `loss`, `agreement` and the errors. The summary gives means and standard deviations over
        seeds, differences from training without stochastic depth paired by seed, and the medians of the lesions.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.survival("preresnet110", "digits", out="survival")  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    import pandas as pd

    # The arms; the first is training without stochastic depth.
    spec = spec_of(network)
    if not decays:
        raise ArgumentError("decays must name at least one of 'linear', 'uniform'; got none.")
    arms: dict[tuple[str, float], StochasticDepth | None] = {(decays[0], 1.0): None}
    arms |= {(decay, p): StochasticDepth(p, decay) for decay in decays for p in sorted({*survivals} - {1})}
    chosen = _choose_lesioned(lesion, sorted({*survivals} - {1}))

    # Their trainings, with compute and time relative to the first arm.
    cells = [
        Cell({"decay": decay, "survival": float(p)}, spec, recipe, epochs, paths=policy)
        for (decay, p), policy in arms.items()
    ]
    trained = train_arms(cells, data, out=out, seeds=seeds, seed=seed, verbose=verbose)
    trained.insert(0, "kind", "trained")
    shares = {arm: float(policy.survival(spec.blocks).mean()) if policy else 1.0 for arm, policy in arms.items()}
    trained.insert(4, "compute", [shares[arm] for arm in zip(trained["decay"], trained["survival"], strict=True)])
    without = trained[trained["survival"] == 1].set_index("seed", drop=False)
    trained.insert(5, "time", trained["epoch_seconds"] / without["epoch_seconds"].loc[trained["seed"]].to_numpy())
    summary = {
        "model": spec.name,
        "blocks": spec.blocks,
        "epochs": epochs,
        **facts(trained, data),
        "arms": _compare_arms(trained, without),
        "lesion": None,
    }

    # Lesions of the networks of one survival rate, and of those of the first arm.
    tables = [trained]
    if chosen is not None:
        networks = trained[(trained["decay"] == decays[0]) & trained["survival"].isin([1.0, chosen])]
        loaded = data if isinstance(data, Data) else data_of(Path(out) / networks["run"].iloc[0])
        lesions = [robustness.lesion_of(row, Path(out), loaded, budget, verbose) for row in networks.to_dict("records")]
        tables.append(pd.concat(lesions, ignore_index=True))
        summary["lesion"] = robustness.compare(tables[1], chosen)
    return Study("survival", pd.concat(tables, ignore_index=True), summary)


def _compare_arms(trained: pd.DataFrame, without: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the statistics of each arm, and its differences from training without stochastic depth."""
    return [
        {
            "decay": decay,
            "survival": float(p),
            "compute": float(rows["compute"].iloc[0]),
            "time": spread(rows["time"]),
            **over_seeds(rows, "error"),
            "difference": None if p == 1 else against(rows, without),
        }
        for (decay, p), rows in trained.groupby(["decay", "survival"], sort=False)
    ]


def _choose_lesioned(lesion: float | bool, survivals: list[float]) -> float | None:
    """Returns the survival rate whose networks are to be lesioned, or None."""
    if lesion is True and survivals:
        return min(survivals, key=lambda p: (round(abs(p - 0.5), 9), p))
    if isinstance(lesion, bool):
        return None
    one_of("lesion", lesion, tuple(survivals))
    return lesion


def curves(study: Study) -> dict[str, Curve]:
    """Curves for TensorBoard: mean error by survival, median error by deleted block."""
    kinds = dict(list(study.rows.groupby("kind")))
    series = {}
    for decay, rows in kinds["trained"].groupby("decay"):
        means = rows.groupby("survival")["error"].mean()
        series[f"error, {decay} decay, mean over seeds"] = Curve(means, "survival of the last block")
    if "lesion" in kinds:
        for p, errors in robustness.by_block(kinds["lesion"]).items():
            median = errors.median(axis=1)
            series[f"error by deleted block, survival {p:g}, median over seeds"] = Curve(median, "deleted block")
    return series


def draw(study: Study):
    """Plots error against survival, lesions with and without stochastic depth, and time and compute of an epoch."""
    from keras_resnets.reports import figures

    summary, rows = study.summary, study.rows
    figure, panels = figures.panels(3 if summary["lesion"] else 2, 4.8)
    trained = rows[rows["kind"] == "trained"]
    without = trained[trained["survival"] == 1]
    top = 1.25 * float(trained["error"].max()) or 1.0

    # For each decay, error (left) and time (right) against survival.
    for (decay, rows_of_decay), colour in zip(trained.groupby("decay", sort=False), figures.COLOURS, strict=False):
        points = rows_of_decay[rows_of_decay["survival"] < 1]
        panels[0].plot(points["survival"], points["error"], "o", color=colour, ms=4, alpha=0.5)
        means = points.groupby("survival")["error"].mean()
        panels[0].plot(means.index, means, "D-", color=colour, label=f"{decay} decay: mean, and each seed")
        arms = [arm for arm in summary["arms"] if arm["decay"] == decay and arm["survival"] < 1]
        if arms:
            at, median = [arm["survival"] for arm in arms], [arm["time"]["50%"] for arm in arms]
            reach = [[abs(arm["time"][end] - arm["time"]["50%"]) for arm in arms] for end in ("min", "max")]
            label = f"{decay} decay: time of an epoch, median and extremes of seeds"
            panels[-1].errorbar(at, median, reach, fmt="D", color=colour, capsize=3, label=label)
            label = f"{decay} decay: share of residual branches, expected"
            panels[-1].plot(at, [arm["compute"] for arm in arms], "--", color=colour, label=label)

    # Training without stochastic depth, and labels.
    panels[0].plot(without["survival"], without["error"], "o", color=figures.INTACT, ms=4, alpha=0.7)
    label = f"trained without: {without['error'].mean():.1%}"
    panels[0].axhline(without["error"].mean(), color=figures.INTACT, lw=1.2, label=label)
    panels[-1].axhline(1, color=figures.INTACT, lw=1.2)
    panels[-1].set(ylabel="relative to the training without", ylim=(0, None))
    for axes in (panels[0], panels[-1]):
        axes.set(xlabel="survival of the last block", xlim=(0, 1.05))
    figures.errors(panels[0], summary, limits=(0, top))
    if summary["lesion"]:
        robustness.draw_lesions(panels[1], summary, rows[rows["kind"] == "lesion"])
    figures.finish(
        figure, figures.heading(summary, f"train with stochastic depth, {counted(summary['seeds'], 'seed')}"), 3
    )
    return figure


def describe(study: Study) -> str:
    """Summarises the result in a few lines."""
    s = study.summary
    lines = []
    for arm in s["arms"]:
        name = "without" if arm["survival"] == 1 else f"survival {arm['survival']:g}, {arm['decay']}"
        line = f"{name}: {describe_error(arm, s['seeds'])}"
        if arm["difference"]:
            t = arm["time"]
            line += (
                f", {verdict(arm['difference'])}; computes {arm['compute']:.0%} of the residual branches in "
                f"{t['50%']:.0%} of the time ({t['min']:.0%} to {t['max']:.0%})"
            )
        lines.append(line)
    for name, errors in s["lesion"]["errors"].items() if s["lesion"] else ():
        deleted = "any one block" if name == "all" else "a down-sampling block"
        lines.append(
            f"{deleted} deleted, median error: {errors['without']['50%']:.1%} trained without, "
            f"{errors['with']['50%']:.1%} with survival {s['lesion']['survival']:g}; the rise differs by "
            f"{verdict(errors['difference_of_rises'])}"
        )
    return "\n".join(lines)


DRAWINGS["survival"] = Drawing(draw, describe, curves)
