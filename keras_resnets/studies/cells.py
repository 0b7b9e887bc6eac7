"""Trains a list of networks, each in its own run directory, and tabulates their results."""

from __future__ import annotations

import gc
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_resnets import data as datasets
from keras_resnets.architecture import variants
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError
from keras_resnets.reports.statistics import wilson
from keras_resnets.runs import Run, read_json, sound, write_json
from keras_resnets.showing import counted
from keras_resnets.training import recipes
from keras_resnets.training.stopwatch import Stopwatch, times_of
from keras_resnets.training.training import train

if TYPE_CHECKING:
    import pandas as pd

    from keras_resnets.paths import Policy


@dataclass(frozen=True)
class Cell:
    """One network to train.

    Args:
        labels: columns that distinguish it from the other cells of its table; the seed is one more
            column.
        network: a variant's name or a spec.
        recipe: a recipe or its name.
        epochs: as for `keras_resnets.train`.
        seed: as for `keras_resnets.train`.
        paths: as for `keras_resnets.train`.
        callbacks: a function that makes the callbacks of one training.
    """

    labels: Mapping[str, Any]
    network: str | Spec
    recipe: str | recipes.Recipe = "digits"
    epochs: int | None = None
    seed: int = 0
    paths: str | Policy | None = None
    callbacks: Callable[[], Sequence[keras.callbacks.Callback]] = tuple

    @property
    def columns(self) -> dict[str, Any]:
        """The labels and the seed."""
        return {**self.labels, "seed": self.seed}

    @property
    def name(self) -> str:
        """Name of the cell's run directory."""
        return "_".join(re.sub(r"[^\w.+-]+", "-", f"{key}-{value}") for key, value in self.columns.items())


def spec_of(network: str | Spec) -> Spec:
    """Returns the spec of the network that a study is to train.

    Raises:
        ArgumentError: it is neither a variant's name nor a spec.
    """
    if not isinstance(network, str | Spec):
        raise ArgumentError(
            f"network must be a variant's name or a Spec, because this study trains it from scratch; "
            f"got {type(network).__name__}."
        )
    return network if isinstance(network, Spec) else variants.spec(network)


def train_cells(
    cells: Sequence[Cell],
    data: str | os.PathLike | datasets.Data = "digits",
    *,
    out: str | os.PathLike,
    verbose: bool = False,
) -> pd.DataFrame:
    """Trains every cell that is not trained yet, one after the other.

    After an interruption, another call resumes in the middle of the cell where it stopped;
    finished networks are not even opened. Each cell is trained by `keras_resnets.train`.

    Args:
        cells: the cells to train, in this order.
        data: as for `keras_resnets.train`. Each cell's seed orders and augments the examples, also of
            a `Data`.
        out: cells are trained below `out/cells`.
        verbose: whether to print a line for each cell.

    Returns:
        A row per cell: its labels, `seed`, `error` (top-1, on the test split, after the last epoch)
        with its 95 % Wilson interval over `examples` (for segmentation, `mean_iou` and the error of pixels, without an
        interval), `loss`, `best_epoch` (by validation), `epochs`,
        `steps` of the optimiser, `seconds` of training as measured by `Stopwatch`, `epoch_seconds`
        (their median over epochs, with quartiles), and `run`, the directory below `out`.

    Raises:
        ArgumentError: an argument breaks its rule, or `out` holds a cell trained with other arguments.

    Example:
        >>> import tempfile
        >>> from keras_resnets.studies.cells import Cell, train_cells
        >>> table = train_cells([Cell({"depth": 8}, "resnet8", epochs=1)], "digits", out=tempfile.mkdtemp())
        >>> table[["depth", "seed", "epochs", "steps"]].to_dict("records")
        [{'depth': 8, 'seed': 0, 'epochs': 1, 'steps': 40}]
    """
    import pandas as pd

    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise ArgumentError(f"cells must differ in labels or seed; got {name!r} twice. Add a label.")
    rows = []
    for number, cell in enumerate(cells, 1):
        folder = Path(out) / "cells" / cell.name
        record = _record(cell, data)
        done = _comparable(_read(folder / "cell.json") or {}) == record and _is_done(folder)
        if done:
            Run(folder, {}).sweep()
        else:
            watch = Stopwatch(folder)
            train(
                spec_of(cell.network),
                data.seeded(cell.seed) if isinstance(data, datasets.Data) else data,
                cell.recipe,
                out=folder,
                epochs=cell.epochs,
                seed=cell.seed,
                paths=cell.paths,
                callbacks=[*cell.callbacks(), watch],
                verbose=0,
            )
            gc.collect()  # a network refers to itself
            write_json(folder / "cell.json", record, sealed=True)
        rows.append(cell.columns | _results(folder) | {"run": str(folder.relative_to(out))})
        if verbose:
            columns = ", ".join(f"{key} {value}" for key, value in cell.columns.items())
            row = rows[-1]
            print(
                f"{number} of {len(cells)}  {columns}: error {row['error']:.2%} of {row['examples']:,} after "
                f"{counted(row['epochs'], 'epoch')}, {row['seconds']:.0f} s{' (done before)' if done else ''}"
                f"{', diverged' if math.isnan(row['loss']) else ''}",
                flush=True,
            )
    return pd.DataFrame(rows)


def _record(cell: Cell, data) -> dict[str, Any]:
    """Returns all that a cell's result depends on, as plain data, to tell without Keras whether it is finished."""
    record = {
        "network": spec_of(cell.network).to_dict(),
        "recipe": recipes.get(cell.recipe).to_dict(),
        "epochs": cell.epochs,
        "seed": cell.seed,
        "paths": repr(cell.paths),
        "data": _asked(data) if isinstance(data, datasets.Data) else {"name": str(data)},
    }
    return _comparable(json.loads(json.dumps(record, default=str)))


# What identifies data, and what it is where a record does not say.
_OF_DATA: dict[str, Any] = {"data_dir": None, "image_size": None, "validation": 0.1, "contents": None, "given": {}}


def _asked(data: datasets.Data) -> dict[str, Any]:
    """Returns what identifies data, with those settings of their batches that the recipe does not determine."""
    given = data.given & data.options.keys() - {"seed", *_OF_DATA}
    return {"name": data.name, **data.options, "given": {key: data.options[key] for key in sorted(given)}}


def _comparable(record: dict[str, Any]) -> dict[str, Any]:
    """Reduces a record to what identifies the data."""
    data = record.get("data") or {}
    return {**record, "data": {"name": data.get("name"), **{key: data.get(key, _OF_DATA[key]) for key in _OF_DATA}}}


def _read(file: Path) -> Any:
    """Reads a JSON file; returns None if it is absent or damaged."""
    try:
        return read_json(file)
    except (OSError, ValueError):
        return None


def _is_done(folder: Path) -> bool:
    """Whether a cell's run is finished and its history is whole; if it is not, training writes it again."""
    return Run(folder, {}).finished and sound(folder / "history.csv")


def _results(folder: Path) -> dict[str, Any]:
    """Returns the columns of a finished run: its results and times."""
    record = Run(folder, {}).record or {}
    results = record["results"]
    times = times_of(folder, results["epochs"])
    return {
        **_errors(results),
        "loss": results["test_loss"],
        "examples": results["test_examples"],
        "best_epoch": results["best_epoch"],
        "epochs": results["epochs"],
        "steps": int(times["steps"].sum()),
        "seconds": float(times["seconds"].sum()),
        **{
            f"epoch_seconds{name}": float(times["seconds"].quantile(share))
            for name, share in {"": 0.5, "_25": 0.25, "_75": 0.75}.items()
        },
    }


def _errors(results: Mapping[str, Any]) -> dict[str, float]:
    """Returns the error; with an interval for a classifier only, since pixels of an image are not independent."""
    error, examples = 1 - results["test_accuracy"], results["test_examples"]
    if "test_mean_iou" in results:
        return {"mean_iou": results["test_mean_iou"], "error": error}
    low, high = wilson(error, examples)
    # The accuracy in run.json is rounded; the number of errors is whole.
    return {"error": round(error * examples) / examples, "error_low": low, "error_high": high}
