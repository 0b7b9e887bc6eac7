"""Keras callbacks that look into a network while it trains, for TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import keras

from keras_resnets.adopt import adopt
from keras_resnets.errors import whole_number
from keras_resnets.lanes import Lanes
from keras_resnets.studies.evaluation import engine_for
from keras_resnets.studies.lesion import sweep
from keras_resnets.studies.study import Events, Study
from keras_resnets.studies.watch import EffectiveDepth as EffectiveDepth


class Lesion(keras.callbacks.Callback):
    """Deletes every block in turn after an epoch, and writes what it cost.

    The training is left as it was: weights, statistics, optimiser and random state are only read.

    TensorBoard gets the scalars `lesion/BLOCK` (top-1 error without that block), `lesion/intact`,
    `lesion/share_of_epoch` (the seconds of the sweep over those of the epoch before it) and the
    image `lesion/figure`, by number of finished epochs.

    Args:
        data: as for `keras_resnets.studies.lesion`; a few hundred examples do.
        log_dir: where to; a run of its own within TensorBoard's log directory.
        every: epochs between sweeps, the first of them after so many.
        budget: bytes, as for `lesion`.

    Attributes:
        studies: the studies made so far, by number of finished epochs.
        shares: the sweeps' share of the time of their epochs, by number of finished epochs.

    Raises:
        ArgumentError: `every` is less than 1.

    Example:
        >>> import keras_resnets as kr, numpy as np, tempfile
        >>> model = kr.build("resnet8", (8, 8, 1))
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> x, y = np.zeros((4, 8, 8, 1)), np.zeros(4, int)
        >>> callback = kr.callbacks.Lesion((x, y), tempfile.mkdtemp())
        >>> _ = model.fit(x, y, epochs=2, callbacks=[callback], verbose=0)
        >>> list(callback.studies)
        [1, 2]
    """

    def __init__(self, data, log_dir: str | os.PathLike, every: int = 1, budget: int = 2**30):
        super().__init__()
        whole_number("every", every, 1)
        self.data, self.log_dir, self.every, self.budget = data, log_dir, every, budget
        self.studies: dict[int, Study] = {}
        self.shares: dict[int, float] = {}
        self._network: Any = None
        self._engine: Lanes | None = None
        self._began = 0.0
        self._clock: Callable[[], float] = time.perf_counter

    def on_epoch_begin(self, epoch, logs=None):
        self._began = self._clock()

    def on_epoch_end(self, epoch, logs=None):
        done = epoch + 1
        if done % self.every:
            return
        trained = self._clock() - self._began
        if self._engine is None:
            self._network = adopt(self.model)
            self._engine = engine_for(self._network, self.budget)
        rows, facts = sweep(self._network, self.data, engine=self._engine)
        study = Study("lesion", rows, facts | {"beside": {}})
        self.studies[done] = study
        self.shares[done] = (self._clock() - self._began - trained) / max(trained, 1e-9)
        with Events(self.log_dir) as events:
            for row in study.rows.itertuples():
                events.scalar(f"lesion/{row.block}", row.error, done)
            events.scalar("lesion/intact", study.summary["intact"]["error"], done)
            events.scalar("lesion/share_of_epoch", self.shares[done], done)
            events.figure("lesion/figure", study.figure(), done)
