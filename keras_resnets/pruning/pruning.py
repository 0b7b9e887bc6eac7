"""`prune`: drops blocks, takes statistics anew, trains on, and measures what that costs and saves."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_resnets.data import Data
from keras_resnets.data.batches import batches, examples_in
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.instruments.evaluation import engine_for, evaluate
from keras_resnets.instruments.lanes import SHORTCUT, Lanes, Program, program
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.surgery import compact, copied, delete, select
from keras_resnets.pruning.choosing import Choosing, choose, number, split
from keras_resnets.pruning.costs import costs as costs_of
from keras_resnets.reports.study import Study
from keras_resnets.runs import Run, fingerprint, whole
from keras_resnets.training import fine_tuning, recalibration, recipes
from keras_resnets.training.opening import load_model

if TYPE_CHECKING:
    import pandas as pd

WHOLE, DROPPED, RECALIBRATED, TUNED = "whole", "dropped", "recalibrated", "fine-tuned"


class Pruned(NamedTuple):
    """What `prune` gives.

    Attributes:
        network: the network that is left.
        study: what was measured on the way.
    """

    network: ResidualNetwork
    study: Study


def prune(
    model: keras.Model,
    data,
    *,
    blocks: int | None = None,
    share: float | None = None,
    tolerance: float | None = None,
    keep: str | int | Iterable[str | int] = (),
    fine_tune: int = 0,
    recipe: str | recipes.Recipe = "digits",
    out: str | os.PathLike | None = None,
    seed: int = 0,
    verbose: bool = False,
    **choosing: Any,
) -> Pruned:
    """Drops residual branches that cost least, takes batch-norm statistics anew, and trains on if that is asked.

    This is Veit et al.'s lesion study (2016, section 4) put to use. `"greedy"` deletes each block that is left in turn,
    measures all these networks in one walk, drops the block whose loss costs the least error, and measures again;
    deletions that leave the same error, common on small sets, are told apart by loss, and then by their order in
    the network. `"one_shot"` measures once and drops in that order. Blocks are chosen on other examples than those
    that are reported. A transition may go as well: what its shortcut does, stays. Blocks of which nothing stays leave
    the chain (`keras_resnets.compact`).

    Args:
        model: a classifier that is a `ResidualNetwork`, or that `adopt` takes; it is left alone.
        data: what `keras_resnets.data.load` gives: the validation split, or the training split where nothing is held
            out, chooses the blocks, the training split gives the statistics and is trained on, the test split is
            reported. Or `(x, y)` arrays or batched `tf.data`, which are reported, with `calibration` for the rest.
        blocks: how many to drop. Of `blocks`, `share` and `tolerance`, one must be given.
        share: which share of the network's blocks to drop, rounded to a whole number, at least one.
        tolerance: drop until the error on the examples that choose would be more than so much above the whole
            network's, such as 0.005 for half a point; before statistics are taken anew, and before fine-tuning.
        keep: names or indices of blocks that must stay.
        fine_tune: epochs of training at the end (`keras_resnets.fine_tune`); 0 for none.
        recipe: of that training.
        out: a run directory for all of it: `model.keras`, what `Study.save` writes, `run.json`, and the fine-tuning
            below `fine_tuning`. The same call goes on there after a kill, and opens what is finished. None keeps
            nothing.
        seed: of the fine-tuning.
        verbose: whether to draw progress bars.
        **choosing: fields of `keras_resnets.pruning.Choosing`: `method`, `calibration`, `examples`, `recalibrate`,
            `timed` and `budget`.

    Returns:
        The network, not compiled unless it was fine-tuned, and a `Study` with a row for each number of `dropped` blocks
        and each `state`: `"whole"`, `"dropped"`, with the statistics of the whole network, `"recalibrated"`, of the
        whole network, too, and, at the end, `"fine-tuned"`. Each has `block`, the last one dropped,
        `calibration_error`, on the examples that chose, the measures of `lesion`, `parameters`, `macs`, and, where it
        was timed, the seconds for one image by the export in its own runtime, `saved_model_latency` (median) with its
        quartiles `saved_model_latency_low` and `_high`, and `litert_latency` likewise; all are timed in turns. The
        network has a spec where one describes it, with as many blocks in each stage as are left.

    Raises:
        ArgumentError: an argument breaks its rule, or `out` holds other work.
        OSError: `out` cannot be written, or another process works in it.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> x, y = np.random.default_rng(0).normal(size=(8, 8, 8, 1)), np.arange(8)
        >>> model = kr.build("preresnet14", input_shape=(8, 8, 1))
        >>> network, study = kr.prune(model, (x, y), calibration=(x[::-1], y), blocks=2, keep=[0, 2, 4], timed=0)
        >>> len(network.blocks), kr.parameters(network) == int(study.rows["parameters"].iloc[-1])
        (4, True)
    """
    network, how = adopt(model), Choosing.of(choosing)
    whole_number("fine_tune", fine_tune, 0)
    kept = set(select(network, keep))
    free = [i for i, block in enumerate(network.blocks) if block.residual is not None and i not in kept]
    count = number(network, len(free), blocks, share, tolerance)
    chooses, chosen_on = split(data, how.calibration, how.examples)
    asked = _asked(data, how) | {"chosen_on": chosen_on, "tolerance": tolerance}
    asked |= {
        "blocks": None if tolerance is not None else count,
        "keep": [network.blocks[i].name for i in sorted(kept)],
    }
    work: dict[str, Any] = {"network": network.name, "weights": fingerprint(network.weights), "prune": asked}
    if isinstance(data, Data) and data.prepare is None:  # else its options would not load the same
        work["data"] = {"name": data.name, **data.options}
    if fine_tune:
        fine_tuning.check_data(network, data)
        work |= {"recipe": recipes.get(recipe).to_dict(), "fine_tune": fine_tune, "seed": seed}

    with _place(out) as place, Run(place, work) as run:
        if run.finished:
            return Pruned(load_model(run.path), Study.load(run.path))
        shown: dict[str, Any] = {"verbose": verbose, "resume": out and run.path}
        lanes = engine_for(network, how.budget)

        # Which blocks go, and what is left after each of them.
        gone, errors = choose(network, chooses, free, count, tolerance, how.method, engine=lanes, **shown)
        parts, facts = _dropped(network, data, gone, engine=lanes, **shown)
        own, read = network, 0
        if how.recalibrate:
            source = data if isinstance(data, Data) else chooses
            own, read, recalibrated = _recalibrated(network, data, gone, source, lanes, how.budget, **shown)
            parts += recalibrated

        # The network that is left, trained on if that is asked.
        name = f"{network.name.removesuffix('_pruned')}_pruned"
        left = compact(delete(own, gone), spec=network.spec, name=name, copy=True)
        if fine_tune:
            left = _tuned(left, data, recipe, fine_tune, run, seed, verbose)
            beside = _Beside(lanes, network, engine_for(left, how.budget))
            tuned, _ = evaluate(left, data, [program(left)], task="fine-tuned", engine=beside, **shown)
            parts.append(tuned.assign(state=TUNED, dropped=len(gone)))

        # What all of them cost.
        names = [network.blocks[i].name for i in gone]
        costs = costs_of(network, gone, next(batches(data, 1))[0], how.timed)
        rows = _joined(parts, costs.assign(block=["-", *names], calibration_error=errors))
        facts |= {
            "blocks": len(network.blocks),
            "dropped": names,
            **{key: asked[key] for key in ("method", "tolerance", "keep", "chosen_on")},
            "recalibrated_on": read,
            "fine_tuning": _tuning_facts(recipe, fine_tune),
            "spec": left.spec and left.spec.to_dict(),
        }
        study = Study("prune", rows, facts)
        if out is not None:
            with whole(run.path / "model.keras") as part:
                left.save(part)
            study.save(run.path)
        run.finish({"dropped": len(gone), "test_accuracy": round(1 - float(rows["error"].iloc[-1]), 6)})
        return Pruned(left, study)


def _asked(data, how: Choosing) -> dict[str, Any]:
    """What a run directory compares of how blocks are chosen and measured."""
    given = [part for part in (data, how.calibration) if isinstance(part, tuple)]
    return {
        "method": how.method,
        "chosen_examples": how.examples,
        "arrays": [fingerprint(array for array in part if array is not None) for part in given],
        "reported_examples": examples_in(data),
        "recalibrate": how.recalibrate,
        "timed": how.timed,
    }


def _tuning_facts(recipe: str | recipes.Recipe, epochs: int) -> dict[str, Any] | None:
    """What the summary says of the fine-tuning; None without one."""
    if not epochs:
        return None
    tuning = fine_tuning.short(recipe, epochs)
    return {"recipe": tuning.name, "epochs": epochs, "learning_rate": tuning.learning_rate}


def _dropped(network: ResidualNetwork, data, gone: Sequence[int], **how) -> tuple[list[pd.DataFrame], dict[str, Any]]:
    """Measures the network whole, and without the first 1, 2 ... of the blocks; the facts are of the whole."""
    import pandas as pd

    programs = [program(network, dict.fromkeys(gone[:n], SHORTCUT)) for n in range(1, len(gone) + 1)]
    table, facts = evaluate(network, data, programs, task="measuring", **how)
    first = pd.DataFrame([facts["intact"]]).assign(state=WHOLE, dropped=0)
    return [first, table.assign(state=DROPPED, dropped=range(1, len(gone) + 1))], facts


def _recalibrated(network: ResidualNetwork, data, gone: Sequence[int], source, lanes: Lanes, budget: int, **how):
    """Measures the same networks, each with statistics of its own, on one copy that these are written to in turn.

    Returns:
        The copy, with the statistics of the last, how many examples these were taken from, and the tables.
    """
    own, tables, read = copied(network), [], 0
    beside = _Beside(lanes, network, engine_for(own, budget))
    for n in range(len(gone) + 1):
        read = recalibration.recalibrate(delete(own, gone[:n]), source)
        path = program(own, dict.fromkeys(gone[:n], SHORTCUT))
        found, _ = evaluate(own, data, [path], task=f"recalibrated, {n} dropped", engine=beside, **how)
        tables.append(found.assign(state=RECALIBRATED, dropped=n))
    return own, read, tables


@contextlib.contextmanager
def _place(out: str | os.PathLike | None) -> Iterator[Path]:
    """The run directory, or one for the time being; what a wrong argument was begun in, is gone."""
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    made = not Path(out).exists()
    try:
        yield Path(out)
    except ArgumentError:
        if made:
            shutil.rmtree(out, ignore_errors=True)
        raise


class _Beside:
    """Answers programs as `Lanes` does, but for the first, which is the whole network's, by that network."""

    def __init__(self, whole: Lanes, network: ResidualNetwork, lanes: Lanes):
        self.whole, self.intact, self.lanes = whole, program(network), lanes

    def rows(self, most: int) -> int:
        return min(self.whole.rows(most), self.lanes.rows(most))

    def outputs(self, x, programs: Sequence[Program], tick: Callable[[int], None] | None = None) -> np.ndarray:
        first = self.whole.outputs(x, [self.intact])
        return np.concatenate([first, self.lanes.outputs(x, programs[1:], tick)])


def _tuned(left: ResidualNetwork, data, recipe, epochs: int, run: Run, seed: int, verbose: bool) -> ResidualNetwork:
    """Fine-tunes in the run, from what was there when that began: a kill must not change the start."""
    start = run.path / "before_fine_tuning.keras"
    if not start.exists():
        with whole(start) as part:
            left.save(part)
    how: dict[str, Any] = {"out": run.path / "fine_tuning", "epochs": epochs, "seed": seed}
    return fine_tuning.fine_tune(load_model(start), data, recipe, verbose="auto" if verbose else 0, **how)


def _joined(parts: Sequence[pd.DataFrame], costs: pd.DataFrame) -> pd.DataFrame:
    """One table of the measures and of what the networks cost."""
    import pandas as pd

    found = pd.concat([part for part in parts if len(part)], ignore_index=True)
    rows = found.merge(costs, on="dropped", how="left", validate="many_to_one")
    first = ["dropped", "state", "block", "calibration_error"]
    return rows[[*first, *(column for column in rows if column not in first)]]
