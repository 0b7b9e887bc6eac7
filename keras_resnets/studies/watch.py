"""How deep a network is in effect, measured after epochs of its training and kept on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_resnets.adopt import adopt
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.network import ResidualNetwork
from keras_resnets.runs import fingerprint, write_json
from keras_resnets.studies import path_lengths
from keras_resnets.studies.energy import measure
from keras_resnets.studies.evaluation import BATCH, batches
from keras_resnets.studies.reorder import tau
from keras_resnets.studies.study import Events, Study

if TYPE_CHECKING:
    import pandas as pd

FILE = "effective_depth.json"


class EffectiveDepth(keras.callbacks.Callback):
    """Measures how deep the network is in effect, before training and after epochs of it.

    What is measured says `keras_resnets.studies.dynamics`. The training is left as it was:
    weights, statistics, optimiser and random state are only read.

    TensorBoard gets the scalars `depth/BLOCK/energy_ratio`, `depth/BLOCK/gamma` (where the branch
    has a batch-norm), `depth/effective_mean`, `depth/effective_argmax` and the image
    `depth/figure`, by number of finished epochs. What was measured is kept in `log_dir`, too, so
    that a training that goes on after a stop has all of it.

    Args:
        data: as for `keras_resnets.studies.lesion`; its first examples are measured, labels are
            not needed.
        log_dir: where to; a run of its own within TensorBoard's log directory.
        every: epochs between measurements; the first of all is made before training.
        examples: how many examples to measure, all at once.

    Attributes:
        rows: what was measured so far: `epoch` and the columns of
            `keras_resnets.studies.energy.measure`.

    Raises:
        ArgumentError: a number is less than 1, or a training that goes on was measured otherwise.

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

    def __init__(self, data, log_dir: str | os.PathLike, every: int = 1, examples: int = BATCH):
        super().__init__()
        whole_number("every", every, 1)
        whole_number("examples", examples, 1)
        self.data, self.log_dir, self.every, self.examples = data, log_dir, every, examples
        self.rows: Any = None
        self._network: ResidualNetwork | None = None
        self._probe: np.ndarray | None = None
        self._begun = False

    def on_train_begin(self, logs=None):
        self._begun = False

    def on_epoch_begin(self, epoch, logs=None):
        if self._begun:
            return
        self._begun = True
        self.rows = None
        if epoch:
            # A training that goes on; what was measured behind the last whole epoch will be again.
            self.load()
            earlier = [] if self.rows is None else self.rows[self.rows["epoch"] <= epoch]
            self.rows = earlier if len(earlier) else None
        if self.rows is None:
            self._measure(epoch)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            self._measure(epoch + 1)

    def load(self) -> None:
        """Reads what an earlier process measured in `log_dir`; without a file, there are no rows."""
        import pandas as pd

        file = Path(self.log_dir) / FILE
        self.rows = None
        if not file.exists():
            return
        kept = json.loads(file.read_text())
        for name, value in self._asked().items():
            if kept[name] != value:
                raise ArgumentError(
                    f"{str(file)!r} was measured with {name} = {kept[name]!r}, now it is {value!r}; give what it was "
                    f"measured with, or another place."
                )
        self.rows = pd.DataFrame(kept["rows"])

    def study(self) -> Study:
        """Returns the study `dynamics` of what was measured so far.

        Raises:
            ArgumentError: nothing was.
        """
        if self.rows is None:
            raise ArgumentError(
                f"Nothing was measured yet for {str(self.log_dir)!r}; train with the callback before you ask for its "
                f"study."
            )
        facts = {
            "model": self.model.name,
            "examples": len(self._examples()),
            "every": self.every,
            "probe_fingerprint": self._asked()["probe"],
        }
        return Study("dynamics", self.rows, facts | summarise(self.rows))

    def _examples(self) -> np.ndarray:
        if self._probe is None:
            self._probe, _ = next(batches(self.data, self.examples))
        return self._probe

    def _asked(self) -> dict[str, Any]:
        return {"probe": fingerprint([self._examples()]), "every": self.every}

    def _measure(self, done: int) -> None:
        import pandas as pd

        self._network = self._network or adopt(self.model)
        found = measure(self._network, self._examples())
        found.insert(0, "epoch", done)
        self.rows = found if self.rows is None else pd.concat([self.rows, found], ignore_index=True)
        write_json(Path(self.log_dir) / FILE, {**self._asked(), "rows": self.rows.to_dict("list")})
        depth = by_epoch(self.rows).loc[done]
        with Events(self.log_dir) as events:
            for row in found.itertuples():
                events.scalar(f"depth/{row.block}/energy_ratio", row.energy_ratio, done)
                if np.isfinite(row.gamma):
                    events.scalar(f"depth/{row.block}/gamma", row.gamma, done)
            events.scalar("depth/effective_mean", depth["mean"], done)
            events.scalar("depth/effective_argmax", depth["argmax"], done)
            events.figure("depth/figure", self.study().figure(), done)


def by_epoch(rows: pd.DataFrame) -> pd.DataFrame:
    """The effective depth after each epoch, in residual branches passed.

    Returns:
        By epoch: `mean` and `argmax` of `path_lengths.by_energy`; `mean_in_phase` and
        `argmax_in_phase` of the squares of `path_lengths.by_amplitude`.
    """
    import pandas as pd

    found = {}
    for epoch, ratios in rows.groupby("epoch")["energy_ratio"]:
        shares, squares = path_lengths.by_energy(ratios), path_lengths.by_amplitude(ratios) ** 2
        found[epoch] = {
            "mean": path_lengths.mean(shares),
            "argmax": path_lengths.peak(shares),
            "mean_in_phase": path_lengths.mean(squares),
            "argmax_in_phase": path_lengths.peak(squares),
        }
    return pd.DataFrame.from_dict(found, orient="index")


def summarise(rows: pd.DataFrame) -> dict[str, Any]:
    """The numbers worth quoting: effective depth at the start and the end, and what grew by how much."""
    depth = by_epoch(rows)
    first, last = (rows[rows["epoch"] == epoch].reset_index(drop=True) for epoch in (depth.index[0], depth.index[-1]))
    grown = {
        # Without a batch-norm there is no gamma, and none that grew.
        name: {
            "blocks": int((last[name] > first[name]).sum()),
            "start": float(first[name].median()),
            "end": float(last[name].median()),
        }
        for name in ("energy_ratio", "gamma")
        if first[name].notna().any()
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
        "median_cosine_magnitude": float(rows["cosine"].abs().median()),
    }
