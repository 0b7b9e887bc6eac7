"""Runs trials: trains one point of the space in run directories that later processes or Hyperband rungs continue."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras
import keras_tuner

from keras_resnets.architecture import budget
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Busy, Run, read_csv, read_json, write_json
from keras_resnets.search.journal import COMPLETED, IDLE, STOPPED
from keras_resnets.search.space import DepthWidth, Plan
from keras_resnets.showing import counted
from keras_resnets.training.curves import Curves, told
from keras_resnets.training.execution import Execution
from keras_resnets.training.stopwatch import Stopwatch
from keras_resnets.training.training import train

# keras-tuner's name for the epoch up to which Hyperband trains a trial.
RUNG = "tuner/epochs"
# Where TensorBoard finds the trials, in the directory of a search.
LOGS = "logs"
# Seconds between attempts to continue a run that a process which was considered lost still holds.
_PATIENCE = 5


def shown_as(plan: Plan, trial: str) -> str:
    """Returns the name of a trial's run in TensorBoard: its number, and its place between depth and width."""
    return f"trial{trial}_{plan.spec.depth}layers_{plan.spec.stages[-1].widths[-1]}wide"


class Setting:
    """The settings that all trials of a search share.

    Args:
        space: the space.
        out: the directory of the search; its trials are in `out/trials`.
        objective: a metric of the training: `val_accuracy` or `val_loss`.
        seeds: trainings of each trial, whose objectives are averaged.
        patience: epochs without improvement of the objective after which a training stops; None for never.
        execution: how each training is executed; None for one device, as Keras is set.
    """

    def __init__(
        self,
        space: DepthWidth,
        out: str | os.PathLike,
        objective: str,
        seeds: int = 1,
        patience: int | None = None,
        execution: Execution | None = None,
    ):
        self.space, self.out, self.objective = space, Path(out), objective
        self.seeds, self.patience, self.execution = seeds, patience, execution or Execution()

    def place(self, plan: Plan) -> Path:
        """Returns the directory of a plan, which trials of the same plan, such as the rungs of Hyperband, share."""
        key = hashlib.sha256(json.dumps(plan.to_dict(), sort_keys=True).encode()).hexdigest()[:8]
        return self.out / "trials" / f"{plan.spec.name}_{key}"

    def epochs(self, values: Mapping[str, Any]) -> int:
        """Returns the number of epochs of a trial."""
        return min(int(values.get(RUNG, self.space.epochs)), self.space.epochs)

    def run(self, plan: Plan, epochs: int, verbose: int = 0, trial: str = "") -> None:
        """Trains a plan once with every seed up to an epoch, unless that is already done.

        Args:
            plan: the plan to train.
            epochs: the epoch to reach.
            verbose: as for `keras.Model.fit`.
            trial: the number of the trial. In TensorBoard the plan has that of the first trial that trained it.
        """
        place = self.place(plan)
        with contextlib.suppress(ArgumentError, OSError, AttributeError):  # there is none yet, or it is damaged
            trial = read_json(place / "plan.json").get("trial", trial)
        known = plan.to_dict() | {"values": dict(plan.values), "trial": trial}
        write_json(place / "plan.json", known, sealed=True)
        for k in range(self.seeds):
            if self._reached(place / f"seed{k}", epochs):
                Run(place / f"seed{k}", {}).sweep()
                continue
            self._train(plan, place / f"seed{k}", k, epochs, verbose, trial)

    def _train(self, plan: Plan, place: Path, k: int, epochs: int, verbose: int, trial: str) -> None:
        callbacks: list[keras.callbacks.Callback] = [Stopwatch(place)]
        if trial:
            logs = self.out / LOGS / shown_as(plan, trial) / (f"seed{k}" if self.seeds > 1 else "")
            callbacks.append(Curves(logs, self.space.epochs, f"{told(self.out)}, trial {trial}"))
        if self.patience is not None:
            mode = "min" if self.objective.endswith("loss") else "max"
            callbacks.append(keras.callbacks.EarlyStopping(self.objective, patience=self.patience, mode=mode))
        while True:
            try:
                train(
                    plan.spec,
                    self.space.data_for(plan.recipe).seeded(self.space.seed + k),
                    plan.recipe,
                    out=place,
                    epochs=self.space.epochs,
                    until=epochs,
                    paths=plan.paths,
                    seed=self.space.seed + k,
                    callbacks=callbacks,
                    verbose=verbose,
                    execution=self.execution,
                )
                return
            except Busy:
                time.sleep(_PATIENCE)
            finally:
                gc.collect()  # a network refers to itself

    def _reached(self, place: Path, epochs: int) -> bool:
        """Returns whether a training has reached an epoch; the last one counts once the network is saved and tested."""
        try:
            return Run(place, {}).finished or (epochs < self.space.epochs and len(self.history(place)) >= epochs)
        except ArgumentError:  # a damaged record, which training repairs
            return False

    @staticmethod
    def history(place: Path):
        """Returns the history of a training, a row per epoch."""
        import pandas as pd

        file = place / "history.csv"
        return read_csv(file) if file.exists() else pd.DataFrame()

    def score(self, plan: Plan, epochs: int, verbose: int = 0, trial: str = "") -> list[float]:
        """Trains a plan as `run` does, and returns the objective of each seed."""
        self.run(plan, epochs, verbose, trial)
        return self.scores(plan, epochs)

    def config(self) -> dict[str, Any]:
        """Returns the setting as plain data, for another process; its directory must be shared with that."""
        return {
            "space": self.space.config(),
            "out": str(self.out.absolute()),
            "objective": self.objective,
            "seeds": self.seeds,
            "patience": self.patience,
            "execution": dataclasses.asdict(self.execution),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Setting:
        """Inverse of `config`."""
        execution = Execution(**config["execution"])
        return cls(**{**config, "space": DepthWidth.from_config(config["space"]), "execution": execution})

    def scores(self, plan: Plan, epochs: int) -> list[float]:
        """Returns the objective of each seed at an epoch, or at the last one before it if training stopped early."""
        histories = [self.history(self.place(plan) / f"seed{k}") for k in range(self.seeds)]
        return [float(history[self.objective].iloc[min(epochs, len(history)) - 1]) for history in histories]


class Pool(Protocol):
    """Where trials are trained."""

    # How many are trained at a time.
    places: int

    def start(self, trial: Trial) -> Future:
        """Begins to train a trial; its future ends with the objective of each seed."""
        ...

    def result(self, future: Future, trial: Trial) -> list[float]:
        """Returns the scores of a future that has ended, or raises what ended it."""
        ...


class Here:
    """Trains one trial at a time, in this process.

    Args:
        setting: the settings that the trials share.
        verbose: as for `keras.Model.fit`.
    """

    places = 1

    def __init__(self, setting: Setting, verbose: int = 0):
        self.setting, self.verbose = setting, verbose

    def start(self, trial: Trial) -> Future:
        """Trains a trial; its future has ended."""
        future: Future = Future()
        future.set_result(self.setting.score(trial.plan, trial.epochs, self.verbose, trial.trial.trial_id))
        return future

    def result(self, future: Future, trial: Trial) -> list[float]:
        """Returns the scores of a future."""
        return future.result()


@functools.lru_cache(maxsize=1)
def _setting(config: str) -> Setting:
    """Returns the setting of a JSON text; a process that trains several trials of one search loads its data once."""
    return Setting.from_config(json.loads(config))


def score(config: str, hyperparameters: dict[str, Any], epochs: int, trial: str = "") -> list[float]:
    """Trains a trial in whatever process this is, and returns the objective of each seed.

    Args:
        config: what `Setting.config` gave, as JSON.
        hyperparameters: the configuration of the trial's hyperparameters.
        epochs: the epoch to reach.
        trial: the number of the trial.
    """
    setting = _setting(config)
    plan = setting.space.plan(keras_tuner.HyperParameters.from_config(hyperparameters))
    return setting.score(plan, epochs, trial=trial)


class Trial(NamedTuple):
    """A trial that is being trained.

    Attributes:
        trial: keras-tuner's record of it.
        plan: what is trained.
        epochs: the epoch to reach.
        place: the name under which it was asked for, `worker0` and so on; each has one trial at a time.
        began: when it began, by `time.perf_counter`.
    """

    trial: Any
    plan: Plan
    epochs: int
    place: str
    began: float


def train_trials(setting: Setting, oracle, pool: Pool, tell: Callable[[str], None] = lambda line: None) -> None:
    """Trains an oracle's trials, as many at a time as there are places, until it has no more.

    An error in a trial ends the search; keras-tuner would record a failed trial and continue.

    Args:
        setting: the settings that the trials share.
        oracle: a `Journaled` oracle.
        pool: where trials are trained.
        tell: called with a line of text for each trial that is done.
    """
    idle = [f"worker{k}" for k in range(pool.places)]
    running: dict[Future, Trial] = {}
    # A trial of a place that this search no longer has goes to another.
    oracle.lost = lambda trial: all(trial != other.trial.trial_id for other in running.values())
    while True:
        while idle and (trial := oracle.create_trial(idle[0])).status not in (IDLE, STOPPED):
            plan = setting.space.plan(trial.hyperparameters)
            begun = Trial(trial, plan, setting.epochs(trial.hyperparameters.values), idle.pop(0), time.perf_counter())
            running[pool.start(begun)] = begun
        if not running:
            if not oracle.stopped:
                raise RuntimeError("The oracle waits for a trial that nobody trains; run the same command again.")
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda future: running[future].place):
            ended = running.pop(future)
            scores = pool.result(future, ended)
            _record(setting, oracle, ended, sum(scores) / len(scores), tell)
            idle.append(ended.place)


def _record(setting: Setting, oracle, ended: Trial, score: float, tell: Callable[[str], None]) -> None:
    """Tells the oracle and the user how a trial ended."""
    trial, plan, epochs, _, began = ended
    tell(_describe(setting, trial.trial_id, plan, epochs, score, time.perf_counter() - began))
    oracle.update_trial(trial.trial_id, {setting.objective: score})
    trial.status = COMPLETED
    oracle.end_trial(trial)


def _describe(setting: Setting, trial: str, plan: Plan, epochs: int, score: float, seconds: float) -> str:
    """Returns a line of text about a finished trial."""
    cost = budget.costs(plan.spec)
    chosen = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in plan.values.items()
    )
    result = "diverged" if math.isnan(score) else f"{setting.objective} {score:.4f}"
    return (
        f"trial {trial}  {chosen}: {plan.spec.depth} layers, {plan.spec.stages[-1].widths[-1]} wide, "
        f"{cost['parameters']:,} parameters; {result} after {counted(epochs, 'epoch')}, {seconds:.0f} s"
    )
