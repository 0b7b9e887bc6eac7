"""Measures the effective depth of a network after epochs of its training, and stores it on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.data.batches import BATCH, batches, name_of
from keras_resnets.data.needs import batches_for
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.instruments import path_lengths, teaching
from keras_resnets.instruments.energy import measure
from keras_resnets.instruments.spectrum import Spectrum
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.events import Events, of_study
from keras_resnets.reports.statistics import tau
from keras_resnets.reports.study import Study
from keras_resnets.runs import fingerprint, read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

FILE = "effective_depth.json"
# What the measures are called in TensorBoard: of the whole network, by epoch, and of a block.
DEPTHS = {
    "mean": "effective depth, mean",
    "argmax": "effective depth, length of most energy",
    "mean_in_phase": "effective depth in phase, mean",
    "argmax_in_phase": "effective depth in phase, length of most energy",
    "length": "longest path that teaches a block",
}
_OF_BLOCK = {
    "energy_ratio": "energy ratio",
    "gamma": "gamma",
    "gradient_share": "share of the gradient",
    "taught_by": "longest path that teaches it",
}


class EffectiveDepth(keras.callbacks.Callback):
    """Measures the network's effective depth before training and after epochs.

    See `keras_resnets.studies.dynamics` for what is measured. Training is not affected:
    weights, statistics, optimiser and random state are only read.

    TensorBoard gets scalars by number of finished epochs: `study/dynamics/effective depth, mean` and its other
    measures, and of each block `study/dynamics/BLOCK: energy ratio`, `...: gamma` (where the branch has a
    batch-norm), `...: share of the gradient` and `...: longest path that teaches it`; and the image
    `study/dynamics/figure`. The measurements are also stored in `log_dir`, so that a resumed training has all of them.

    Args:
        data: as for `keras_resnets.studies.lesion`; its first examples are measured. Without labels,
            the network's predictions stand in for them where gradients are computed.
        log_dir: the folder to write; a run of its own within TensorBoard's log directory.
        every: epochs between measurements; the first one is made before training.
        examples: number of examples to measure, in one batch.
        gradients: number of these examples whose gradient is split by path length; 0 for none. This
            uses the moving averages of batch-norm, so it is not done before training.

    Attributes:
        rows: the measurements so far: `epoch` and the columns of
            `keras_resnets.studies.energy.measure` and `keras_resnets.studies.teaching.measure`.

    Raises:
        ArgumentError: a number is less than 1, or a resumed training was measured with other arguments.

    Example:
        >>> import keras_resnets as kr, numpy as np, tempfile
        >>> model = kr.build("resnet8", (8, 8, 1))
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> x, y = np.random.default_rng(0).normal(size=(4, 8, 8, 1)), np.zeros(4, int)
        >>> callback = kr.callbacks.EffectiveDepth((x, y), tempfile.mkdtemp())
        >>> _ = model.fit(x, y, epochs=2, callbacks=[callback], verbose=0)
        >>> callback.rows["epoch"].unique().tolist()
        [0, 1, 2]
    """

    def __init__(self, data, log_dir: str | os.PathLike, every: int = 1, examples: int = BATCH, gradients: int = 32):
        super().__init__()
        whole_number("every", every, 1)
        whole_number("examples", examples, 1)
        whole_number("gradients", gradients, 0)
        self.data, self.log_dir, self.every, self.examples = data, log_dir, every, examples
        self.gradients = gradients
        self.rows: Any = None
        self._network: ResidualNetwork | None = None
        self._spectrum: Spectrum | None = None
        self._probe: tuple[np.ndarray, np.ndarray | None] | None = None
        self._begun = False

    def on_train_begin(self, logs=None):
        self._begun = False

    def on_epoch_begin(self, epoch, logs=None):
        if self._begun:
            return
        self._begun = True
        self.rows = None
        if epoch:
            # A resumed training; measurements after the last whole epoch will be repeated.
            self.load()
            earlier = [] if self.rows is None else self.rows[self.rows["epoch"] <= epoch]
            self.rows = earlier if len(earlier) else None
        if self.rows is None:
            self._measure(epoch)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            self._measure(epoch + 1)

    def load(self) -> None:
        """Reads the measurements of an earlier process from `log_dir`; without a file, there are no rows."""
        import pandas as pd

        file = Path(self.log_dir) / FILE
        self.rows = None
        if not file.exists():
            return
        stored = read_json(file)
        for name, value in self._settings().items():
            if stored[name] != value:
                raise ArgumentError(
                    f"{str(file)!r} was measured with {name} = {stored[name]!r}, now it is {value!r}; give what it was "
                    f"measured with, or another log_dir."
                )
        self.rows = pd.DataFrame(stored["rows"])

    def study(self) -> Study:
        """Returns the study `dynamics` of the measurements so far.

        Raises:
            ArgumentError: there are none.
        """
        if self.rows is None:
            raise ArgumentError(
                f"Nothing was measured yet for {str(self.log_dir)!r}; train with the callback before calling study()."
            )
        facts = {
            "model": self.model.name,
            "data": name_of(self.data),
            "examples": len(self._examples()),
            "every": self.every,
            "probe_fingerprint": self._settings()["probe"],
        }
        return Study("dynamics", self.rows, facts | summarise(self.rows))

    def _examples(self) -> np.ndarray:
        """Returns the inputs that are measured."""
        if self._probe is None:
            of_any = self.model is None
            read = batches(self.data, self.examples) if of_any else batches_for(self.model, self.data, self.examples)
            self._probe = next(read)
        return self._probe[0]

    def _settings(self) -> dict[str, Any]:
        """Returns what measurements must have in common to be continued."""
        return {"probe": fingerprint([self._examples()]), "every": self.every, "gradients": self.gradients}

    def _measure(self, done: int) -> None:
        """Measures the network after `done` epochs, and writes the result."""
        import pandas as pd

        # The rows of all epochs, stored after each measurement.
        self._network = self._network or adopt(self.model)
        measured = measure(self._network, self._examples()).join(self._measure_teaching(done), on="block")
        measured.insert(0, "epoch", done)
        self.rows = measured if self.rows is None else pd.concat([self.rows, measured], ignore_index=True)
        write_json(Path(self.log_dir) / FILE, {**self._settings(), "rows": self.rows.to_dict("list")}, sealed=True)

        # Scalars of each block and of the whole network.
        depth = by_epoch(self.rows).loc[done]
        with Events(self.log_dir) as events:
            for row in measured.itertuples():
                for name, what in _OF_BLOCK.items():
                    if np.isfinite(getattr(row, name)):
                        events.scalar(of_study("dynamics", f"{row.block}: {what}"), getattr(row, name), done)
            for name, what in DEPTHS.items():
                if np.isfinite(depth[name]):
                    events.scalar(of_study("dynamics", what), depth[name], done)
            events.figure(of_study("dynamics", "figure"), self.study().figure(), done)

    def _measure_teaching(self, done: int) -> pd.DataFrame:
        """Measures which blocks learn, and by what paths; returns no rows before training or if not asked to."""
        import pandas as pd

        if not self.gradients or not done or self._network is None or self._probe is None:
            return pd.DataFrame(columns=teaching.COLUMNS, dtype=float)
        x, y = (None if array is None else array[: self.gradients] for array in self._probe)
        if y is None:
            y = np.asarray(self._network(x, training=False)).argmax(-1)
        self._spectrum = self._spectrum or Spectrum(self._network)
        return teaching.measure(self._spectrum, x, y)


def by_epoch(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the effective depth after each epoch, in residual branches passed.

    Returns:
        By epoch: `mean` and `argmax` of `path_lengths.by_energy`; `mean_in_phase` and
        `argmax_in_phase` of the squares of `path_lengths.by_amplitude`; `length`, the largest path length
        that any block is taught by.
    """
    import pandas as pd

    depths = {}
    for epoch, measured in rows.groupby("epoch"):
        ratios = measured["energy_ratio"]
        shares, squares = path_lengths.by_energy(ratios), path_lengths.by_amplitude(ratios) ** 2
        depths[epoch] = {
            "mean": path_lengths.mean(shares),
            "argmax": path_lengths.peak(shares),
            "mean_in_phase": path_lengths.mean(squares),
            "argmax_in_phase": path_lengths.peak(squares),
            "length": teaching.effective_length(measured),
        }
    return pd.DataFrame.from_dict(depths, orient="index")


def summarise(rows: pd.DataFrame) -> dict[str, Any]:
    """Returns the main numbers: effective depth at the start and the end, and how much each measure grew."""
    # How much the measures of blocks grew.
    depth = by_epoch(rows)
    first, last = (rows[rows["epoch"] == epoch].reset_index(drop=True) for epoch in (depth.index[0], depth.index[-1]))
    grown = {
        # Without batch-norm there is no gamma.
        name: {
            "blocks": int((last[name] > first[name]).sum()),
            "start": float(first[name].median()),
            "end": float(last[name].median()),
        }
        for name in ("energy_ratio", "gamma")
        if first[name].notna().any()
    }

    # Which paths teach the blocks.
    lengths, taught = depth.pop("length").dropna(), None
    if len(lengths):
        last_taught = rows[rows["epoch"] == lengths.index[-1]]
        taught = {
            "first_epoch": int(lengths.index[0]),
            "length_then": int(lengths.iloc[0]),
            "length": int(lengths.iloc[-1]),
            "over_deepened": bool(lengths.iloc[-1] < len(first)),
            "most_of_gradient": str(last_taught.loc[last_taught["gradient_share"].idxmax(), "block"]),
            "its_share": float(last_taught["gradient_share"].max()),
        }

    return {
        "blocks": len(first),
        "first_epoch": int(depth.index[0]),
        "epochs": int(depth.index[-1]),
        "start": depth.iloc[0].to_dict(),
        "end": depth.iloc[-1].to_dict(),
        "growth": float(depth["mean"].iloc[-1] - depth["mean"].iloc[0]),
        "growth_in_phase": float(depth["mean_in_phase"].iloc[-1] - depth["mean_in_phase"].iloc[0]),
        "largest": {"epoch": int(depth["mean"].fillna(-1).idxmax()), "mean": float(depth["mean"].max())},
        "trend": {
            "kendall_tau": tau(depth["mean"]) if len(depth) > 1 else float("nan"),
            "measurements": len(depth),
        },
        "grown": grown,
        "taught": taught,
        "median_cosine_magnitude": float(rows["cosine"].abs().median()),
    }
