"""Costs of the pruned networks: parameters, multiply-adds, and latency."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.export.exporting import write
from keras_resnets.export.formats import FORMATS
from keras_resnets.instruments.timing import interleaved
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.cost import macs, parameters
from keras_resnets.network.surgery import compact, delete
from keras_resnets.pruning.drawing import FORMATS as TIMED

if TYPE_CHECKING:
    import pandas as pd


def timed_forms() -> tuple[str, ...]:
    """Returns what of a network is timed: its exports, or where Keras does not compute with TensorFlow, itself."""
    return tuple(name for name in TIMED if (name in FORMATS) == (keras.config.backend() == "tensorflow"))


def _runnable(name: str, network: ResidualNetwork, path: Path, example: np.ndarray) -> Callable[[], Any]:
    """Returns a function that runs a network: in Keras, or its export to a path, which is opened."""
    if name == "keras":
        return lambda: network.predict_on_batch(example)
    path = path.with_suffix(FORMATS[name].suffix or "")
    write(network, path, name, example, calls=0)
    opened = FORMATS[name].open(path)
    return lambda: opened.run(example)


def costs(network: ResidualNetwork, gone: Sequence[int], example: np.ndarray, timed: int) -> pd.DataFrame:
    """Returns a table of the network's costs without the first 0, 1, 2 ... of some blocks.

    Args:
        network: the network.
        gone: indices of the blocks, in the order of dropping.
        example: a batch of one input.
        timed: how many of the networks, evenly spread, to time in turn.

    Returns:
        A pandas.DataFrame of `dropped`, `parameters`, `macs` and, for each of `timed_forms`, `NAME_latency` with its
        quartiles `NAME_latency_low` and `NAME_latency_high`, in seconds for one example.
    """
    import pandas as pd

    counts = range(len(gone) + 1)
    chosen = {round(n) for n in np.linspace(0, len(gone), min(timed, len(counts)))}
    rows: list[dict[str, Any]] = []
    calls: dict[str, dict[int, Callable[[], Any]]] = {name: {} for name in timed_forms()}
    with tempfile.TemporaryDirectory() as folder:
        for n in counts:
            left = compact(delete(network, gone[:n]))
            rows.append({"dropped": n, "parameters": parameters(left), "macs": macs(left, example.shape[1:])})
            if n in chosen:
                for name in calls:
                    calls[name][n] = _runnable(name, left, Path(folder) / f"{name}{n}", example)
        # One runtime after the other: the threads of a runtime stay active for a while after its answer.
        for name, calls_of_format in calls.items():
            for n, time in interleaved(calls_of_format).items():
                column = f"{name}_latency"
                rows[n] |= {column: time["median"], f"{column}_low": time["low"], f"{column}_high": time["high"]}
    return pd.DataFrame(rows)
