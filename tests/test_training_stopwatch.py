"""Times of epochs, by a clock that is set by hand."""

import keras
import pandas as pd
import pytest

from keras_resnets.runs import Damaged, whole
from keras_resnets.training.stopwatch import Stopwatch, times_of


def test_stopwatch_leaves_out_first_steps_and_validation(tmp_path):
    watch = Stopwatch(tmp_path)
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


def test_times_that_are_not_whole_are_told_with_what_makes_them_again(tmp_path):
    def write(text):
        with whole(tmp_path / "times.csv", sealed=True) as part:
            part.write_text(text)

    again = rf", and with it the time of a training\. Move '{tmp_path}' away, and the command .* trains that network"
    with pytest.raises(Damaged, match=rf"times\.csv' is gone{again}"):
        times_of(tmp_path, 1)
    write("epoch,steps,seconds\n1,9,1.5\n2,9,2.5\n3,9,4.5\n")
    assert times_of(tmp_path, 2)["seconds"].tolist() == [1.5, 2.5]
    with pytest.raises(Damaged, match=rf"times\.csv' lacks epochs 4, 5{again}"):
        times_of(tmp_path, 5)
    (tmp_path / "times.csv").write_text("epoch,steps,seconds\n1,9,1.5\n")
    (tmp_path / ".sums" / "times.csv.json").write_text('{"sha256": ["0"]}')
    with pytest.raises(Damaged, match=rf"times\.csv' is damaged{again}"):
        times_of(tmp_path, 1)

    # A training that goes on does not leave out what it cannot know.
    (tmp_path / "times.csv").unlink()
    watch = Stopwatch(tmp_path)
    watch.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    watch.on_epoch_begin(1)
    watch.on_train_batch_end(0)
    with pytest.raises(Damaged, match="is gone, and with it the time"):
        watch.on_epoch_end(1)
