"""Evaluates programs on a data set: error, loss, agreement with the intact network."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import importlib.util
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from keras_resnets.data.batches import BATCH, DataFingerprint, class_labels, examples_in, name_of
from keras_resnets.data.needs import batches_for
from keras_resnets.instruments.lanes import MEMORY, SHORTCUT, Lanes, Program, program, work
from keras_resnets.instruments.rounds import Rounds
from keras_resnets.network import private
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.outputs import check_classifier
from keras_resnets.network.probabilities import are_probabilities
from keras_resnets.reports.statistics import wilson
from keras_resnets.runs import UNFINISHED, fingerprint, sound, whole
from keras_resnets.runs.removal import remove_empty
from keras_resnets.showing import in_notebook

if TYPE_CHECKING:
    import pandas as pd

# Batches run in parallel: one computes while another waits.
WORKERS = 2


class Engine(Protocol):
    """Evaluates programs, as `Lanes` does."""

    def rows(self, most: int) -> int: ...

    def outputs(self, x, programs: Sequence[Program], tick: Callable[[int], None] | None = None) -> np.ndarray: ...


def engine_for(model: ResidualNetwork, budget: int) -> Lanes:
    """Returns an engine that evaluates programs on a network; batches that run in parallel share the budget."""
    return Lanes(model, budget // WORKERS)


def evaluate(
    model: ResidualNetwork,
    data,
    programs: Sequence[Program],
    *,
    budget: int = MEMORY,
    verbose: bool = False,
    resume: str | os.PathLike | None = None,
    task: str = "measuring",
    engine: Engine | None = None,
):
    """Measures each program on a data set.

    Args:
        model: a classifier whose output is one row of class probabilities or logits per example.
        data: as for `batches`.
        programs: the programs to measure.
        budget: bytes, as for `keras_resnets.lanes.Lanes`.
        verbose: whether to draw a progress bar.
        resume: a folder for the results of finished batches, so that the same call, repeated after
            an interruption, measures only the others; `Study.save` to that folder deletes them.
        task: the label of the progress bar.
        engine: the result of `engine_for` for this model, which saves the tracing in further calls.

    Returns:
        A pandas.DataFrame of one row per program with `error` (top-1) and its 95 % Wilson interval
        `error_low`, `error_high`, `top5_error`, `loss` (cross-entropy in nats) and `agreement`,
        the share of examples classified as by the intact network; and a dict with the same
        of the intact network, `examples`, `labels`, the name of the `data` and fingerprints of weights and data.
        Without labels, the intact network's predictions replace them, so `error` is the share of examples
        classified differently.
    """
    check_classifier(model)
    programs = [program(model), *programs]
    weights = fingerprint(model.weights)
    kept = Kept(resume, repr([p.steps for p in programs]) + weights, model)
    engine = engine or engine_for(model, budget)
    read = batches_for(model, data, engine.rows(BATCH), classes=True)
    totals = _measure(engine, programs, read, examples_in(data), kept, task, verbose)
    table = totals.table()
    facts = {
        "intact": {key: float(value) for key, value in table.iloc[0].items()},
        "examples": totals.examples,
        "classes": model.output_shape[1],
        "labels": "given" if totals.labelled else "what the network left whole answers",
        "model": model.name,
        "data": name_of(data),
        "weights_fingerprint": weights,
        "data_fingerprint": totals.data.text,
    }
    return table.iloc[1:].reset_index(drop=True), facts


@dataclass
class _Totals:
    """What is summed over the batches of a data set.

    Attributes:
        sums: the measures of each program, as from `_sum_measures`.
        examples: the number of examples.
        labelled: whether the data has labels.
        data: the fingerprint of the data.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros(4))
    examples: int = 0
    labelled: bool = True
    data: DataFingerprint = field(default_factory=DataFingerprint)

    def table(self) -> pd.DataFrame:
        """Returns the means over examples, with the intervals of the errors."""
        import pandas as pd

        table = pd.DataFrame(self.sums / self.examples, columns=["error", "top5_error", "loss", "agreement"])
        bounds = [wilson(error, self.examples) for error in table["error"]]
        table.insert(1, "error_low", [low for low, _ in bounds])
        table.insert(2, "error_high", [high for _, high in bounds])
        return table


def _measure(
    engine: Engine,
    programs: Sequence[Program],
    read: Iterable,
    examples: int | None,
    kept: Kept,
    task: str,
    verbose: bool,
) -> _Totals:
    """Measures programs on batches, some of them in parallel."""
    links, stopped, totals = work(programs) if verbose else 0, threading.Event(), _Totals()
    with (
        progress(task, examples and links * -(-examples // engine.rows(BATCH)), verbose) as advance,
        ThreadPoolExecutor(WORKERS) as pool,
    ):

        def measure_batch(number: int, x: np.ndarray, y: np.ndarray | None) -> np.ndarray:
            file, run = kept.file(number, x, y), 0

            def tick(lanes: int) -> None:
                nonlocal run
                if stopped.is_set():
                    raise InterruptedError
                run += lanes
                advance(lanes)

            sums = kept.get(file)
            if sums is None:
                sums = _sum_measures(engine.outputs(x, programs, tick).astype("float64"), y)
                kept.put(file, sums)
            advance(links - run)  # what did not have to be run
            return sums

        pending: collections.deque = collections.deque()
        try:
            for number, (x, y) in enumerate(read):
                totals.examples, totals.labelled = totals.examples + len(x), y is not None
                totals.data.add(x, y)
                pending.append(pool.submit(measure_batch, number, x, y))
                if len(pending) > WORKERS:  # hold no more of the data in memory than is in use
                    totals.sums = totals.sums + pending.popleft().result()
            for future in pending:
                totals.sums = totals.sums + future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            kept.tidy()
            raise
    return totals


def one_more(model: ResidualNetwork, data, deleted: Sequence[int], candidates: Sequence[int], **options):
    """Measures the network without the residual branches `deleted` and, in turn, without one of the `candidates`.

    Args:
        model: the network.
        data: as for `batches`.
        deleted: indices of blocks.
        candidates: indices of other blocks.
        **options: as for `evaluate`.

    Returns:
        The table and the facts of `evaluate`, the table with a column `block`, the index of the candidate.
    """
    programs = [program(model, dict.fromkeys([*deleted, i], SHORTCUT)) for i in candidates]
    table, facts = evaluate(model, data, programs, **options)
    return table.assign(block=list(candidates)), facts


def rounds_for(engine: Lanes, data) -> Rounds:
    """Returns the engine for rounds of `one_more` on a data set, each going on from the last one.

    What is remembered takes at most as much memory as the budget of `engine_for`.
    """
    examples = examples_in(data) or sum(getattr(data, "sizes", ())) or None
    return Rounds(engine, examples, WORKERS * engine.budget)


def ranked(rows, ascending: bool = True):
    """Sorts the table of `one_more` by error, equal errors by loss, and equal losses by the order of the network."""
    return rows.sort_values(["error", "loss"], ascending=ascending, kind="stable")


@contextlib.contextmanager
def progress(task: str, total: int | None, verbose: bool):
    """Draws a progress bar, without an end if the total is unknown, and yields the function that advances it."""
    if not verbose:
        yield lambda amount: None
        return
    from rich.progress import Progress

    # Notebooks keep every state of a bar that is text.
    with Progress(transient=True, console=_console(), refresh_per_second=2 if in_notebook() else 10) as bar:
        job = bar.add_task(task, total=total)
        yield lambda amount: bar.advance(job, amount)


def _console():
    """Returns where bars are drawn: a notebook's widgets, or text where it has none; else standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
        return Console(stderr=True, force_jupyter=False, force_terminal=True)
    return console


class Kept:
    """Results of finished batches on disk.

    Args:
        folder: the study's folder; None stores nothing.
        description: identifies the measurement and the weights; its hash names the folder of the results.
        model: the network; the layers of one without a spec, such as an edited one, identify it, too: it may have the
            weights of the whole.
    """

    def __init__(self, folder: str | os.PathLike | None, description: str, model: ResidualNetwork):
        if model.spec is None:
            layers = [(link.name, *(type(part).__name__ for part in private.flattened(link))) for link in model.chain]
            description += repr(layers)
        self.folder = folder and Path(folder) / UNFINISHED / hashlib.sha256(description.encode()).hexdigest()[:16]

    def file(self, number: int, x: np.ndarray, y: np.ndarray | None) -> Path | None:
        """Returns the file for the results of a batch, or None if nothing is stored."""
        if not self.folder:
            return None
        return Path(self.folder) / f"{number}_{fingerprint([x] if y is None else [x, y])}.npy"

    def get(self, file: Path | None) -> np.ndarray | None:
        """Returns the stored results of a batch, or None if there are none, or damaged ones."""
        if not file or not sound(file):
            return None
        try:
            return np.load(file)
        except (OSError, ValueError, EOFError):  # an early version's, without a checksum
            return None

    def tidy(self) -> None:
        """Removes the folders of the results if nothing came to be stored there."""
        if self.folder:
            remove_empty([self.folder, self.folder.parent])

    def put(self, file: Path | None, sums: np.ndarray) -> None:
        """Stores the results of a batch."""
        if file:
            with whole(file, sealed=True) as part:
                np.save(part, sums)


def measure_examples(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measures a classifier's outputs example by example.

    Args:
        scores: probabilities or logits, (..., examples, classes).
        labels: class numbers, (examples,), or of any shape that broadcasts to that of the scores without classes.

    Returns:
        Arrays of shape (..., examples): the class answered; how many classes score higher than the label's; and the
        cross-entropy in nats.
    """
    index = np.broadcast_to(labels, scores.shape[:-1])[..., None]
    of_label = np.take_along_axis(scores, index, axis=-1)
    if are_probabilities(scores):
        # Float32 probabilities reach 0; the floor of Keras' own cross-entropy keeps the loss finite.
        loss = -np.log(np.maximum(of_label[..., 0], 1e-7))
    else:
        top = scores.max(-1, keepdims=True)
        loss = (top + np.log(np.exp(scores - top).sum(-1, keepdims=True)) - of_label)[..., 0]
    return scores.argmax(-1), (scores > of_label).sum(-1), loss


def _sum_measures(scores: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Returns sums over a batch, for each program: errors, top-5 errors, loss, agreements with the first program."""
    labels = class_labels(scores[0].argmax(1) if labels is None else labels, scores.shape[2])
    best, rank, loss = measure_examples(scores, labels)
    return np.stack([(best != labels).sum(1), (rank >= 5).sum(1), loss.sum(1), (best == best[0]).sum(1)], 1)


def side_by_side(networks: Iterable[ResidualNetwork], measure: Callable) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measures several networks, one after the other.

    Args:
        networks: the network of the study, and those to compare it with.
        measure: returns the rows and the facts of one network.

    Returns:
        All rows, and the facts of each network by its name, as in the column `model`; a repeated
        name gets a number.
    """
    import pandas as pd

    tables: list[pd.DataFrame] = []
    facts_by_name: dict[str, Any] = {}
    for network in networks:
        rows, facts = measure(network)
        name = network.name if network.name not in facts_by_name else f"{network.name} ({len(facts_by_name) + 1})"
        tables.append(rows.assign(model=name))
        facts_by_name[name] = facts
    return pd.concat(tables, ignore_index=True), facts_by_name
