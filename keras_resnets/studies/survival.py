"""Train with stochastic depth: Huang et al. 2016, Fig. 8, and what it does to lesions, Veit et al. 2016."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_resnets.architecture.spec import Spec
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, one_of
from keras_resnets.paths import StochasticDepth
from keras_resnets.reports.statistics import spread, verdict
from keras_resnets.reports.study import DRAWINGS, Drawing, Study
from keras_resnets.studies import robustness
from keras_resnets.studies.arms import against, facts, over_seeds, told, train_arms
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
    budget: int = 2**30,
    verbose: bool = False,
) -> Study:
    """Trains a network without stochastic depth and with it, at several survivals of the last block.

    Block l of L is on in a batch with the probability 1 - l/L (1 - p), or p for every block with
    `"uniform"` decay (`keras_resnets.paths.StochasticDepth`). The share of residual branches to
    be computed is the mean of that over the blocks, for linear decay (1 + p)/2 - (1 - p)/(2L): with p
    of 0.5, (3L - 1)/(4L). Huang et al. find 5.25 % against 6.41 % on CIFAR-10 at 0.5 (Table 1), a
    quarter of the time saved, and good values from 0.4 to 0.8 (Fig. 8), in trainings of 500 epochs.

    Then every block of the networks trained without and with one of the survivals is deleted in
    turn. Veit et al. (2016, last figure) find a network trained so slightly more robust, and less
    dependent on the blocks that down-sample: here the first block of every stage but the first.

    Args:
        network: a variant's name or a spec.
        data: as for `keras_resnets.train`.
        recipe: as for `keras_resnets.train`.
        out: where the networks are trained, below `cells`; the same call goes on there after a kill.
        survivals: of the last block, from 0 to 1; 1, the network trained without, is always among
            them.
        decays: `"linear"`, `"uniform"` or both.
        seeds: how many trainings of each, 2 to 16.
        epochs: as for `keras_resnets.train`.
        lesion: which of the survivals, of the first decay, is to be lesioned beside 1; True takes
            the one nearest to Huang et al.'s 0.5, False leaves the lesions out.
        seed: the first one; the others follow it.
        budget: as for `keras_resnets.studies.lesion`.
        verbose: whether to say a line for each network trained, and draw progress bars.

    Returns:
        A `Study`. Its rows of `kind` `"trained"`, one for every decay, survival and seed, have
        `compute` (the expected share of residual branches), `time` (the median seconds of an epoch
        over those of the network trained without, of the same seed), and the columns of
        `keras_resnets.studies.cells.train_cells`. Those of `kind` `"lesion"`, one for every block deleted, have
        `block`, `stage`, `loss`, `agreement` and the errors. The summary gives means and standard deviations over
        seeds, differences to the network trained without paired by seed, and the medians of the lesions.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> study = kr.studies.survival("preresnet110", "digits", out="survival")  # doctest: +SKIP
        >>> print(kr.studies.describe(study))  # doctest: +SKIP
    """
    import pandas as pd

    spec = spec_of(network)
    if not decays:
        raise ArgumentError("decays must name at least one of 'linear', 'uniform'; got none.")
    arms: dict[tuple[str, float], StochasticDepth | None] = {(decays[0], 1.0): None}
    arms |= {(decay, p): StochasticDepth(p, decay) for decay in decays for p in sorted({*survivals} - {1})}
    chosen = _to_lesion(lesion, sorted({*survivals} - {1}))
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
        **facts(trained),
        "arms": [
            {
                "decay": decay,
                "survival": float(p),
                "compute": shares[decay, p],
                "time": spread(found["time"]),
                **over_seeds(found, "error"),
                "difference": None if p == 1 else against(found, without),
            }
            for (decay, p), found in trained.groupby(["decay", "survival"], sort=False)
        ],
        "lesion": None,
    }
    tables = [trained]
    if chosen is not None:
        networks = trained[(trained["decay"] == decays[0]) & trained["survival"].isin([1.0, chosen])]
        loaded = data if isinstance(data, Data) else data_of(Path(out) / networks["run"].iloc[0])
        lesions = [robustness.lesion_of(row, Path(out), loaded, budget, verbose) for row in networks.to_dict("records")]
        tables.append(pd.concat(lesions, ignore_index=True))
        summary["lesion"] = robustness.compare(tables[1], chosen)
    return Study("survival", pd.concat(tables, ignore_index=True), summary)


def _to_lesion(lesion: float | bool, survivals: list[float]) -> float | None:
    if lesion is True and survivals:
        return min(survivals, key=lambda p: (round(abs(p - 0.5), 9), p))
    if isinstance(lesion, bool):
        return None
    one_of("lesion", lesion, tuple(survivals))
    return lesion


def curves(study: Study) -> dict[str, pd.Series]:
    """For TensorBoard: mean error by hundredths of survival, median error by number of the deleted block."""
    kinds = dict(list(study.rows.groupby("kind")))
    found = {}
    for decay, rows in kinds["trained"].groupby("decay"):
        found[f"{decay}/error"] = rows.groupby((100 * rows["survival"]).round().astype(int))["error"].mean()
    if "lesion" in kinds:
        for p, errors in robustness.by_block(kinds["lesion"]).items():
            found[f"lesion_{p}"] = errors.median(axis=1)
    return found


def draw(study: Study):
    """Error against survival; lesions with and without; the time of an epoch beside the share to be computed."""
    from keras_resnets.reports import figures

    summary, rows = study.summary, study.rows
    figure, panels = figures.panels(3 if summary["lesion"] else 2, 4.8)
    trained = rows[rows["kind"] == "trained"]
    without = trained[trained["survival"] == 1]
    top = 1.25 * float(trained["error"].max()) or 1.0
    for (decay, found), colour in zip(trained.groupby("decay", sort=False), figures.COLOURS, strict=False):
        found = found[found["survival"] < 1]
        panels[0].plot(found["survival"], found["error"], "o", color=colour, ms=4, alpha=0.5)
        means = found.groupby("survival")["error"].mean()
        panels[0].plot(means.index, means, "D-", color=colour, label=f"{decay} decay: mean, and each seed")
        arms = [arm for arm in summary["arms"] if arm["decay"] == decay and arm["survival"] < 1]
        if arms:
            at, median = [arm["survival"] for arm in arms], [arm["time"]["50%"] for arm in arms]
            reach = [[abs(arm["time"][end] - arm["time"]["50%"]) for arm in arms] for end in ("min", "max")]
            label = f"{decay} decay: time of an epoch, median and extremes of seeds"
            panels[-1].errorbar(at, median, reach, fmt="D", color=colour, capsize=3, label=label)
            label = f"{decay} decay: share of residual branches, expected"
            panels[-1].plot(at, [arm["compute"] for arm in arms], "--", color=colour, label=label)
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
    figures.finish(figure, f"{summary['model']}: train with stochastic depth, {summary['seeds']} seeds", 3)
    return figure


def describe(study: Study) -> str:
    """The finding in a few lines."""
    s = study.summary
    lines = []
    for arm in s["arms"]:
        who = "without" if arm["survival"] == 1 else f"survival {arm['survival']:g}, {arm['decay']}"
        line = f"{who}: {told(arm, s['seeds'])}"
        if arm["difference"]:
            t = arm["time"]
            line += (
                f", {verdict(arm['difference'])}; computes {arm['compute']:.0%} of the residual branches in "
                f"{t['50%']:.0%} of the time ({t['min']:.0%} to {t['max']:.0%})"
            )
        lines.append(line)
    for name, found in s["lesion"]["errors"].items() if s["lesion"] else ():
        who = "any one block" if name == "all" else "a down-sampling block"
        lines.append(
            f"{who} deleted, median error: {found['without']['50%']:.1%} trained without, {found['with']['50%']:.1%} "
            f"with survival {s['lesion']['survival']:g}; the rise differs by {verdict(found['difference_of_rises'])}"
        )
    return "\n".join(lines)


DRAWINGS["survival"] = Drawing(draw, describe, curves)
