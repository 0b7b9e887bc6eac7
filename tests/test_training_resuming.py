"""Training that goes on after a kill as if there had been none, and what it keeps."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from helpers.notices import told
from safetensors.numpy import load_file

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Run
from keras_resnets.training import fitting
from keras_resnets.training.checkpoints import Checkpoint, state_of

PACKAGE = Path(kr.__file__).parents[1]
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


# Dropout and random crops, so that weights depend on random state; 560 of the digits, so that an epoch is short.
RUN = """
import sys
import keras_resnets as kr
from keras_resnets.errors import ArgumentError

stages = (kr.Stage(1, (8, 8)), kr.Stage(1, (16, 16), stride=2))
spec = kr.Spec("tiny", stages, (8, 8, 1), 10, stem_width=8, dropout=0.3)
recipe = kr.recipes.get("digits").replace(batch_size=16)
kr.train(spec, kr.data.load("digits", validation=0.6), recipe, out=sys.argv[1], epochs=4, seed=5, verbose=0)
"""


def _start(out):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, out], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=PACKAGE
    )


def _to_the_end(process):
    _, said = process.communicate()
    assert process.returncode == 0, said


def _kill_when(out, moment):
    """Runs until `moment()` holds, then kills without a warning."""
    process = _start(out)
    while process.poll() is None and not moment():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"it ended before the kill: {said}"


def _epochs_done(out):
    history = out / "history.csv"
    return history.read_text().count("\n") - 1 if history.exists() else 0


def _equal(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))


@pytest.mark.backends
def test_killed_runs_equal_the_run_never_killed(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    never_killed = _start(whole)

    _kill_when(killed, lambda: any((killed / "logs" / "train").glob("events*")))
    assert not (killed / "checkpoints").exists(), "meant to be killed in the first epoch"
    _kill_when(killed, (killed / "checkpoints" / "last.safetensors").exists)
    _kill_when(killed, lambda: _epochs_done(killed) >= 2)
    assert 2 <= _epochs_done(killed) < 4
    assert not (killed / "model.keras").exists()
    _to_the_end(_start(killed))
    _to_the_end(never_killed)

    for name in ("last", "best"):
        states = [load_file(run / "checkpoints" / f"{name}.safetensors") for run in (whole, killed)]
        assert states[0].keys() == states[1].keys()
        _equal(states[0].values(), states[1].values())
    assert any("seed_generator" in name for name in states[0]), "dropout's random state is not in the checkpoint"
    for name in ("model.keras", "best.keras"):
        one, other = (kr.load_model(run / name) for run in (whole, killed))
        assert one.optimizer.iterations == 4 * 35
        assert len(one.optimizer.variables) > len(one.trainable_variables)
        _equal(one.weights, other.weights)
        _equal(one.optimizer.variables, other.optimizer.variables)
    assert (whole / "history.csv").read_text() == (killed / "history.csv").read_text()
    assert list(pd.read_csv(whole / "history.csv")["epoch"]) == [1, 2, 3, 4]
    records = [json.loads((run / "run.json").read_text()) for run in (whole, killed)]
    assert records[0]["results"] == records[1]["results"]
    assert not [path for path in killed.rglob(".*") if path.name not in (".lock", ".sums")], "a kill left half a file"


@pytest.fixture(scope="module")
def small():
    stages = (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2))
    return kr.Spec("small", stages, (8, 8, 1), 10, stem_width=4)


class Witness(keras.callbacks.Callback):
    """Notes the weights after every epoch, spoils them before the third, and stops the run where told."""

    def __init__(self, spoil=None, interrupt=None):
        super().__init__()
        self._spoil, self._interrupt = spoil, interrupt
        self._weights, self._accuracy, self._loss = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self._spoil:
            for variable in self.model.trainable_variables:
                variable.assign(0 * variable)
        if epoch == self._interrupt:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self._weights.append([v.numpy().copy() for v in self.model.weights])
        self._accuracy.append(logs["val_accuracy"])
        self._loss.append(logs["val_loss"])


def test_best_and_last_epoch_are_kept_and_a_finished_run_is_not_repeated(tmp_path, few, small):
    witness = Witness(spoil=2)
    recipe = kr.recipes.get("digits").replace(weight_decay=1e-3)
    arguments = {"data": few, "recipe": recipe, "out": tmp_path / "run", "epochs": 3, "verbose": 0}
    model = kr.train(small.replace(weight_decay=1e-4), callbacks=[witness], **arguments)
    best = int(np.lexsort((np.negative(witness._loss), witness._accuracy))[-1])
    assert best < 2, "spoilt weights did best"
    _equal(model.weights, witness._weights[2])
    _equal(kr.load_model(tmp_path / "run" / "best.keras").weights, witness._weights[best])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["results"]["best_epoch"] == best + 1
    assert record["results"]["epochs"] == 3
    _, accuracy = model.evaluate(few.test, verbose=0)
    assert record["results"]["test_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    # Decay of the spec's own takes the place of the recipe's, so that nothing decays twice.
    assert model.optimizer.l2 == 0
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    np.testing.assert_allclose(history["val_accuracy"], witness._accuracy)

    files = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    again = Witness()
    _equal(kr.train(small.replace(weight_decay=1e-4), callbacks=[again], **arguments).weights, model.weights)
    assert again._weights == []
    assert files == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("scores", "losses", "best", "first"),
    [
        ([1.0, 1.0, 1.0], [0.9, 0.2, 0.4], 2, 1),
        ([0.5, 1.0, 1.0], [0.1, 0.3, 0.3], 2, 2),
        ([0.8, 0.6, 0.7], [0.9, 0.1, 0.1], 1, 1),
        ([float("nan"), 0.1, float("nan")], [float("nan"), 9.0, 0.1], 2, 2),
        ([float("nan"), float("nan")], [float("nan"), 0.3], 2, 1),
    ],
)
def test_of_equal_scores_the_lower_loss_is_the_best_epochs(scores, losses, best, first):
    checkpoint = Checkpoint(None, [], "val_accuracy")
    assert checkpoint.best_epoch is None
    rows = [
        {"epoch": epoch, "val_accuracy": score, "val_loss": loss}
        for epoch, (score, loss) in enumerate(zip(scores, losses, strict=True), 1)
    ]
    checkpoint.state["history"] = rows
    assert checkpoint.best_epoch == best
    # A run that an earlier version began has kept the first of equals, and goes on so.
    checkpoint.state["best"] = rows[0]["val_accuracy"]
    assert checkpoint.best_epoch == first


def test_equal_scores_of_the_training_split_are_told_apart_by_its_own_loss():
    checkpoint = Checkpoint(None, [], "accuracy")
    checkpoint.state["history"] = [
        {"epoch": 1, "accuracy": 1.0, "loss": 0.3, "val_accuracy": 1.0, "val_loss": 0.1},
        {"epoch": 2, "accuracy": 1.0, "loss": 0.2, "val_accuracy": 0.5, "val_loss": 0.9},
    ]
    assert checkpoint.best_epoch == 2, "chosen by the split that is only followed"


def test_state_of_callbacks_survives_an_interruption(tmp_path, few, small):
    """With `min_delta=100` no epoch improves on the first: after it, 2 of patience halve the rate, 4 end the run."""
    recipe = kr.recipes.Recipe("constant", epochs=9, batch_size=64, learning_rate=0.08)
    out = tmp_path / "run"

    def go(interrupt=None):
        callbacks = [
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=2, min_delta=100),
            keras.callbacks.EarlyStopping("val_loss", patience=4, min_delta=100),
            Witness(interrupt=interrupt),
        ]
        kr.train(small, few, recipe, out=out, callbacks=callbacks, verbose=0)
        return callbacks

    for epoch in (2, 4):  # after two whole epochs, and after four
        with pytest.raises(KeyboardInterrupt):
            go(epoch)
        assert _epochs_done(out) == epoch
    _, stopping, witness = go()
    assert (stopping.stopped_epoch, len(witness._weights)) == (4, 1)
    history = pd.read_csv(out / "history.csv")
    np.testing.assert_allclose(history["learning_rate"], [0.08, 0.08, 0.04, 0.04, 0.02], rtol=1e-6)
    record = json.loads((out / "run.json").read_text())
    assert record["results"]["epochs"] == 5

    # Killed after the last epoch, before anything else was written: nothing is trained, all is written.
    last, written = kr.load_model(out).weights, (out / "history.csv").read_text()
    for name in ("model.keras", "best.keras", "history.csv"):
        (out / name).unlink()
    results = record.pop("results")
    shutil.rmtree(out / ".sums")
    (out / "run.json").write_text(json.dumps(record))
    *_, witness = go()
    assert witness._weights == []
    _equal(kr.load_model(out).weights, last)
    assert (out / "history.csv").read_text() == written
    assert json.loads((out / "run.json").read_text())["results"] == results


def test_what_a_kill_left_half_written_is_swept(tmp_path, few, small):
    """Even when nothing was whole yet, not even `run.json`, the run goes on."""
    for name in (".run.json.x7k2", "checkpoints/.last.safetensors.p3q1", "logs/depth/.effective_depth.json.a0b1"):
        half = tmp_path / "run" / name
        half.mkdir(parents=True)
        (half / name.rpartition("/")[2][1:-5]).write_text("half")
        with pytest.raises(KeyboardInterrupt):
            kr.train(small, few, out=tmp_path / "run", epochs=1, verbose=0, callbacks=[Witness(interrupt=0)])
        assert not half.exists()


def test_a_checkpoint_of_the_best_epoch_that_is_lost_is_told(tmp_path):
    """Unless the last epoch is the best one, whose network stands in."""
    saved = []
    model = types.SimpleNamespace(save=lambda part: (saved.append(part.name), part.write_text("")))
    with Run(tmp_path, {}) as run:
        checkpoint = types.SimpleNamespace(run=run, best_epoch=1, state={"epoch": 2})
        with told():  # stopped in its first epoch, before anything was stored
            assert not fitting._keep_best(model, checkpoint)
        run.save("last", {}, {})
        for word in ("missing", "damaged"):
            if word == "damaged":
                (tmp_path / "checkpoints" / "best.safetensors").write_text("")
            for finished in (True, False):
                with told(
                    f"best.safetensors', the checkpoint of the best epoch (1), is {word}, so 'best.keras' is not"
                ):
                    assert not fitting._keep_best(model, checkpoint, finished)
            assert not saved
        checkpoint.best_epoch = 2
        with told():
            assert fitting._keep_best(model, checkpoint, finished=True)
    assert saved == ["best.keras"]


def test_a_damaged_record_is_rebuilt_from_the_checkpoint(tmp_path, few, small):
    arguments = {"out": tmp_path / "run", "epochs": 1, "verbose": 0}
    model = kr.train(small, few, **arguments)
    file = tmp_path / "run" / "run.json"
    before = json.loads(file.read_text())
    for damaged in ("", file.read_text()[:100]):
        shutil.rmtree(tmp_path / "run" / ".sums")  # else it is mended from its copy
        file.write_text(damaged)
        witness = Witness()
        with told("taken from its other files"):
            _equal(kr.train(small, few, callbacks=[witness], **arguments).weights, model.weights)
        assert witness._weights == []  # nothing was trained again
        after = json.loads(file.read_text())
        assert (after["asked"], after["results"]) == (before["asked"], before["results"])
    shutil.rmtree(tmp_path / "run" / ".sums")
    file.write_text("")
    # What was asked is known, so other work is refused as ever.
    with told("taken from its other files"), pytest.raises(ArgumentError, match="seed = 0, now 1"):
        kr.train(small, few, seed=1, **arguments)


def _flip(file):
    """Flips one bit in the middle of a file, as a disk or a copy may."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def test_a_damaged_checkpoint_costs_an_epoch_and_not_the_run(tmp_path, few, small):
    """A flipped bit is still a valid checkpoint, of other weights."""
    arguments = {"epochs": 3, "verbose": 0}
    expected = kr.train(small, few, out=tmp_path / "whole", **arguments).weights
    out = tmp_path / "run"
    kr.train(small, few, out=out, until=2, **arguments)
    _flip(out / "checkpoints" / "last.safetensors")
    witness = Witness()
    with told("goes on from the one before it"):
        _equal(kr.train(small, few, out=out, callbacks=[witness], **arguments).weights, expected)
    assert len(witness._weights) == 2  # the second epoch again, and the third
    for name in ("history.csv", "checkpoints/last.safetensors", "checkpoints/previous.safetensors"):
        one, other = (run / name for run in (tmp_path / "whole", out))
        assert one.exists()
        assert (one.read_text() == other.read_text()) if one.suffix == ".csv" else one.stat().st_size

    # Of a finished run, what is missing or damaged is made again from the checkpoint, without training.
    results = json.loads((out / "run.json").read_text())["results"]
    for spoil, notice in ((Path.unlink, "was made again from the last checkpoint"), (_flip, "was made again")):
        spoil(out / "model.keras")
        with told(notice):
            _equal(kr.load_model(out).weights, expected)
    (out / "model.keras").unlink()
    (out / "history.csv").write_text("")
    (out / "run.json").write_text((out / "run.json").read_text().replace("0.", "0.9"))
    with told("'history.csv.damaged'", "'run.json.damaged'"):
        _equal(kr.train(small, few, out=out, callbacks=[Witness(interrupt=0)], **arguments).weights, expected)
    assert json.loads((out / "run.json").read_text())["results"] == results
    assert (out / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()

    # Of two damaged ones, neither is gone on from, and nothing is removed.
    (out / "model.keras").unlink()
    for name in ("last", "previous"):
        _flip(out / "checkpoints" / f"{name}.safetensors")
    with pytest.raises(ArgumentError, match="no other checkpoint can be gone on from"):
        kr.train(small, few, out=out, **arguments)
    assert (out / "checkpoints" / "previous.safetensors").exists()


def test_a_state_is_named_alike_by_earlier_and_later_keras():
    """Earlier Keras calls an optimiser by its class, `SGD`, where later Keras calls it `sgd`."""
    names = []
    for name in ("SGD", "sgd", "SGD_7", "sgd_7"):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")], name="net")
        model.compile(kr.optimizers.SGD(0.1, 0.9, name=name))
        model.optimizer.build(model.trainable_variables)
        names.append(list(state_of(model)))
    assert names[0] == names[1] == names[2] == names[3]
    assert names[0][-1] == "00005 sgd/net_dense_bias_momentum"
