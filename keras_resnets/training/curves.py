"""`Curves`: what a training tells TensorBoard, on every backend and without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnets.reports.events import IMAGES, TEST, TRAIN, VALIDATION, Events, of_epoch, of_weights
from keras_resnets.training import shown


class Curves(keras.callbacks.Callback):
    """Writes scalars, the learning rate and about four sets of weight histograms; before them, what is trained.

    The scalars have the names and steps of `keras.callbacks.TensorBoard`, which needs TensorFlow on every backend.

    Args:
        logs: the folder. What is trained goes there, what is measured on a split to `train`, `validation` or `test` in
            it.
        epochs: length of the training.
        trial: the name of its row of hyperparameters; by default the run directory.
    """

    def __init__(self, logs: str | os.PathLike, epochs: int, trial: str | None = None):
        super().__init__()
        self.logs, self._every = Path(logs), max(1, epochs // 4)
        self._trial = trial or told(self.logs.parent)
        self._parts: dict[str, Events] = {}

    def _events(self, part: str) -> Events:
        """Returns the events of a part; its file is made when there is something to write."""
        if part not in self._parts:
            self._parts[part] = Events(self.logs / part)
        return self._parts[part]

    def begin(self, model, data, recipe, asked: Mapping[str, Any]) -> None:
        """Writes what is trained, in place of what a training that ended in its first epoch wrote.

        The arguments are those of `shown.write`.
        """
        for part in ("", TRAIN, VALIDATION, TEST, IMAGES):
            Events.remove(self.logs / part)
        with Events(self.logs) as events:
            shown.write(events, self._trial, model, data, recipe, asked)

    def end(self, results: Mapping[str, Any]) -> None:
        """Writes the scores on the test split, of a finished training, at its last epoch."""
        for name, value in results.items():
            part, tag = of_epoch(name)
            if part == TEST and name != "test_examples":
                self._events(part).scalar(tag, value, results["epochs"] - 1)
        self._flush()

    def on_train_begin(self, logs=None):
        self._events(TRAIN)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            part, tag = of_epoch(name)
            self._events(part).scalar(tag, value, epoch)
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        self._events(TRAIN).scalar(of_epoch("learning_rate")[1], float(rate), epoch)
        if epoch % self._every == 0:
            for variable in self.model.weights:
                values = np.asarray(keras.ops.convert_to_numpy(variable))
                self._events(TRAIN).histogram(of_weights(variable.path), values, epoch)
        self._flush()

    def _flush(self) -> None:
        for events in self._parts.values():
            events.flush()


def told(place: Path) -> str:
    """Returns a folder in few words that no other one has: from the current folder, if it is inside that."""
    relative = os.path.relpath(place)
    return str(place.absolute()) if relative.startswith("..") else relative
