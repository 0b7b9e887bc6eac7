"""Training time per epoch, unaffected by interruptions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from keras_resnets.errors import listed
from keras_resnets.runs import Damaged, read_csv, whole

if TYPE_CHECKING:
    import pandas as pd


FILE = "times.csv"


def times_of(folder: str | os.PathLike, epochs: int) -> pd.DataFrame:
    """Returns what a `Stopwatch` recorded of the first epochs of a training.

    Args:
        folder: the directory of the run.
        epochs: how many.

    Raises:
        Damaged: the file is damaged or gone, or epochs are missing, which nothing but another training can mend.
    """
    file = Path(folder) / FILE
    try:
        times = read_csv(file)
        missing = sorted({*range(1, epochs + 1)}.difference(times["epoch"]))
        if not missing:
            return times[times["epoch"] <= epochs]
        reason = f"lacks {'epoch' if len(missing) == 1 else 'epochs'} {listed(map(str, missing), 3)}"
    except FileNotFoundError:
        reason = "is gone"
    except (Damaged, KeyError):
        reason = "is damaged"
    raise Damaged(
        f"{str(file)!r} {reason}, and with it the time of a training. Move {str(folder)!r} away, and the command that "
        f"wrote it trains that network again; nothing else is lost."
    )


class Stopwatch(keras.callbacks.Callback):
    """Records how long the training steps of each epoch took, in a file with a row per epoch.

    The clock runs from the end of an epoch's first step to the end of its last, and the result is
    multiplied by steps / (steps - 1). So every epoch excludes the first step, in which the network is
    traced and the data pipeline is filled, and also validation, checkpoints and other callbacks. Where several steps
    are one execution, it excludes the first execution. An interrupted epoch is recorded only after it has been trained
    again from its start, so an interrupted training has the same rows as one that was not.

    Args:
        folder: the directory of the run, in which the file is written: a table of `epoch`, `steps` and `seconds`.
    """

    def __init__(self, folder: str | os.PathLike):
        super().__init__()
        self.file = Path(folder) / FILE
        self._clock: Callable[[], float] = time.perf_counter
        self._marks: list[float] = []
        self._steps: list[int] = []
        self._running = False

    def on_epoch_begin(self, epoch, logs=None):
        self._marks, self._steps, self._running = [self._clock()], [], True

    def on_train_batch_end(self, batch, logs=None):
        self._marks.append(self._clock())
        # An execution of several steps ends with a number that may be beyond the last step of the epoch.
        self._steps.append(min(batch + 1, (self.params or {}).get("steps") or batch + 1))

    def on_test_begin(self, logs=None):
        self._stop()

    def on_epoch_end(self, epoch, logs=None):
        import pandas as pd

        self._stop()
        begun, *ends = self._marks
        first, steps = self._steps[0], self._steps[-1]
        seconds = (ends[-1] - ends[0]) * steps / (steps - first) if steps > first else ends[0] - begun
        table = pd.DataFrame([{"epoch": epoch + 1, "steps": steps, "seconds": seconds}])
        if epoch:
            table = pd.concat([times_of(self.file.parent, epoch), table])
        with whole(self.file, sealed=True) as part:
            table.to_csv(part, index=False)

    def _stop(self) -> None:
        """Records the end of the last step, once per epoch: before validation, if there is any."""
        if self._running:
            # An accelerator runs steps asynchronously; reading a weight waits for all of them.
            keras.ops.convert_to_numpy(self.model.trainable_variables[0])
            self._marks[-1], self._running = self._clock(), False
