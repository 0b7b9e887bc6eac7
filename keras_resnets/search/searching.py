"""Runs a whole search, with one process or several, and resumes it after any interruption."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_resnets.errors import ArgumentError, number, whole_number
from keras_resnets.explaining import explained
from keras_resnets.reports.events import Events
from keras_resnets.reports.study import Study
from keras_resnets.runs import Run
from keras_resnets.search import oracles, results
from keras_resnets.search.cluster import Cluster
from keras_resnets.search.journal import Journal
from keras_resnets.search.space import DepthWidth
from keras_resnets.search.trials import LOGS, Here, Setting, train_trials
from keras_resnets.training.cluster import LOCAL, connected
from keras_resnets.training.execution import Execution, check_one_process

STUDY = "study"


@explained
def search(
    space: DepthWidth,
    *,
    out: str | os.PathLike,
    oracle: str = "random",
    trials: int | None = 12,
    objective: str = "val_accuracy",
    seeds: int = 1,
    patience: int | None = None,
    workers: int = 0,
    ray: str = LOCAL,
    gpus: float | None = None,
    verbose: int = 0,
    tell: Callable[[str], None] = lambda line: None,
    execution: Execution | None = None,
) -> Study:
    """Searches a space, and returns the results.

    The same call resumes a search that was stopped at any moment: a journal holds the oracle's events,
    finished trials are not trained again, and an unfinished one continues from its last epoch, with its
    weights, optimiser, statistics and random state. With one process, every oracle then proposes the
    same trials as without the interruption; with several, random and grid do, and the others depend on
    which trial ends first. A damaged journal loses only the order of its events, because each trial has
    its own record.

    The score of a trial is the objective after its last epoch, on the validation split, by which trials are
    selected. The table also contains the error on the test split. Hyperband's trials of one network are stages of one
    training, whose schedule is that of the full number of epochs.

    Args:
        space: the space to search.
        out: the directory. Gets `journal.jsonl`, a run directory below `trials` for each network, `trials.csv`,
            `best.json` (a spec for `keras-resnets train`), `best_recipe.json`, `study` (the figure), and
            `logs` for TensorBoard: the curves and hyperparameters of each network, under the number of the trial that
            trained it first.
        oracle: as for `keras_resnets.search.oracles.make`.
        trials: as for `make`.
        objective: as for `make`.
        seeds: trainings of each trial, over which its score is averaged.
        patience: epochs without improvement after which a training stops; None for never.
        workers: trials to train at a time, as tasks of Ray, each in a process of its own; 0 to train in this process.
        ray: the address of a Ray cluster that trains them, whose machines share `out`; `"local"` for processes on this
            machine.
        gpus: GPUs for each of these trials, which may be a fraction; None for one where there are any.
        verbose: as for `keras.Model.fit`, if this process trains.
        tell: called with a line of text for each trial.
        execution: how each trial is executed, as for `keras_resnets.train`.

    Returns:
        A `Study` with a row for every trial; `keras_resnets.search.results.table` describes it.

    Raises:
        ArgumentError: an argument breaks its rule, or `out` contains another search.
        OSError: another process runs this search, or `out` cannot be written.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> space = kr.search.DepthWidth("preresnet20", "digits", parameters=5_000, blocks=(1, 2), epochs=1)
        >>> study = kr.search.search(space, out=tempfile.mkdtemp(), oracle="grid", trials=None)
        >>> study.rows[["depth", "status"]].values.tolist()
        [[8, 'completed'], [14, 'completed']]
    """
    # Check the arguments.
    check_one_process(execution, "Each trial of a search", "Give workers to the search, for trials at the same time.")
    for name, value, least in (("seeds", seeds, 1), ("workers", workers, 0), ("patience", patience, 1)):
        if value is not None:
            whole_number(name, value, least)
    if gpus is not None:
        number("gpus", gpus, least=0)
    out = Path(out)
    journal = Journal(out / "journal.jsonl")
    journaled = oracles.make(oracle, space, trials, objective, space.seed, journal)
    if ray != LOCAL and not workers:
        raise ArgumentError(f"workers must be at least 1 for trials on the Ray cluster {ray!r}; got {workers!r}.")
    if workers and not space.named:
        raise ArgumentError(
            "data must be given to DepthWidth by its name if other processes train; got a Data, which they cannot load."
        )
    if space.data_for(space.recipe).validation is None:
        raise ArgumentError("validation must be a share above 0, because trials are scored on that split; got 0.")

    # Run the trials that are not done, in a run directory that only this process uses.
    asked = {
        "space": space.config(),
        "oracle": oracle,
        "trials": trials,
        "objective": objective,
        "seeds": seeds,
        "patience": patience,
    }
    if execution is not None and execution.precision is not None:
        asked["precision"] = execution.precision
    with Run(out, asked, lambda: _settings_in(journal) or asked) as run:
        if run.finished and Study.is_whole(out / STUDY):
            study = Study.load(out / STUDY)
            if not results.are_whole(out, study):
                results.write(out, study)
            return study
        setting = Setting(space, out, objective, seeds, patience, execution)
        _resume(journaled, journal, run.asked, tell)
        # Early versions wrote there which hyperparameters TensorBoard shows, and left out all others.
        Events.remove(out / LOGS)
        if journaled.stopped:
            tell("all trials are done; only their table is missing")
        elif workers:
            with connected(ray, workers):
                train_trials(setting, journaled, Cluster(setting, workers, gpus), tell)
        else:
            train_trials(setting, journaled, Here(setting, verbose), tell)

        # Summarise and save.
        study = results.summarise(setting, journaled, oracle)
        study.save(out / STUDY)
        run.finish(results.write(out, study))
    return study


def _settings_in(journal: Journal) -> Any:
    """Returns the settings of a search from its journal, or None."""
    events, _ = journal.read()
    return events[0].get("asked") if events else None


def _resume(oracle, journal: Journal, asked: dict[str, Any], tell: Callable[[str], None]) -> None:
    """Restores a new oracle from the journal, and repairs a damaged journal."""
    events, damaged = journal.read()
    if damaged:
        tell(
            f"{str(journal.file)!r} was damaged; its last {damaged} lines are ignored. Trained trials are kept, and "
            f"are not trained again if the oracle proposes them again."
        )
    if damaged or not events:
        events = events or [{"event": "search", "asked": asked}]
        journal.cut(events)
    oracle.replay(events)
