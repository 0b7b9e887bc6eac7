"""`Curves`: what a training measures of itself, for TensorBoard, on every backend and without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np

from keras_resnets.reports.study import Events


class Curves(keras.callbacks.Callback):
    """Writes scalars, the learning rate and about four sets of weight histograms.

    They have the names of `keras.callbacks.TensorBoard`, which needs TensorFlow on every backend.

    Args:
        logs: the folder; what is of the training split goes to `train` in it, the rest to `validation`.
        epochs: length of the training.
    """

    def __init__(self, logs: str | os.PathLike, epochs: int):
        super().__init__()
        self._logs, self._every = Path(logs), max(1, epochs // 4)
        self._parts: dict[str, Events] = {}

    def _events(self, part: str) -> Events:
        """Returns the events of a part; its file is made when there is something to write."""
        if part not in self._parts:
            self._parts[part] = Events(self._logs / part)
        return self._parts[part]

    def on_train_begin(self, logs=None):
        self._events("train")

    def on_test_end(self, logs=None):
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        for name, value in (logs or {}).items():
            self._events("validation").scalar(f"evaluation_{name}_vs_iterations", value, step)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            self._events(part).scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        self._events("train").scalar("epoch_learning_rate", float(rate), epoch)
        if epoch % self._every == 0:
            for variable in self.model.weights:
                values = np.asarray(keras.ops.convert_to_numpy(variable))
                self._events("train").histogram(f"{variable.path}/histogram", values, epoch)
        for events in self._parts.values():
            events.flush()
