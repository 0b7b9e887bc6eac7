"""What an oracle of keras-tuner was asked and told, line by line, to bring another one to the same state.

keras-tuner writes the state of its oracles over itself after every step, and a process that is killed
while it does leaves neither the old state nor the new one. It also leaves out the random state of the
Bayesian one. A journal is only ever appended to: what can be torn is its last line, and that line is
of something that nobody has acted on yet. Oracles are functions of their seed and of what happened to
them, so the same events, told to a new oracle, make it the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras_tuner

from keras_resnets.errors import ArgumentError
from keras_resnets.runs import whole
from keras_resnets.search.private import Unsaved

RUNNING, COMPLETED, IDLE, STOPPED = "RUNNING", "COMPLETED", "IDLE", "STOPPED"


class Journal:
    """A file of events, one to a line, that is only appended to.

    Args:
        file: where.
    """

    def __init__(self, file: str | os.PathLike):
        self.file = Path(file)

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """Returns the events up to the first line that is torn, and how many lines follow from there."""
        if not self.file.exists():
            return [], 0
        events: list[dict[str, Any]] = []
        lines = self.file.read_bytes().splitlines(keepends=True)
        for line in lines:
            try:
                event = json.loads(line)
                if not line.endswith(b"\n") or not isinstance(event, dict):
                    break
            except ValueError:
                break
            events.append(event)
        return events, len(lines) - len(events)

    def cut(self, events: list[dict[str, Any]]) -> None:
        """Leaves these events only."""
        with whole(self.file) as part:
            part.write_text("".join(json.dumps(event) + "\n" for event in events))

    def append(self, event: dict[str, Any]) -> None:
        """Adds an event; when this returns, it is on the disk."""
        with open(self.file, "a") as handle:
            handle.write(json.dumps(event) + "\n")
            handle.flush()
            os.fsync(handle.fileno())


class Journaled(Unsaved):
    """Makes an oracle write down what happens to it, and begin with what was written down.

    To stand in front of an oracle's class (`journaled`). It keeps no other files, and it never lets a search end, or
    a worker go, while another worker has a trial that it may not finish.
    """

    journal: Journal
    # Whether the worker of a trial, by the trial's name, is taken for lost.
    lost: Callable[[str], bool] = staticmethod(lambda trial: False)
    # Whether all trials are done.
    stopped = False

    def replay(self, events: list[dict[str, Any]]) -> None:
        """Tells a new oracle what happened to one before it.

        Raises:
            ArgumentError: this oracle does not do what that one did.
        """
        for event in events:
            if event["event"] == "begin":
                if event["trial"] in self.trials:
                    self._hand_over(event["trial"], event["worker"])
                    continue
                trial = self._propose(event["worker"])
                if (trial.trial_id, trial.hyperparameters.values) != (event["trial"], event["values"]):
                    raise ArgumentError(
                        f"{str(self.journal.file)!r}: trial {event['trial']} was of {event['values']}, and now the "
                        f"oracle proposes {trial.hyperparameters.values}, as one of another version of keras-tuner or "
                        f"another kind would. Go on with what it was begun with, or give another --out."
                    )
            elif event["event"] == "end":
                trial = self.trials[event["trial"]]
                if event["metrics"]:
                    self.update_trial(trial.trial_id, event["metrics"], step=event["step"])
                trial.status = event["status"]
                self._end(trial)
            elif event["event"] == "stop":
                self.stopped = True

    @keras_tuner.synchronized
    def create_trial(self, tuner_id):
        """Returns the trial a worker has, one whose worker is lost, or a new one."""
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        left = next((t.trial_id for t in self.ongoing_trials.values() if self.lost(t.trial_id)), None)
        if left is not None:
            self._hand_over(left, tuner_id)
            self._note_begin(self.trials[left], tuner_id)
            return self.trials[left]
        trial = self._propose(tuner_id)
        if trial.status == RUNNING:
            self._note_begin(trial, tuner_id)
        elif trial.status == STOPPED and self.ongoing_trials:
            trial.status = IDLE
        elif trial.status == STOPPED and not self.stopped:
            self.stopped = True
            self.journal.append({"event": "stop"})
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial):
        """Ends a trial; one that was ended before, by a worker that had been taken for lost, is left as it is."""
        if all(trial.trial_id != ongoing.trial_id for ongoing in self.ongoing_trials.values()):
            return
        self._end(trial)
        trial = self.trials[trial.trial_id]
        metrics = {name: trial.metrics.get_history(name)[-1].mean() for name in trial.metrics.metrics}
        self.journal.append(
            {
                "event": "end",
                "trial": trial.trial_id,
                "status": trial.status,
                "metrics": metrics,
                "step": trial.best_step or 0,
            }
        )

    @keras_tuner.synchronized
    def update_trial(self, trial_id, metrics, step=0):
        """Notes the metrics of a trial."""
        with _quiet():
            return super().update_trial(trial_id, metrics, step=step)

    def _propose(self, tuner_id):
        with _quiet():
            return super().create_trial(tuner_id)

    def _end(self, trial) -> None:
        with _quiet():
            super().end_trial(trial)

    def _note_begin(self, trial, tuner_id) -> None:
        values = trial.hyperparameters.values
        self.journal.append({"event": "begin", "worker": tuner_id, "trial": trial.trial_id, "values": values})

    def _hand_over(self, trial_id: str, tuner_id: str) -> None:
        before = next(worker for worker, trial in self.ongoing_trials.items() if trial.trial_id == trial_id)
        self.ongoing_trials[tuner_id] = self.ongoing_trials.pop(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leaves out warnings: of bounds that a Gaussian process has reached, of a diverged trial that has no score."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def journaled(kind: type[keras_tuner.Oracle], journal: Journal) -> Any:
    """Returns the class of an oracle of keras-tuner, made `Journaled`."""
    return type(f"Journaled{kind.__name__}", (Journaled, kind), {"__module__": kind.__module__, "journal": journal})
