"""Times of epochs, by a clock that is set by hand."""

import keras
import pandas as pd
import pytest

from keras_resnets.training.stopwatch import Stopwatch


def test_stopwatch_leaves_out_first_steps_and_validation(tmp_path):
    watch = Stopwatch(tmp_path / "times.csv")
    watch.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))

    def epoch(number, ends, validated):
        """An epoch that begins at 0, whose steps end at `ends`; half a second later validation begins, for 1000."""
        now = 0.0
        watch._clock = lambda: now
        watch.on_epoch_begin(number)
        for step, now in enumerate(ends):  # noqa: B007
            watch.on_train_batch_end(step)
        now += 0.5
        if validated:
            watch.on_test_begin()
            now += 500
            watch.on_test_begin()  # by another callback, say
            now += 500
        watch.on_epoch_end(number)

    epoch(0, [100.0, 102.0, 104.0], validated=True)
    epoch(1, [1.0, 1.5], validated=False)
    epoch(1, [2.0, 3.5], validated=True)  # again, after a kill
    epoch(2, [7.0], validated=True)
    times = pd.read_csv(tmp_path / "times.csv")
    assert list(times["epoch"]) == [1, 2, 3]
    assert list(times["steps"]) == [3, 2, 1]
    # (104.5 - 100) 3/2, (4 - 2) 2/1; a single step is all there is to an epoch of one.
    assert list(times["seconds"]) == pytest.approx([6.75, 4.0, 7.5])
