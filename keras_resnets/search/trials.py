"""Runs trials: trains one point of the space in run directories that later processes or Hyperband rungs continue."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from keras_resnets.architecture import budget
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Busy, Run, read_csv, write_json
from keras_resnets.search import hparams
from keras_resnets.search.journal import COMPLETED, IDLE, STOPPED
from keras_resnets.search.space import DepthWidth, Plan
from keras_resnets.training.stopwatch import Stopwatch
from keras_resnets.training.training import train

# keras-tuner's name for the epoch up to which Hyperband trains a trial.
RUNG = "tuner/epochs"
# Seconds between attempts to continue a run that a worker considered lost still holds.
_PATIENCE = 5


class Setting:
    """The settings that all trials of a search share.

    Args:
        space: the space.
        out: the directory of the search; its trials are in `out/trials`.
        objective: a metric of the training: `val_accuracy` or `val_loss`.
        seeds: trainings of each trial, whose objectives are averaged.
        patience: epochs without improvement of the objective after which a training stops; None for never.
    """

    def __init__(
        self, space: DepthWidth, out: str | os.PathLike, objective: str, seeds: int = 1, patience: int | None = None
    ):
        self.space, self.out, self.objective = space, Path(out), objective
        self.seeds, self.patience = seeds, patience

    def place(self, plan: Plan) -> Path:
        """Returns the directory of a plan, which trials of the same plan, such as the rungs of Hyperband, share."""
        key = hashlib.sha256(json.dumps(plan.to_dict(), sort_keys=True).encode()).hexdigest()[:8]
        return self.out / "trials" / f"{plan.spec.name}_{key}"

    def epochs(self, values: Mapping[str, Any]) -> int:
        """Returns the number of epochs of a trial."""
        return min(int(values.get(RUNG, self.space.epochs)), self.space.epochs)

    def run(self, plan: Plan, epochs: int, verbose: int = 0) -> None:
        """Trains a plan once with every seed up to an epoch, unless that is already done.

        Args:
            plan: the plan to train.
            epochs: the epoch to reach.
            verbose: as for `keras.Model.fit`.
        """
        place = self.place(plan)
        write_json(place / "plan.json", plan.to_dict() | {"values": dict(plan.values)}, sealed=True)
        for k in range(self.seeds):
            if self._reached(place / f"seed{k}", epochs):
                continue
            self._train(plan, place / f"seed{k}", k, epochs, verbose)

    def _train(self, plan: Plan, place: Path, k: int, epochs: int, verbose: int) -> None:
        callbacks: list[keras.callbacks.Callback] = [Stopwatch(place / "times.csv")]
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

    def scores(self, plan: Plan, epochs: int) -> list[float]:
        """Returns the objective of each seed at an epoch, or at the last one before it if training stopped early."""
        histories = [self.history(self.place(plan) / f"seed{k}") for k in range(self.seeds)]
        return [float(history[self.objective].iloc[min(epochs, len(history)) - 1]) for history in histories]


class Trials(keras_tuner.engine.base_tuner.BaseTuner):
    """The tuner: gets trials from an oracle, or from the chief that runs it, and trains them.

    An error in a trial ends the search; keras-tuner would record a failed trial and continue.

    Args:
        setting: the settings that the trials share.
        oracle: the oracle.
        worker: the name under which it asks for trials.
        tell: called with a line of text for each trial.
        verbose: as for `keras.Model.fit`.
    """

    def __init__(
        self,
        setting: Setting,
        oracle,
        worker: str = "worker0",
        tell: Callable[[str], None] = lambda line: None,
        verbose: int = 0,
    ):
        super().__init__(oracle, directory=str(setting.out), project_name=".")
        self.setting, self.tuner_id, self.tell, self.verbose = setting, worker, tell, verbose

    def search(self):
        """Runs trials until the oracle has no more."""
        while (trial := self.oracle.create_trial(self.tuner_id)).status != STOPPED:
            if trial.status == IDLE:
                continue
            self.on_trial_begin(trial)
            metrics = self.run_trial(trial)
            # A worker that was considered lost may already have reported the metrics.
            if not self.oracle.get_trial(trial.trial_id).metrics.exists(self.setting.objective):
                self.oracle.update_trial(trial.trial_id, metrics)
            trial.status = COMPLETED
            self.on_trial_end(trial)

    def run_trial(self, trial):
        """Trains a trial and returns its score as the metrics of keras-tuner."""
        plan = self.setting.space.plan(trial.hyperparameters)
        epochs = self.setting.epochs(trial.hyperparameters.values)
        began = time.perf_counter()
        self.setting.run(plan, epochs, self.verbose)
        scores = self.setting.scores(plan, epochs)
        score = sum(scores) / len(scores)
        setting = self.setting
        hparams.write_trial(setting.space, setting.objective, setting.out / "logs", trial.trial_id, plan, epochs, score)
        if self.tell is not None:
            self.tell(_describe(self.setting, trial.trial_id, plan, epochs, score, time.perf_counter() - began))
        return {self.setting.objective: score}

    def save(self):
        """Does nothing, because the journal holds the state."""

    def reload(self):
        """Does nothing, because the journal holds the state."""


def _describe(setting: Setting, trial: str, plan: Plan, epochs: int, score: float, seconds: float) -> str:
    """Returns a line of text about a finished trial."""
    cost = budget.costs(plan.spec)
    chosen = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in plan.values.items()
    )
    result = "diverged" if math.isnan(score) else f"{setting.objective} {score:.4f}"
    return (
        f"trial {trial}  {chosen}: {plan.spec.depth} layers, {plan.spec.stages[-1].widths[-1]} wide, "
        f"{cost['parameters']:,} parameters; {result} after {epochs} epochs, {seconds:.0f} s"
    )
