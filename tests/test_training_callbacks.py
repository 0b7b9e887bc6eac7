"""Callbacks of Keras in a training: what each is after a resume, or that it is refused before the first step."""

import json

import keras
import numpy as np
import pytest
from helpers.notices import told

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

CALLBACKS = keras.callbacks


@pytest.fixture(scope="module")
def small():
    stages = (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2))
    return kr.Spec("small", stages, (8, 8, 1), 10, stem_width=4)


# Every callback of Keras, made for a folder: None if it resumes, else what the refusal says.
TABLE = {
    "BackupAndRestore": (lambda at: CALLBACKS.BackupAndRestore(at / "backup"), "resumes by itself"),
    "CSVLogger": (lambda at: CALLBACKS.CSVLogger(at / "log.csv"), None),
    "EarlyStopping": (
        lambda at: CALLBACKS.EarlyStopping("val_loss", patience=9, min_delta=10, restore_best_weights=True),
        None,
    ),
    "LambdaCallback": (lambda at: CALLBACKS.LambdaCallback(), None),
    "LearningRateScheduler": (lambda at: CALLBACKS.LearningRateScheduler(lambda epoch: 0.1), "follows a schedule"),
    "ModelCheckpoint": (lambda at: CALLBACKS.ModelCheckpoint(at / "best.keras", "val_loss", save_best_only=True), None),
    "ReduceLROnPlateau": (lambda at: CALLBACKS.ReduceLROnPlateau("val_loss"), "follows a schedule"),
    "RemoteMonitor": (lambda at: CALLBACKS.Callback(), None),  # sends what it is told, and keeps nothing
    "SwapEMAWeights": (lambda at: CALLBACKS.SwapEMAWeights(), "use_ema=True"),
    "TensorBoard": (lambda at: CALLBACKS.TensorBoard(at / "board"), None),
    "TerminateOnNaN": (lambda at: CALLBACKS.TerminateOnNaN(), None),
}
# They belong to Keras' own loop, or need a package of their own, and do to files what ModelCheckpoint does.
LEFT = {"Callback", "CallbackList", "History", "MonitorCallback", "ProgbarLogger", "OrbaxCheckpoint"}


def test_the_table_has_every_callback_of_keras():
    classes = {name for name, value in vars(CALLBACKS).items() if isinstance(value, type)}
    assert classes - LEFT == set(TABLE)


@pytest.mark.parametrize("name", [name for name, (_, refusal) in TABLE.items() if refusal])
def test_refused_before_anything_is_written(name, few, small, tmp_path):
    make, refusal = TABLE[name]
    with pytest.raises(ArgumentError, match=refusal):
        kr.train(small, few, out=tmp_path / "run", epochs=2, verbose=0, callbacks=[make(tmp_path)])
    assert not (tmp_path / "run").exists()


def test_a_class_is_no_callback(few, small, tmp_path):
    with pytest.raises(ArgumentError, match="each an instance"):
        kr.train(small, few, out=tmp_path / "run", epochs=1, callbacks=[CALLBACKS.TerminateOnNaN])


def test_all_others_resume_as_if_never_stopped(few, small, tmp_path):
    def run(name, **how):
        at = tmp_path / name
        at.mkdir(exist_ok=True)
        callbacks = [make(at) for make, refusal in TABLE.values() if refusal is None]
        return kr.train(small, few, out=at / "run", epochs=3, verbose=0, callbacks=callbacks, **how).get_weights()

    whole, first = run("whole"), run("parts", until=1)
    parts = run("parts")
    for one, other, begun in zip(whole, parts, first, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, begun)  # no epoch improves on the first by 10
    logs = [(tmp_path / name / "log.csv").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]
    # Killed after the last epoch was stored, before the best weights were restored.
    (tmp_path / "parts" / "run" / "model.keras").unlink()
    for one, other in zip(run("parts"), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_diverged_training_says_so_and_is_valid_json(few, small, tmp_path):
    class Spoil(CALLBACKS.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.trainable_variables[0].assign(np.nan * self.model.trainable_variables[0])

    def refuse(text):
        raise AssertionError(text)

    out = tmp_path / "run"
    with told("diverged: from epoch 2 on its loss is not finite (the last that was is"):
        kr.train(small, few, out=out, epochs=2, verbose=0, callbacks=[Spoil()])
    record = json.loads((out / "run.json").read_text(), parse_constant=refuse)
    assert record["results"]["diverged"]["epoch"] == 2
    assert record["results"]["best_epoch"] == 1
    with told("diverged"):
        kr.load_model(out)
