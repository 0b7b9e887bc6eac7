"""Keras callbacks that measure a network during training, for TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import keras

from keras_resnets.errors import whole_number
from keras_resnets.instruments.evaluation import engine_for
from keras_resnets.instruments.lanes import MEMORY
from keras_resnets.network.adoption import adopt
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.events import Events, of_study
from keras_resnets.reports.study import Study
from keras_resnets.studies.lesion import sweep
from keras_resnets.studies.paths import engines, first_examples, split_gradient
from keras_resnets.studies.responses import measure, reader_for
from keras_resnets.studies.watch import EffectiveDepth

__all__ = ["EffectiveDepth", "Lesion", "PathSpectrum", "Responses"]

_TIME = "time of this study, as a share of its epoch"


class _AfterEpochs(keras.callbacks.Callback):
    """Makes a study of the network every few epochs, and writes it for TensorBoard.

    Training is not affected: weights, statistics, optimiser and random state are only read.
    Subclasses define the study (`make`) and which of its scalars are written (`scalars`).
    """

    def __init__(self, data, log_dir: str | os.PathLike, every: int = 1):
        super().__init__()
        whole_number("every", every, 1)
        self.data, self.log_dir, self.every = data, log_dir, every
        self.studies: dict[int, Study] = {}
        self.shares: dict[int, float] = {}
        self._network: Any = None
        self._engine: Any = None
        self._began = 0.0
        self._clock: Callable[[], float] = time.perf_counter

    def prepare(self, network: ResidualNetwork) -> Any:
        """Returns what all studies of the network can share, such as traced functions."""

    def make(self, network: ResidualNetwork, engine: Any) -> Study | None:
        """Returns the study, or None to skip it; `engine` is the result of `prepare`."""
        raise NotImplementedError

    def scalars(self, study: Study) -> dict[str, float]:
        """Returns the scalars of a study to write, by name."""
        raise NotImplementedError

    def on_epoch_begin(self, epoch, logs=None):
        self._began = self._clock()

    def on_epoch_end(self, epoch, logs=None):
        done = epoch + 1
        if done % self.every:
            return
        trained = self._clock() - self._began
        if self._network is None:
            self._network = adopt(self.model)
            self._engine = self.prepare(self._network)
        study = self.make(self._network, self._engine)
        if study is None:
            return
        self.studies[done] = study
        self.shares[done] = (self._clock() - self._began - trained) / max(trained, 1e-9)
        with Events(self.log_dir) as events:
            for name, value in {
                **self.scalars(study),
                "time of this study, as a share of its epoch": self.shares[done],
            }.items():
                events.scalar(of_study(study.name, name), value, done)
            events.figure(of_study(study.name, "figure"), study.figure(), done)


class Lesion(_AfterEpochs):
    """Deletes every block in turn after an epoch, and writes the resulting errors.

    Training is not affected: weights, statistics, optimiser and random state are only read.

    TensorBoard gets the scalars `study/lesion/error without BLOCK`, `study/lesion/error, left whole` and
    `study/lesion/time of this study, as a share of its epoch`, and the image `study/lesion/figure`, by number of
    finished epochs.

    Args:
        data: as for `keras_resnets.studies.lesion`; a few hundred examples suffice.
        log_dir: the folder to write; a run of its own within TensorBoard's log directory.
        every: epochs between sweeps; the first comes after that many.
        budget: bytes for intermediate values, as for `lesion`.

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

    def __init__(self, data, log_dir: str | os.PathLike, every: int = 1, budget: int = MEMORY):
        super().__init__(data, log_dir, every)
        self.budget = budget

    def prepare(self, network):
        return engine_for(network, self.budget)

    def make(self, network, engine):
        rows, facts = sweep(network, self.data, engine=engine)
        return Study("lesion", rows, facts | {"beside": {}})

    def scalars(self, study):
        errors = {f"error without {row.block}": row.error for row in study.rows.itertuples()}
        return {**errors, "error, left whole": study.summary["intact"]["error"]}


class Responses(_AfterEpochs):
    """Measures how strongly every convolution responds after an epoch (He et al. 2015, Fig. 7).

    Training is not affected: weights, statistics, optimiser and random state are only read.

    TensorBoard gets the scalars `study/responses/standard deviation of LAYER`, such as of `stage1_block2/conv1`, and
    `study/responses/time of this study, as a share of its epoch`, and the image `study/responses/figure`, by number of
    finished epochs.

    Args:
        data: as for `keras_resnets.studies.responses`; a few hundred examples suffice.
        log_dir: the folder to write; a run of its own within TensorBoard's log directory.
        every: epochs between measurements; the first comes after that many.

    Attributes:
        studies: the studies made so far, by number of finished epochs.
        shares: the measurements' share of the time of their epochs, by number of finished epochs.

    Raises:
        ArgumentError: `every` is less than 1.

    Example:
        >>> import keras_resnets as kr, numpy as np, tempfile
        >>> model = kr.build("resnet8", (8, 8, 1))
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> x, y = np.zeros((4, 8, 8, 1)), np.zeros(4, int)
        >>> callback = kr.callbacks.Responses((x, y), tempfile.mkdtemp(), every=2)
        >>> _ = model.fit(x, y, epochs=2, callbacks=[callback], verbose=0)
        >>> len(callback.studies[2].rows)
        7
    """

    def prepare(self, network):
        return reader_for(network)

    def make(self, network, engine):
        rows, facts = measure(network, self.data, reader=engine)
        return Study("responses", rows, facts | {"beside": {}, "comparisons": []})

    def scalars(self, study):
        return {f"standard deviation of {row.name}": row.std for row in study.rows.itertuples()}


class PathSpectrum(_AfterEpochs):
    """Splits the gradient by path length after an epoch (Veit et al. 2016, Fig. 6).

    Training is not affected: weights, statistics, optimiser and random state are only read.

    TensorBoard gets the scalars `study/paths/mean length, sampled`, `.../mean length, exact`, `.../length beyond which
    paths add less than 5%` and `.../coherence at the peak` (at the length where the exact sums have their peak),
    `.../time of this study, as a share of its epoch`, and the image `.../figure`, by number of finished epochs. An
    epoch whose gradient is not finite is skipped.

    Args:
        data: as for `keras_resnets.studies.paths`.
        log_dir: the folder to write; a run of its own within TensorBoard's log directory.
        every: epochs between measurements; the first comes after that many.
        examples: as for `paths`.
        draws: as for `paths`.
        weights: as for `paths`.
        budget: as for `paths`.

    Attributes:
        studies: the studies made so far, by number of finished epochs.
        shares: the measurements' share of the time of their epochs, by number of finished epochs.

    Raises:
        ArgumentError: a number is less than 1.

    Example:
        >>> import keras_resnets as kr, numpy as np, tempfile
        >>> model = kr.build("resnet8", (8, 8, 1))
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> x, y = np.random.default_rng(0).normal(size=(4, 8, 8, 1)), np.zeros(4, int)
        >>> callback = kr.callbacks.PathSpectrum((x, y), tempfile.mkdtemp())
        >>> _ = model.fit(x, y, epochs=1, callbacks=[callback], verbose=0)
        >>> len(callback.studies[1].rows.query("kind == 'input'"))
        4
    """

    def __init__(
        self,
        data,
        log_dir: str | os.PathLike,
        every: int = 1,
        *,
        examples: int = 32,
        draws: int = 10,
        weights: bool = True,
        budget: int = 2**31,
    ):
        super().__init__(data, log_dir, every)
        whole_number("examples", examples, 1)
        whole_number("draws", draws, 1)
        self.examples, self._options = examples, {"draws": draws, "weights": weights, "seed": 0, "budget": budget}

    def prepare(self, network):
        return engines(network), first_examples(network, self.data, self.examples)

    def make(self, network, engine):
        try:
            return split_gradient(*engine, **self._options)
        except FloatingPointError:
            return None

    def scalars(self, study):
        s = study.summary
        return {
            "mean length, sampled": s["sampled"]["mean_length"],
            "mean length, exact": s["exact"]["mean_length"],
            "length beyond which paths add less than 5%": s["exact"]["needed_length"],
            "coherence at the peak": s["coherence_at_the_peak"]["coherence"],
        }
