"""`prune`: drops blocks, recomputes statistics, fine-tunes, and measures what that costs and saves."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_resnets.data import Data
from keras_resnets.data.batches import batches, examples_in
from keras_resnets.data.needs import for_network
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.explaining import explained
from keras_resnets.instruments.evaluation import engine_for, evaluate
from keras_resnets.instruments.lanes import SHORTCUT, Lanes, Program, program
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.surgery import compact, copied, delete, select
from keras_resnets.pruning.choosing import Choosing, choose, choosing_examples, count_limit
from keras_resnets.pruning.costs import costs as costs_of
from keras_resnets.pruning.drawing import CONTROL
from keras_resnets.reports.study import Study
from keras_resnets.runs import Run, fingerprint, sound, whole
from keras_resnets.runs.removal import check_free, remove, strangers
from keras_resnets.training import fine_tuning, recalibration, recipes
from keras_resnets.training.execution import Execution, check_one_process
from keras_resnets.training.opening import load_model
from keras_resnets.training.training import is_complete

if TYPE_CHECKING:
    import pandas as pd

WHOLE, DROPPED, RECALIBRATED, TUNED = "whole", "dropped", "recalibrated", "fine-tuned"
# What a run directory holds before anything is measured.
_BEGUN = r"\.lock|run\.json|\.sums/run\.json\.json"


class Pruned(NamedTuple):
    """The result of `prune`.

    Attributes:
        network: the pruned network.
        study: the measurements of all steps.
    """

    network: ResidualNetwork
    study: Study


@explained
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
    execution: Execution | None = None,
    **choosing: Any,
) -> Pruned:
    """Drops the residual branches that cost least, recomputes batch-norm statistics, and fine-tunes if asked to.

    This applies Veit et al.'s lesion study (2016, section 4). `"greedy"` deletes each remaining block in turn,
    measures all these networks in one pass, drops the block whose deletion costs the least error, and measures again;
    equal errors, common on small sets, are ordered by loss, then by position in the network. `"one_shot"` measures
    once and drops in that order. Blocks are never chosen on the reported examples. A transition block may be dropped
    as well; its shortcut stays. Blocks without any remaining layer leave the chain (`keras_resnets.compact`).

    Args:
        model: a classifier: a `ResidualNetwork`, or a model that `adopt` takes; it is not changed.
        data: what `keras_resnets.data.load` gives: the validation split, or the training split if nothing is held
            out, chooses the blocks; the training split is for statistics and fine-tuning; the test split is
            reported. Or `(x, y)` arrays or batched `tf.data`, which are reported, with `calibration` for the rest.
        blocks: number of blocks to drop. Exactly one of `blocks`, `share` and `tolerance` must be given.
        share: share of the network's blocks to drop, rounded to a whole number, at least one.
        tolerance: drop blocks while the error on the examples that choose is at most this much above the whole
            network's, such as 0.005 for half a point; measured before statistics are recomputed, and before
            fine-tuning.
        keep: names or indices of blocks that must stay.
        fine_tune: epochs of training at the end (`keras_resnets.fine_tune`); 0 for none.
        recipe: recipe of that training.
        out: a run directory for all of it: `model.keras`, the files of `Study.save`, `run.json`, and the fine-tuning
            below `fine_tuning`. After an interruption, the same call resumes there; it opens a finished run. None keeps
            nothing.
        seed: seed of the fine-tuning.
        verbose: whether to draw progress bars.
        execution: of the fine-tuning, as for `keras_resnets.fine_tune`.
        **choosing: fields of `keras_resnets.pruning.Choosing`: `method`, `calibration`, `examples`, `recalibrate`,
            `control`, `timed` and `budget`.

    Returns:
        The network, not compiled unless it was fine-tuned, and a `Study` with a row for each number of `dropped` blocks
        and each `state`: `"whole"`; `"dropped"`, with the statistics of the whole network; `"recalibrated"`, also for
        the whole network; `"whole fine-tuned"` with `control`; and, at the end, `"fine-tuned"`. Each has `block`, the
        last one dropped, `calibration_error`, on the examples that chose, the measures of `lesion`, `parameters`,
        `macs`, and, if it
        was timed, the seconds for one image by the export in its own runtime, `saved_model_latency` (median) with its
        quartiles `saved_model_latency_low` and `_high`, and `litert_latency` likewise; on other backends than
        TensorFlow, which writes them, by Keras, `keras_latency`. All are timed in turn. The
        network has a spec if one describes it, with the remaining number of blocks in each stage.

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
    # How many of which blocks may be dropped, and what chooses them.
    check_one_process(execution, "Fine-tuning")
    network, how = adopt(model), Choosing.of(choosing)
    whole_number("fine_tune", fine_tune, 0)
    kept = set(select(network, keep))
    free = [i for i, block in enumerate(network.blocks) if block.residual is not None and i not in kept]
    count = count_limit(network, len(free), blocks, share, tolerance)
    data = for_network(data, network)
    chooses, chosen_on = choosing_examples(data, how.calibration, how.examples)

    # All that the result depends on, which a directory compares before it resumes.
    asked = _choosing_record(data, how) | {"chosen_on": chosen_on, "tolerance": tolerance}
    asked |= {
        "blocks": None if tolerance is not None else count,
        "keep": [network.blocks[i].name for i in sorted(kept)],
    }
    work: dict[str, Any] = {"network": network.name, "weights": fingerprint(network.weights), "prune": asked}
    if isinstance(data, Data) and data.prepare is None:  # else its options would not load the same data
        work["data"] = {"name": data.name, **data.options}
    how.check_control(fine_tune)
    if fine_tune:
        fine_tuning.check_data(network, data)
        work |= {"recipe": recipes.get(recipe).to_dict(), "fine_tune": fine_tune, "seed": seed}
        work |= {"control": True} if how.control else {}

    with _directory(out) as folder, Run(folder, work) as run:
        tuned = [*(["control"] if how.control else []), *(["fine_tuning"] if fine_tune else [])]
        tuning: dict[str, Any] = {"epochs": fine_tune, "seed": seed, "verbose": verbose, "execution": execution}
        if run.finished and sound(run.path / "model.keras") and Study.is_whole(run.path):
            broken = [name for name in tuned if not is_complete(Run(run.path / name, {}))]
            if all(_start(run, name).exists() for name in broken):
                for name in broken:
                    _fine_tune(None, data, recipe, run, name, **tuning)
                return Pruned(load_model(run.path), Study.load(run.path))
        options: dict[str, Any] = {"verbose": verbose, "resume": out and run.path}
        lanes = engine_for(network, how.budget)

        # The blocks to drop, and the network after each of them.
        gone, errors = choose(network, chooses, free, count, tolerance, how.method, engine=lanes, **options)
        parts, facts = _measure_dropped(network, data, gone, engine=lanes, **options)
        own, read = network, 0
        if how.recalibrate:
            source = data if isinstance(data, Data) else chooses
            own, read, recalibrated = _measure_recalibrated(network, data, gone, source, lanes, how.budget, **options)
            parts += recalibrated

        # The network that is left, fine-tuned if asked for, and the whole one likewise.
        name = f"{network.name.removesuffix('_pruned')}_pruned"
        left = compact(delete(own, gone), spec=network.spec, name=name, copy=True)
        beside = (network, data, lanes, how.budget)
        if how.control:
            control = _fine_tune(network, data, recipe, run, "control", **tuning)
            parts.append(_measure_tuned(control, *beside, **options).assign(state=CONTROL, dropped=0))
        if fine_tune:
            left = _fine_tune(left, data, recipe, run, "fine_tuning", **tuning)
            parts.append(_measure_tuned(left, *beside, **options).assign(state=TUNED, dropped=len(gone)))

        # The costs of all these networks.
        names = [network.blocks[i].name for i in gone]
        costs = costs_of(network, gone, next(batches(data, 1, shape=network.input_shape[1:]))[0], how.timed)
        rows = _join(parts, costs.assign(block=["-", *names], calibration_error=errors))
        facts |= {
            "blocks": len(network.blocks),
            "dropped": names,
            **{key: asked[key] for key in ("method", "tolerance", "keep", "chosen_on")},
            "recalibrated_on": read,
            "fine_tuning": _tuning_facts(recipe, fine_tune),
            "spec": left.spec and left.spec.to_dict(),
        }

        # The results, on disk and returned.
        study = Study("prune", rows, facts)
        if out is not None:
            with whole(run.path / "model.keras", sealed=True) as part:
                left.save(part)
            study.save(run.path)
        run.finish({"dropped": len(gone), "test_accuracy": round(1 - float(rows["error"].iloc[-1]), 6)})
        return Pruned(left, study)


def _choosing_record(data, how: Choosing) -> dict[str, Any]:
    """Returns how blocks are chosen and measured, as plain data for a run directory to compare."""
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
    """Returns the summary's facts about the fine-tuning; None without one."""
    if not epochs:
        return None
    tuning = fine_tuning.short(recipe, epochs)
    return {"recipe": tuning.name, "epochs": epochs, "learning_rate": tuning.learning_rate}


def _measure_dropped(
    network: ResidualNetwork, data, gone: Sequence[int], **options
) -> tuple[list[pd.DataFrame], dict[str, Any]]:
    """Measures the whole network, and without the first 1, 2 ... of the blocks; facts are those of the whole one."""
    import pandas as pd

    programs = [program(network, dict.fromkeys(gone[:n], SHORTCUT)) for n in range(1, len(gone) + 1)]
    table, facts = evaluate(network, data, programs, task="measuring", **options)
    first = pd.DataFrame([facts["intact"]]).assign(state=WHOLE, dropped=0)
    return [first, table.assign(state=DROPPED, dropped=range(1, len(gone) + 1))], facts


def _measure_recalibrated(
    network: ResidualNetwork, data, gone: Sequence[int], source, lanes: Lanes, budget: int, **options
):
    """Measures the same networks with recomputed statistics, which are written in turn to one copy.

    Returns:
        The copy, with the last network's statistics, the number of examples they were computed on, and the tables.
    """
    own, tables, read = copied(network), [], 0
    beside = _Beside(lanes, network, engine_for(own, budget))
    for n in range(len(gone) + 1):
        read = recalibration.recalibrate(delete(own, gone[:n]), source)
        path = program(own, dict.fromkeys(gone[:n], SHORTCUT))
        table, _ = evaluate(own, data, [path], task=f"recalibrated, {n} dropped", engine=beside, **options)
        tables.append(table.assign(state=RECALIBRATED, dropped=n))
    return own, read, tables


@contextlib.contextmanager
def _directory(out: str | os.PathLike | None) -> Iterator[Path]:
    """Gives the run directory, or a temporary one; after a wrong argument, removes a new one that holds nothing."""
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    is_new = not Path(out).exists()
    try:
        yield Path(out)
    except ArgumentError:
        if is_new and not strangers(out, _BEGUN):
            remove(Path(out), _BEGUN)
        raise


class _Beside:
    """Runs programs as `Lanes` does, except the first, the intact one, which the whole network runs."""

    def __init__(self, whole: Lanes, network: ResidualNetwork, lanes: Lanes):
        self.whole, self.intact, self.lanes = whole, program(network), lanes

    def rows(self, most: int) -> int:
        return min(self.whole.rows(most), self.lanes.rows(most))

    def outputs(self, x, programs: Sequence[Program], tick: Callable[[int], None] | None = None) -> np.ndarray:
        first = self.whole.outputs(x, [self.intact])
        return np.concatenate([first, self.lanes.outputs(x, programs[1:], tick)])


def _start(run: Run, name: str) -> Path:
    """Returns the file of the network from which a fine-tuning starts."""
    return run.path / f"before_{name}.keras"


def _fine_tune(
    left: ResidualNetwork | None, data, recipe, run: Run, name: str, *, epochs: int, seed: int, verbose: bool, execution
) -> ResidualNetwork:
    """Fine-tunes in the run; the initial network is saved first, so that an interruption does not change it.

    Where it is saved already, it is opened, and `left` may be None.
    """
    start = _start(run, name)
    check_free(start)
    if left is not None and not start.exists():
        with whole(start, sealed=True) as part:
            left.save(part)
    options: dict[str, Any] = {"out": run.path / name, "epochs": epochs, "seed": seed, "execution": execution}
    return fine_tuning.fine_tune(load_model(start), data, recipe, verbose="auto" if verbose else 0, **options)


def _measure_tuned(
    tuned: ResidualNetwork, network: ResidualNetwork, data, lanes: Lanes, budget: int, **options
) -> pd.DataFrame:
    """Measures a fine-tuned network beside the whole one before it."""
    engine = _Beside(lanes, network, engine_for(tuned, budget))
    return evaluate(tuned, data, [program(tuned)], task="fine-tuned", engine=engine, **options)[0]


def _join(parts: Sequence[pd.DataFrame], costs: pd.DataFrame) -> pd.DataFrame:
    """Returns one table of the measures and the costs of the networks."""
    import pandas as pd

    measures = pd.concat([part for part in parts if len(part)], ignore_index=True)
    rows = measures.merge(costs, on="dropped", how="left", validate="many_to_one")
    first = ["dropped", "state", "block", "calibration_error"]
    return rows[[*first, *(column for column in rows if column not in first)]]
