"""Records the events of a keras-tuner oracle in a journal, from which a new oracle is restored.

keras-tuner overwrites the state of its oracles after every step, and a process that is killed during
the write leaves neither the old state nor the new one. Also, it does not save the random state of the
Bayesian oracle. A journal is only appended to: at most its last line can be incomplete, and nobody has
acted on that event yet. An oracle's state depends only on its seed and its events, so replaying the
events in a new oracle restores the state.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras_tuner

from keras_resnets.errors import ArgumentError
from keras_resnets.runs import from_json, to_json, whole, writing
from keras_resnets.runs.removal import check_free
from keras_resnets.search.private import Unsaved

RUNNING, COMPLETED, IDLE, STOPPED = "RUNNING", "COMPLETED", "IDLE", "STOPPED"


# The keys of each kind of event, without which it cannot be replayed.
_KEYS = {
    "search": {"asked"},
    "begin": {"worker", "trial", "values"},
    "end": {"trial", "status", "metrics", "step"},
    "stop": set(),
}
_SUM = "sha256"


def _sum_of(event: dict[str, Any]) -> str:
    """Returns the checksum of an event, which is written with it."""
    plain = {key: value for key, value in event.items() if key != _SUM}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


class Journal:
    """A file of events, one per line with its checksum, that is only appended to.

    Lines of early versions have no checksum; they come before all that have one.

    Args:
        file: the path of the file.
    """

    def __init__(self, file: str | os.PathLike):
        self.file = Path(file)

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """Returns the events before the first damaged line, and the number of lines from there on."""
        if not self.file.exists():
            return [], 0
        check_free(self.file)
        events: list[dict[str, Any]] = []
        lines, begun, summed = self.file.read_bytes().splitlines(keepends=True), set(), False
        for line in lines:
            try:
                event = from_json(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or not isinstance(event, dict):
                break
            summed = summed or _SUM in event
            if event.pop(_SUM, None) != (_sum_of(event) if summed else None):
                break
            kind = event.get("event")
            if not isinstance(kind, str) or not _KEYS.get(kind, {None}) <= event.keys():
                break
            if kind == "begin":
                begun.add(event["trial"])
            elif kind == "end" and event["trial"] not in begun:
                break
            events.append(event)
        return events, len(lines) - len(events)

    @staticmethod
    def _line(event: dict[str, Any]) -> str:
        return to_json({**event, _SUM: _sum_of(event)}, indent=None)

    def cut(self, events: list[dict[str, Any]]) -> None:
        """Replaces the content of the file by these events."""
        with whole(self.file) as part:
            part.write_text("".join(map(self._line, events)))

    def append(self, event: dict[str, Any]) -> None:
        """Appends an event, and returns when it is on the disk."""
        with writing(self.file), open(self.file, "a") as handle:
            handle.write(self._line(event))
            handle.flush()
            os.fsync(handle.fileno())


class Journaled(Unsaved):
    """Makes an oracle record its events in a journal, and replay them.

    A mixin in front of an oracle's class (`journaled`). The oracle saves no other files. It does not end the search
    while a trial is not finished.
    """

    journal: Journal
    # Returns whether nobody trains a trial that was begun.
    lost: Callable[[str], bool] = staticmethod(lambda trial: False)
    # Whether all trials are done.
    stopped = False

    def replay(self, events: list[dict[str, Any]]) -> None:
        """Repeats the events of an earlier oracle.

        Raises:
            ArgumentError: this oracle proposes other trials than the earlier one.
        """
        for event in events:
            if event["event"] == "begin":
                if event["trial"] in self.trials:
                    self._hand_over(event["trial"], event["worker"])
                    continue
                trial = self._propose(event["worker"])
                if (trial.trial_id, trial.hyperparameters.values) != (event["trial"], event["values"]):
                    raise ArgumentError(
                        f"{str(self.journal.file)!r}: trial {event['trial']} had {event['values']}, and now the "
                        f"oracle proposes {trial.hyperparameters.values}, so it is of another kind or of another "
                        f"version of keras-tuner. Use those that the search began with, or give another --out."
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
        """Returns the unfinished trial of a place, one that nobody trains, or a new one."""
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        abandoned = next((t.trial_id for t in self.ongoing_trials.values() if self.lost(t.trial_id)), None)
        if abandoned is not None:
            self._hand_over(abandoned, tuner_id)
            self._record_begin(self.trials[abandoned], tuner_id)
            return self.trials[abandoned]
        trial = self._propose(tuner_id)
        if trial.status == RUNNING:
            self._record_begin(trial, tuner_id)
        elif trial.status == STOPPED and self.ongoing_trials:
            trial.status = IDLE
        elif trial.status == STOPPED and not self.stopped:
            self.stopped = True
            self.journal.append({"event": "stop"})
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial):
        """Ends a trial, and records that."""
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
        """Records the metrics of a trial."""
        with _without_warnings():
            return super().update_trial(trial_id, metrics, step=step)

    def _propose(self, tuner_id):
        """Returns a new trial, as keras-tuner's oracle proposes it."""
        with _without_warnings():
            return super().create_trial(tuner_id)

    def _end(self, trial) -> None:
        """Ends a trial without recording it."""
        with _without_warnings():
            super().end_trial(trial)

    def _record_begin(self, trial, tuner_id) -> None:
        values = trial.hyperparameters.values
        self.journal.append({"event": "begin", "worker": tuner_id, "trial": trial.trial_id, "values": values})

    def _hand_over(self, trial_id: str, tuner_id: str) -> None:
        """Gives an unfinished trial to another worker."""
        previous = next(worker for worker, trial in self.ongoing_trials.items() if trial.trial_id == trial_id)
        self.ongoing_trials[tuner_id] = self.ongoing_trials.pop(previous)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignores warnings, such as that a Gaussian process reached its bounds or that a diverged trial has no score."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def journaled(kind: type[keras_tuner.Oracle], journal: Journal) -> Any:
    """Returns a subclass of a keras-tuner oracle that is `Journaled`."""
    return type(f"Journaled{kind.__name__}", (Journaled, kind), {"__module__": kind.__module__, "journal": journal})
