"""Comparisons of trainings over seeds: trained in earnest and made up, and what they are judged by."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.studies import arms


def wrong(network, data):
    """Share of the test split that a network gets wrong, the long way."""
    x, y = (np.concatenate(parts) for parts in zip(*data.test.as_numpy_iterator(), strict=True))
    return float((network.predict(x, verbose=0).argmax(1) != y).mean())


EXAMPLES = 400


@pytest.fixture(scope="session")
def all_digits():
    """All of the digits to train on, the test split followed."""
    return kr.data.load("digits", validation="test", batch_size=200)


@pytest.fixture(scope="session")
def four_blocks():
    """Two stages of two blocks."""
    return kr.Spec("four", (kr.Stage(2, (4, 4)), kr.Stage(2, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4)


@pytest.fixture
def pretend(monkeypatch):
    """A function that has trainings end with the errors it is given, and returns the cells that were to be trained.

    The errors are a function of a cell's labels and seed; the training error is a half, a fifth and a quarter of that
    after three epochs, the error followed three, two and one times as large.
    """

    def apply(error):
        asked = []

        def train_cells(cells, data, *, out, verbose=False, **where):
            rows = []
            for cell in cells:
                asked.append(cell)
                run = out / "cells" / cell.name
                run.mkdir(parents=True)
                network = kr.studies.cells.spec_of(cell.network)
                (run / "run.json").write_text(json.dumps({"asked": {"spec": network.to_dict()}}))
                value = error(cell.columns)
                history = [
                    {"epoch": epoch, "accuracy": 1 - value / part, "val_accuracy": 1 - value * (4 - epoch)}
                    for epoch, part in enumerate((2, 5, 4), 1)
                ]
                pd.DataFrame(history).to_csv(run / "history.csv", index=False)
                measured = {"error": value, "loss": 2 * value, "examples": EXAMPLES, "best_epoch": 3, "epochs": 3}
                rows.append({**cell.columns, **measured, "run": str(run.relative_to(out))})
            return pd.DataFrame(rows)

        monkeypatch.setattr(arms, "train_cells", train_cells)
        return asked

    return apply


def noisy(columns):
    """An error that is another for all columns, the same each time."""
    seed = [ord(letter) for letter in json.dumps(columns)]
    return round(float(np.random.default_rng(seed).uniform(4, 40))) / EXAMPLES


def assert_judged(found, a, b):
    """Demands SciPy's paired t test of two lists."""
    test = scipy.stats.ttest_rel(a, b)
    expected = (np.mean(a) - np.mean(b), test.pvalue, *test.confidence_interval(0.95))
    assert (found["mean"], found["p_t"], found["low"], found["high"]) == pytest.approx(expected)


def texts(figure):
    """All that is written in a figure."""
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.fixture(scope="session")
def degradation(all_digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("degradation")
    return out, kr.studies.degradation(all_digits, out=out, depths=[8], seeds=2, epochs=2, seed=3)


@pytest.fixture(scope="session")
def shortcuts(four_blocks, tmp_path_factory):
    """As the command trains it."""
    out = tmp_path_factory.mktemp("shortcuts")
    (out / "four.json").write_text(four_blocks.to_json())
    typed = [str(out / "four.json"), "--arms", "gate:-6", "--seeds", "2", "--epochs", "1", "--out", str(out / "study")]
    assert cli.main(["study", "shortcuts", *typed]) == 0
    return out / "study", kr.studies.Study.load(out / "study")


def differences(one, other):
    """Names of the fields in which two specs differ."""
    return {f.name for f in dataclasses.fields(kr.Spec) if getattr(one, f.name) != getattr(other, f.name)}


@pytest.fixture(scope="session")
def width_depth(few, four_blocks, tmp_path_factory):
    out = tmp_path_factory.mktemp("width_depth")
    return out, kr.studies.width_depth(four_blocks, few, out=out, depths=(2, 1), seeds=2, epochs=1)
