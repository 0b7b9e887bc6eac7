"""A search from its beginning to its table, by one process or by many, killed as often as it may be."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.reports.study import Study
from keras_resnets.runs import Run
from keras_resnets.search import chief, hparams, oracles, results
from keras_resnets.search.crew import Crew
from keras_resnets.search.journal import Journal
from keras_resnets.search.space import DepthWidth
from keras_resnets.search.trials import Setting, Trials
from keras_resnets.search.worker import work as take_part

STUDY = "study"


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
    address: str | None = None,
    lost_after: float = 60.0,
    verbose: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Study:
    """Searches a space, and tells what came out.

    The same call goes on with a search that was stopped at any moment: what an oracle was asked and
    told is in a journal, trials that are trained are not trained again, and one that was being trained
    goes on from its last epoch, with weights, optimiser, statistics and random state as they were. With
    one process every oracle then proposes what it would have proposed; with several, random and
    grid do, and the others depend on who is done first. A damaged journal costs only the order of what it
    told, for each trial has its own record.

    The score of a trial is the objective after its last epoch: on the validation split, on which it is chosen.
    The error on the test split is in the table beside it. Hyperband's trials of one network are stops of one training,
    whose schedule is that of the whole length.

    Args:
        space: what to search.
        out: the directory. Gets `journal.jsonl`, a run directory below `trials` for each network, `trials.csv`,
            `best.json` (a spec for `keras-resnets train`), `best_recipe.json`, `study` (the figure), and
            `logs` for TensorBoard's HParams.
        oracle: as for `keras_resnets.search.oracles.make`.
        trials: as for `make`.
        objective: as for `make`.
        seeds: trainings of each trial, over which its score is averaged.
        patience: epochs without improvement after which a training stops; None for never.
        workers: processes that train, started on this machine; 0 to train in this one.
        address: `HOST:PORT` at which workers are waited for that are started by hand with
            `keras-resnets search --role worker`, beside those of `workers`; None for none, and port 0 for any.
        lost_after: seconds without a sign of life after which a worker's trial is given to another.
        verbose: as for `keras.Model.fit`, where this process trains.
        tell: is told of each trial, in a line.

    Returns:
        A `Study` with a row for every trial; `keras_resnets.search.results.table` describes it.

    Raises:
        ArgumentError: an argument breaks its rule, or `out` holds another search.
        OSError: another process is in charge of this search, or `out` cannot be written.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> space = kr.search.DepthWidth("preresnet20", "digits", parameters=5_000, blocks=(1, 2), epochs=1)
        >>> study = kr.search.search(space, out=tempfile.mkdtemp(), oracle="grid", trials=None)
        >>> study.rows[["depth", "status"]].values.tolist()
        [[8, 'completed'], [14, 'completed']]
    """
    for name, value, least in (("seeds", seeds, 1), ("workers", workers, 0), ("patience", patience, 1)):
        if value is not None:
            whole_number(name, value, least)
    out = Path(out)
    journal = Journal(out / "journal.jsonl")
    made = oracles.make(oracle, space, trials, objective, space.seed, journal)
    many = workers > 0 or address is not None
    if address is not None:
        chief.host_of(address)
    if many and not space.named:
        raise ArgumentError(
            "data must be given to DepthWidth by its name where other processes train; got a Data, "
            "which they cannot load."
        )
    if space.data_for(space.recipe).validation is None:
        raise ArgumentError("validation must be a share above 0, for trials are scored on that split; got 0.")
    asked = {
        "space": space.config(),
        "oracle": oracle,
        "trials": trials,
        "objective": objective,
        "seeds": seeds,
        "patience": patience,
    }
    with Run(out, asked, lambda: _asked(journal) or asked) as run:
        if run.finished and (out / STUDY / "study.json").exists():
            return Study.load(out / STUDY)
        setting = Setting(space, out, objective, seeds, patience)
        _resume(made, journal, run.asked, tell)
        hparams.begin(space, objective, out / "logs")
        if made.stopped:
            tell("all trials are done; what is left is their table")
        elif many:
            with contextlib.ExitStack() as stack:
                crew = stack.enter_context(Crew(out, workers, tell)) if workers else None
                chief.serve(made, out, address or "127.0.0.1:0", lost_after, crew.watch if crew else lambda: None)
                run.finish({})  # for workers that missed the chief's farewell
        else:
            made.lost = lambda trial: True  # there is nobody else
            Trials(setting, made, tell=tell, verbose=verbose).search()
        study = results.summarise(setting, made, oracle)
        study.save(out / STUDY)
        run.finish(results.write(setting, study))
    return study


def work(
    out: str | os.PathLike,
    *,
    patience: float = 3600.0,
    parent: int | None = None,
    verbose: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Takes part in a search whose chief runs elsewhere, until there are no more trials.

    Args:
        out: the directory of the search, shared with the chief; what is searched, and the chief's
            address, are read there.
        patience: seconds to wait for a chief that does not answer.
        parent: a process without which this one ends.
        verbose: as for `keras.Model.fit`.
        tell: is told of each trial, in a line.

    Raises:
        OSError: there is no search, or no chief has answered for so long.
    """
    record = Run(out, {}).record
    if record is None or "space" not in record.get("asked", {}):
        raise OSError(
            f"There is no search in {str(out)!r}. Start its chief first, with --role chief and the same --out."
        )
    if record.get("results") is not None:
        return
    asked = record["asked"]
    space = DepthWidth.from_config(asked["space"])
    setting = Setting(space, out, asked["objective"], asked["seeds"], asked["patience"])
    made = oracles.make(asked["oracle"], space, asked["trials"], asked["objective"], space.seed)
    take_part(setting, made, patience=patience, parent=parent, tell=tell, verbose=verbose)


def _asked(journal: Journal) -> Any:
    events, _ = journal.read()
    return events[0].get("asked") if events else None


def _resume(oracle, journal: Journal, asked: dict[str, Any], tell: Callable[[str], None]) -> None:
    """Brings a new oracle to where the journal ends."""
    events, torn = journal.read()
    if torn:
        tell(
            f"{str(journal.file)!r} was damaged; its last {torn} lines are left out. What is trained is kept, and is "
            f"not trained again where the oracle proposes it again."
        )
    if torn or not events:
        events = events or [{"event": "search", "asked": asked}]
        journal.cut(events)
    oracle.replay(events)
