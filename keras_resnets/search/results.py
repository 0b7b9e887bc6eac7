"""The results of a search: the table of its trials, the best trial, and the Pareto fronts of error and cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.architecture import budget
from keras_resnets.instruments.timing import latency
from keras_resnets.network.assembly import assemble
from keras_resnets.reports.statistics import wilson
from keras_resnets.reports.study import Study
from keras_resnets.runs import Run, read_json, sound, whole, write_json
from keras_resnets.search import drawing as drawing  # a study can only be saved if its drawing is registered
from keras_resnets.search.journal import COMPLETED
from keras_resnets.search.trials import Setting
from keras_resnets.training.stopwatch import times_of

# Columns of costs, and the quantiles in the summary.
COSTS = ("parameters", "macs", "activations", "latency")
# What `write` writes.
TABLE, BEST = "trials.csv", ("best.json", "best_recipe.json")
_QUARTILES = {"low": 0.25, "median": 0.5, "high": 0.75}


def table(setting: Setting, oracle):
    """Returns a table with a row for every trial, in the order of their numbers.

    Columns: `trial`; `status` (`completed`, `diverged`, or `stopped` if Hyperband stopped it before the
    last epoch); `score` (the objective, mean over seeds); `error`, `error_low`, `error_high` (top-1,
    validation split, mean over seeds, with the 95 % Wilson interval over the examples) and `error_sd` (over
    seeds); `test_error` (mean over seeds, of trials trained to the end); `epochs`; `seconds` (of training,
    median over seeds); `depth` (layers), `width` (channels of the last stage), `widths` (of all stages);
    `parameters`, `macs`, `activations`; each choice; `run`. `summarise` adds `latency` (median seconds for
    one image) with its quartiles `latency_low` and `latency_high`, and for each cost whether the trial is
    on the Pareto front of error and that cost.
    """
    import pandas as pd

    rows = []
    for number, trial in sorted(oracle.trials.items()):
        plan = setting.space.plan(trial.hyperparameters)
        epochs = setting.epochs(trial.hyperparameters.values)
        whole_length = epochs >= setting.space.epochs
        score = trial.score if trial.status == COMPLETED else math.nan
        status = "diverged" if math.isnan(score) else "completed" if whole_length else "stopped"
        rows.append(
            {"trial": int(number), "status": status, "score": score}
            | _errors(setting, plan, epochs)
            | {
                "depth": plan.spec.depth,
                "width": plan.spec.stages[-1].widths[-1],
                "widths": "-".join(str(stage.widths[-1]) for stage in plan.spec.stages),
            }
            | budget.costs(plan.spec)
            | dict(plan.values)
            | {"bracket": trial.hyperparameters.values.get("tuner/bracket")}
            | {"run": str(setting.place(plan).relative_to(setting.out))}
        )
    trials = pd.DataFrame(rows)
    return trials if trials["bracket"].notna().any() else trials.drop(columns="bracket")


def _errors(setting: Setting, plan, epochs: int) -> dict[str, Any]:
    """Returns the columns of a trial that its trainings determine."""
    # Read the training of each seed up to the trial's last epoch.
    place = setting.place(plan)
    examples = setting.space.data_for(plan.recipe).sizes["validation"]
    errors, tests, seconds, last_epochs = [], [], [], []
    for k in range(setting.seeds):
        history = setting.history(place / f"seed{k}")
        last = min(epochs, len(history))
        errors.append(1 - round(history["val_accuracy"].iloc[last - 1] * examples) / examples)
        last_epochs.append(last)
        seconds.append(float(times_of(place / f"seed{k}", last)["seconds"].sum()))
        record = Run(place / f"seed{k}", {}).record or {}
        if last == len(history) and "results" in record:
            results = record["results"]
            tests.append(1 - round(results["test_accuracy"] * results["test_examples"]) / results["test_examples"])

    # Average over seeds.
    error = float(np.mean(errors))
    low, high = wilson(error, examples)
    return {
        "error": error,
        "error_low": low,
        "error_high": high,
        "error_sd": float(np.std(errors, ddof=1)) if setting.seeds > 1 else math.nan,
        "test_error": float(np.mean(tests)) if len(tests) == setting.seeds else math.nan,
        "epochs": max(last_epochs),
        "seconds": float(np.median(seconds)),
    }


def front(rows, cost: str) -> list[bool]:
    """Returns for each row whether it is on the Pareto front: no row is better in error or cost and as good in both."""
    costs, errors = rows[cost].to_numpy(float), rows["error"].to_numpy(float)
    order = np.lexsort((errors, costs))
    # Of one cost, the least error; and less than at any smaller cost.
    first = np.append(True, np.diff(costs[order]) != 0)
    group, least = np.cumsum(first) - 1, errors[order][first]
    before = np.minimum.accumulate(np.append(np.inf, least))[:-1]
    on = np.empty(len(order), bool)
    on[order] = (errors[order] == least[group]) & (least < before)[group]
    return on.tolist()


def mark_front(rows, complete, cost: str) -> None:
    """Adds the column of a front; of no complete trial, none is on it."""
    rows[f"front_{cost}"] = False
    if complete.any():
        rows.loc[complete, f"front_{cost}"] = front(rows[complete], cost)


def summarise(setting: Setting, oracle, kind: str) -> Study:
    """Returns the study of a finished search: table, latencies, Pareto fronts, error by depth."""
    # Repeat trainings whose files were damaged; usually there are none.
    space = setting.space
    plans = {int(number): space.plan(trial.hyperparameters) for number, trial in oracle.trials.items()}
    for number, trial in oracle.trials.items():
        setting.run(plans[int(number)], setting.epochs(trial.hyperparameters.values), trial=number)
    rows = table(setting, oracle)

    # Measure the latency of each network once.
    latencies: dict[Any, dict[str, Any]] = {}
    for number in rows["trial"]:
        spec = plans[number].spec
        if spec not in latencies:
            latencies[spec] = latency(assemble(spec))
    times = [latencies[plans[number].spec] for number in rows["trial"]]
    rows["latency"] = [time["median"] for time in times]
    rows["latency_low"], rows["latency_high"] = [t["low"] for t in times], [t["high"] for t in times]

    # Compare the trials that were trained to the end.
    complete = rows["status"] == "completed"
    for cost in COSTS:
        mark_front(rows, complete, cost)
    by_depth = [
        {
            "depth": int(depth),
            "trials": len(of_depth),
            "best": float(of_depth["error"].min()),
            **{name: float(of_depth["error"].quantile(q)) for name, q in _QUARTILES.items()},
        }
        for depth, of_depth in rows[complete].groupby("depth")
    ]
    best = None
    if complete.any():
        sign = -1 if oracle.objective.direction == "max" else 1
        order = rows[complete].assign(rank=sign * rows["score"]).sort_values(["rank", "macs", "trial"])
        best = int(order["trial"].iloc[0])

    # Summarise the search.
    data = space.data_for(space.recipe)
    summary = {
        "model": space.template.name,
        "measure": space.measure,
        "budget": space.amount,
        "tolerance": space.tolerance,
        "left_out": [str(number) for number in space.left_out],
        "oracle": kind,
        "objective": setting.objective,
        "trials": len(rows),
        "seeds": setting.seeds,
        "epochs": space.epochs,
        "seed": space.seed,
        "data": data.name,
        "examples": data.sizes["validation"],
        "test_examples": data.sizes["test"],
        "labels": "given",
        "choices": list(plans[rows["trial"].iloc[0]].values) if len(rows) else [],
        "best": best,
        "by_depth": by_depth,
    }
    return Study("search", rows, summary)


def are_whole(out: Path, study: Study) -> bool:
    """Whether what `write` wrote is there as it was written; what has a copy is mended."""
    names = (TABLE, *(() if study.summary.get("best") is None else BEST))
    return sum(sound(out / name) for name in names) == len(names)  # each is looked at, and mended


def write(out: Path, study: Study) -> dict[str, Any]:
    """Writes `trials.csv`, and `best.json` and `best_recipe.json` of the best trial; returns results for `run.json`."""
    with whole(out / TABLE, sealed=True) as part:
        study.rows.to_csv(part, index=False)
    best = study.summary["best"]
    if best is None:
        return {"best": None}
    row = study.rows.set_index("trial").loc[best]
    plan = read_json(out / row["run"] / "plan.json")
    for name, values in zip(BEST, (plan["spec"], plan["recipe"]), strict=True):
        write_json(out / name, values, sealed=True)
    return {"best": best, "paths": plan["paths"], "score": float(row["score"]), "trials": len(study.rows)}
