"""The table of trainings of a study: stopped in the middle and gone on with, done and not repeated."""

import keras
import numpy as np
import pandas as pd
import pytest
from helpers.comparisons import wrong

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.studies.cells import Cell, train_cells

SECONDS = ["seconds", "epoch_seconds", "epoch_seconds_25", "epoch_seconds_75"]


@pytest.fixture(scope="module")
def spec():
    """Three blocks."""
    return kr.Spec("three", (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4)


class Watch(keras.callbacks.Callback):
    """Notes which epochs were begun, and is interrupted in one of them."""

    def __init__(self, begun, interrupt=None):
        super().__init__()
        self._begun, self._interrupt = begun, interrupt

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 4 and self._begun[-1] == self._interrupt:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self._begun.append(epoch)


@pytest.mark.thorough
def test_cells_stopped_in_the_middle_end_in_the_same_table(few, spec, tmp_path, capsys):
    begun = []

    def cells(interrupt=None):
        return [
            Cell({"kind": "a"}, spec, epochs=1),
            Cell({"kind": "b"}, spec, epochs=3, seed=1, callbacks=lambda: [Watch(begun, interrupt)]),
        ]

    expected = train_cells(cells()[1:], few, out=tmp_path / "whole", verbose=True)
    assert begun == [0, 1, 2]
    assert capsys.readouterr().out.startswith("1 of 1  kind b, seed 1: error ")
    with pytest.raises(KeyboardInterrupt):
        train_cells(cells(interrupt=1), few, out=tmp_path / "stopped")
    begun[:] = []
    table = train_cells(cells(), few, out=tmp_path / "stopped")
    assert begun == [1, 2], "not gone on with where it stopped"
    assert table[1:].reset_index(drop=True).drop(columns=SECONDS).equals(expected.drop(columns=SECONDS))

    begun[:], files = [], {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    again = train_cells(cells(), few, out=tmp_path / "stopped", verbose=True)
    assert again.equals(table)
    assert capsys.readouterr().out.count("(done before)") == 2
    assert not begun
    assert files == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}

    assert list(table["steps"]) == [9, 27]
    assert list(table["epochs"]) == [1, 3]
    for row in table.itertuples():
        place = tmp_path / "stopped" / row.run
        assert row.error == pytest.approx(wrong(kr.load_model(place), few), abs=1e-9)
        times = pd.read_csv(place / "times.csv")
        assert list(times["epoch"]) == list(range(1, row.epochs + 1))
        assert row.seconds == pytest.approx(times["seconds"].sum())
        quartiles = np.percentile(times["seconds"], [25, 50, 75])
        assert [row.epoch_seconds_25, row.epoch_seconds, row.epoch_seconds_75] == pytest.approx(list(quartiles))
        centre, n, z = row.error, 397, 1.959964
        half = z / (1 + z**2 / n) * np.sqrt(centre * (1 - centre) / n + z**2 / (4 * n**2))
        centre = (centre + z**2 / (2 * n)) / (1 + z**2 / n)
        assert (row.error_low, row.error_high) == pytest.approx((centre - half, centre + half), abs=1e-5)
    # What is asked of a cell is compared, not its name alone.
    with pytest.raises(ArgumentError, match="epochs"):
        train_cells([Cell({"kind": "a"}, spec, epochs=2)], few, out=tmp_path / "stopped")
    other = kr.data.load("digits", validation=0.6, batch_size=32)
    with pytest.raises(ArgumentError, match="batch_size"):
        train_cells([Cell({"kind": "a"}, spec, epochs=1)], other, out=tmp_path / "stopped")
    with pytest.raises(ArgumentError, match="twice"):
        train_cells([Cell({"kind": "a"}, spec)] * 2, few, out=tmp_path / "twice")
