"""Runs programs over a data set and measures each: error, loss, agreement with the intact network."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from keras_resnets.data.batches import BATCH, DataFingerprint, batches, examples_in
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments.lanes import SHORTCUT, Lanes, Program, program, work
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.outputs import are_probabilities
from keras_resnets.reports.statistics import wilson
from keras_resnets.runs import UNFINISHED, fingerprint, whole

if TYPE_CHECKING:
    import pandas as pd

# Batches measured at a time: the operations of one fill the waits of the other.
WORKERS = 2


class Engine(Protocol):
    """What evaluates programs, as `Lanes` does."""

    def rows(self, most: int) -> int: ...

    def outputs(self, x, programs: Sequence[Program], tick: Callable[[int], None] | None = None) -> np.ndarray: ...


def engine_for(model: ResidualNetwork, budget: int) -> Lanes:
    """Returns what evaluates programs on a network, the budget shared among the batches measured at a time."""
    return Lanes(model, budget // WORKERS)


def evaluate(
    model: ResidualNetwork,
    data,
    programs: Sequence[Program],
    *,
    budget: int = 2**30,
    verbose: bool = False,
    resume: str | os.PathLike | None = None,
    task: str = "measuring",
    engine: Engine | None = None,
):
    """Measures each program on a data set.

    Args:
        model: a classifier whose output is one row of class probabilities or logits per example.
        data: as for `batches`.
        programs: what to measure.
        budget: bytes, as for `keras_resnets.lanes.Lanes`.
        verbose: whether to draw a progress bar.
        resume: a folder where finished batches are kept, so that the same call, made again after a
            kill, measures only the others; `Study.save` to that folder clears them away.
        task: what the progress bar says.
        engine: what `engine_for` gave for this model, to spare the tracing in a further call.

    Returns:
        A pandas.DataFrame of one row per program with `error` (top-1) and its 95 % Wilson interval
        `error_low`, `error_high`, `top5_error`, `loss` (cross-entropy in nats) and `agreement`,
        the share of examples classified as the intact network does; and a dict with the same
        of the intact network, `examples`, `labels` and fingerprints of weights and data. Without
        labels, the answers of the intact network stand in for them, so that `error` is the share
        of examples classified otherwise than by it.
    """
    import pandas as pd

    if len(model.output_shape) != 2:
        raise ArgumentError(f"model must end in one row of class scores per example; got output {model.output_shape}.")
    engine = engine or engine_for(model, budget)
    everything = [program(model), *programs]
    weights = fingerprint(model.weights)
    kept, stopped = Kept(resume, repr([p.steps for p in everything]) + weights), threading.Event()
    rows = engine.rows(BATCH)
    each = work(everything) if verbose else 0
    total = examples_in(data)
    sums, count, labelled = np.zeros(4), 0, True
    read = DataFingerprint()
    with (
        progress(task, total and each * -(-total // rows), verbose) as advance,
        ThreadPoolExecutor(WORKERS) as pool,
    ):

        def tick(lanes: int) -> None:
            if stopped.is_set():
                raise InterruptedError
            advance(lanes)

        def measure(number: int, x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
            file = kept.file(number, x, y)
            found = kept.get(file)
            if found is None:
                found = _measures(engine.outputs(x, everything, tick).astype("float64"), y)
                kept.put(file, found)
            else:
                advance(each)
            return found

        waiting: collections.deque = collections.deque()
        try:
            for number, (x, y) in enumerate(batches(data, rows)):
                count, labelled = count + len(x), y is not None
                read.add(x, y)
                waiting.append(pool.submit(measure, number, x, y))
                if len(waiting) > WORKERS:  # no more of the data in memory than is worked on
                    sums = sums + waiting.popleft().result()
            for future in waiting:
                sums = sums + future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    table = pd.DataFrame(sums / count, columns=["error", "top5_error", "loss", "agreement"])
    bounds = [wilson(error, count) for error in table["error"]]
    table.insert(1, "error_low", [low for low, _ in bounds])
    table.insert(2, "error_high", [high for _, high in bounds])
    intact = {key: float(value) for key, value in table.iloc[0].items()}
    facts = {
        "intact": intact,
        "examples": count,
        "classes": model.output_shape[1],
        "labels": "given" if labelled else "what the network left whole answers",
        "model": model.name,
        "weights_fingerprint": weights,
        "data_fingerprint": read.text,
    }
    return table.iloc[1:].reset_index(drop=True), facts


def one_more(model: ResidualNetwork, data, gone: Sequence[int], rest: Sequence[int], **how):
    """Measures the network without the residual branches `gone` and, in turn, one more of `rest`.

    Args:
        model: the network.
        data: as for `batches`.
        gone: indices of blocks.
        rest: indices of other blocks.
        **how: as for `evaluate`.

    Returns:
        The table and the facts of `evaluate`, the table with a column `block`, the index of the one more.
    """
    programs = [program(model, dict.fromkeys([*gone, i], SHORTCUT)) for i in rest]
    table, facts = evaluate(model, data, programs, **how)
    return table.assign(block=list(rest)), facts


def ranked(found, ascending: bool = True):
    """Sorts the table of `one_more` by error; deletions that cost the same error, by loss, then as in the network."""
    return found.sort_values(["error", "loss"], ascending=ascending, kind="stable")


@contextlib.contextmanager
def progress(task: str, total: int | None, verbose: bool):
    """Draws a progress bar, without an end where the total is unknown, and gives the function that moves it."""
    if not verbose:
        yield lambda amount: None
        return
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        job = bar.add_task(task, total=total)
        yield lambda amount: bar.advance(job, amount)


class Kept:
    """Measured batches on disk.

    Args:
        folder: the study's; None keeps nothing.
        what: says what is measured, of which weights.
    """

    def __init__(self, folder: str | os.PathLike | None, what: str):
        self.folder = folder and Path(folder) / UNFINISHED / hashlib.sha256(what.encode()).hexdigest()[:16]

    def file(self, number: int, x: np.ndarray, y: np.ndarray | None) -> Path | None:
        if not self.folder:
            return None
        return Path(self.folder) / f"{number}_{fingerprint([x] if y is None else [x, y])}.npy"

    def get(self, file: Path | None) -> np.ndarray | None:
        return np.load(file) if file and file.exists() else None

    def put(self, file: Path | None, sums: np.ndarray) -> None:
        if file:
            with whole(file) as part:
                np.save(part, sums)


def _measures(scores: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Sums over a batch, for each program: errors, top-5 errors, loss, agreements with the first."""
    best = scores.argmax(2)
    if labels is None:
        labels = best[0]
    labels = (labels.argmax(1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.reshape(-1)).astype(int)
    if labels.min() < 0 or labels.max() >= scores.shape[2]:
        raise ArgumentError(
            f"data: labels must be from 0 to {scores.shape[2] - 1}, the outputs of the network; got "
            f"{labels.min() if labels.min() < 0 else labels.max()}."
        )
    own = np.take_along_axis(scores, labels[None, :, None], axis=2)
    rank = (scores > own).sum(2)
    if are_probabilities(scores):
        # Float32 probabilities reach 0; the floor of Keras' own cross-entropy keeps the loss finite.
        loss = -np.log(np.maximum(own[..., 0], 1e-7))
    else:
        top = scores.max(2, keepdims=True)
        loss = (top + np.log(np.exp(scores - top).sum(2, keepdims=True)) - own)[..., 0]
    return np.stack([(best != labels).sum(1), (rank >= 5).sum(1), loss.sum(1), (best == best[0]).sum(1)], 1)


def side_by_side(networks: Iterable[ResidualNetwork], measure: Callable) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measures networks one after the other.

    Args:
        networks: the one that the study is of, and those beside it.
        measure: gives the rows and the facts of one.

    Returns:
        All rows, and the facts of each network by its name, as in the column `model`; a name that
        comes again gets a number.
    """
    import pandas as pd

    tables: list[pd.DataFrame] = []
    found: dict[str, Any] = {}
    for network in networks:
        rows, facts = measure(network)
        name = network.name if network.name not in found else f"{network.name} ({len(found) + 1})"
        tables.append(rows.assign(model=name))
        found[name] = facts
    return pd.concat(tables, ignore_index=True), found
