"""Recipes, the optimiser, and training that goes on after a kill as if there had been none."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

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
kr.train(spec, "digits", recipe, out=sys.argv[1], epochs=4, seed=5, validation=0.6, verbose=0)
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
    assert not [path for path in killed.rglob(".*") if path.name != ".lock"], "a kill left half a file"


@pytest.fixture(scope="module")
def small():
    stages = (kr.Stage(1, (4, 4)), kr.Stage(1, (8, 8), stride=2))
    return kr.Spec("small", stages, (8, 8, 1), 10, stem_width=4)


class Witness(keras.callbacks.Callback):
    """Notes the weights after every epoch, spoils them before the third, and stops the run where told."""

    def __init__(self, spoil=None, interrupt=None):
        super().__init__()
        self._spoil, self._interrupt = spoil, interrupt
        self._weights, self._accuracy = [], []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self._spoil:
            for variable in self.model.trainable_variables:
                variable.assign(0 * variable)
        if epoch == self._interrupt:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self._weights.append([v.numpy().copy() for v in self.model.weights])
        self._accuracy.append(logs["val_accuracy"])


def test_best_and_last_epoch_are_kept_and_a_finished_run_is_not_repeated(tmp_path, few, small):
    witness = Witness(spoil=2)
    recipe = kr.recipes.get("digits").replace(weight_decay=1e-3)
    arguments = {"data": few, "recipe": recipe, "out": tmp_path / "run", "epochs": 3, "verbose": 0}
    model = kr.train(small.replace(weight_decay=1e-4), callbacks=[witness], **arguments)
    best = int(np.argmax(witness._accuracy))
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
        (half / "part").write_text("half")
        with pytest.raises(KeyboardInterrupt):
            kr.train(small, few, out=tmp_path / "run", epochs=1, verbose=0, callbacks=[Witness(interrupt=0)])
        assert not half.exists()


def test_a_damaged_record_is_rebuilt_from_the_checkpoint(tmp_path, few, small):
    arguments = {"out": tmp_path / "run", "epochs": 1, "verbose": 0}
    model = kr.train(small, few, **arguments)
    file = tmp_path / "run" / "run.json"
    before = json.loads(file.read_text())
    for damaged in ("", file.read_text()[:100]):
        file.write_text(damaged)
        witness = Witness()
        _equal(kr.train(small, few, callbacks=[witness], **arguments).weights, model.weights)
        assert witness._weights == []  # nothing was trained again
        after = json.loads(file.read_text())
        assert (after["asked"], after["results"]) == (before["asked"], before["results"])
    file.write_text("")
    # What was asked is known, so other work is refused as ever.
    with pytest.raises(ArgumentError, match="seed = 0, now 1"):
        kr.train(small, few, seed=1, **arguments)


# Steps of CIFAR-10: 391 batches of 128, 390 without the remainder; ImageNet: 5005 of 256; digits: 40 of 32.
RATES = [
    ("he15", 391, {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001, 63_999: 0.001}),
    ("he16", 391, {0: 0.01, 399: 0.01, 400: 0.1, 31_999: 0.1, 32_000: 0.01, 48_000: 0.001}),
    (
        "wrn",
        390,
        {
            0: 0.1,
            60 * 390 - 1: 0.1,
            60 * 390: 0.02,
            120 * 390 - 1: 0.02,
            120 * 390: 0.004,
            160 * 390 - 1: 0.004,
            160 * 390: 0.0008,
            200 * 390 - 1: 0.0008,
        },
    ),
    ("imagenet", 5005, {0: 0.1, 30 * 5005 - 1: 0.1, 30 * 5005: 0.01, 60 * 5005: 0.001, 90 * 5005 - 1: 0.001}),
    # From 0.01 straight up to 0.1, then half a cosine down.
    ("digits", 40, {0: 0.01, 20: 0.055, 40: 0.1, 40 + 190: 0.05 * (1 + 0.5**0.5), 40 + 380: 0.05, 800: 0.0}),
]


@pytest.mark.parametrize(("name", "steps", "rates"), RATES, ids=[row[0] for row in RATES])
def test_learning_rates_of_the_papers(name, steps, rates):
    rate = kr.recipes.get(name).rate(steps)
    np.testing.assert_allclose([float(rate(step)) for step in rates], list(rates.values()), rtol=1e-5, atol=1e-8)


# Length in epochs, batch, decay, nesterov, form; pad, mode of padding, flip; normalisation; He et al. 2015 section 4.2,
# He et al. 2016 appendix, Zagoruyko & Komodakis 2016 section 3, fb.resnet.torch.
FACTS = [
    ("he15", 391, (164, 128, 1e-4, False, "keras"), (4, "zeros", True, False), "pixel", False),
    ("he16", 391, (164, 128, 1e-4, False, "keras"), (4, "zeros", True, False), "pixel", False),
    ("wrn", 390, (200, 128, 5e-4, True, "torch"), (4, "reflect", True, False), "channel", True),
    ("imagenet", 5005, (90, 256, 1e-4, True, "torch"), (0, "zeros", True, True), "channel", False),
]


@pytest.mark.parametrize(
    ("name", "steps", "training", "images", "normalize", "drop"), FACTS, ids=[row[0] for row in FACTS]
)
def test_recipes_of_the_papers(name, steps, training, images, normalize, drop):
    recipe = kr.recipes.get(name)
    assert recipe.momentum == 0.9
    assert (
        recipe.total_epochs(steps),
        recipe.batch_size,
        recipe.weight_decay,
        recipe.nesterov,
        recipe.momentum_form,
    ) == training
    augmentation = recipe.augmentation
    assert (augmentation.pad, augmentation.pad_mode, augmentation.flip, augmentation.resized_crop) == images
    assert (recipe.normalize, recipe.drop_remainder, recipe.decay) == (normalize, drop, "all")


@pytest.mark.parametrize(
    ("name", "epochs", "steps", "drops", "end"),
    [
        ("wrn", 10, 390, {3 * 390: 0.02, 6 * 390: 0.004, 8 * 390: 0.0008}, 10),
        ("he15", 82, 400, {16_400: 0.01, 24_600: 0.001}, 82),
        ("digits", 5, 40, {10 + 95: 0.05, 200: 0.0}, 5),
    ],
)
def test_stretched_recipes_drop_at_the_same_fractions(name, epochs, steps, drops, end):
    recipe = kr.recipes.get(name).lasting(epochs, steps)
    assert recipe.total_epochs(steps) == end
    rate = recipe.rate(steps)
    for step, expected in drops.items():
        assert float(rate(step)) == pytest.approx(expected, rel=1e-5, abs=1e-8)
        if name != "digits":
            assert float(rate(step - 1)) == pytest.approx(expected / recipe.factor, rel=1e-5)


@pytest.mark.parametrize("decay", ["kernels", "all"])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("form", "momentum"), [("keras", 0.9), ("torch", 0.9), ("keras", 0.0)])
def test_optimizer_equals_numpy_across_a_drop(form, momentum, nesterov, decay):
    """Three steps at 0.1 and three at 0.01; where the velocity holds the rate, the drop comes later."""
    recipe = kr.recipes.Recipe(
        "x",
        iterations=6,
        boundaries=(3,),
        momentum=momentum,
        nesterov=nesterov,
        momentum_form=form,
        weight_decay=0.05,
        decay=decay,
    )
    optimizer = recipe.optimizer(steps_per_epoch=6)
    rng = np.random.default_rng(1)
    names = ["kernel", "bias", "gamma", "beta"]
    starts = {name: rng.normal(size=(3, 4)).astype("float32") for name in names}
    variables = [keras.Variable(start, name=name) for name, start in starts.items()]
    gradients = rng.normal(size=(6, 4, 3, 4)).astype("float32")
    for step in range(6):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients[step]], variables)

    for i, name in enumerate(names):
        w, v = starts[name].astype("float64"), 0.0
        for step in range(6):
            rate = 0.1 if step < 3 else 0.01
            g = gradients[step][i] + (0.05 * w if decay == "all" or name == "kernel" else 0.0)
            if form == "keras":
                v = momentum * v - rate * g
                w = w + (momentum * v - rate * g if nesterov else v)
            else:
                v = momentum * v + g
                w = w - rate * (g + momentum * v if nesterov else v)
        np.testing.assert_allclose(variables[i].numpy(), w, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("decay", "names"), [("kernels", {"kernel"}), ("weights", {"kernel", "gamma"})])
def test_adamw_of_a_recipe_equals_numpy(decay, names):
    """Decay is taken off apart from the gradient, at the schedule's rate, and from the named weights alone."""
    recipe = kr.recipes.Recipe(
        "x", "adamw", epochs=1, learning_rate=0.1, schedule="linear", weight_decay=0.05, decay=decay
    )
    optimizer = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(recipe.optimizer(5)))
    rng = np.random.default_rng(1)
    starts = {name: rng.normal(size=(3, 4)).astype("float32") for name in ("kernel", "bias", "gamma", "beta")}
    variables = [keras.Variable(start, name=name) for name, start in starts.items()]
    gradients = rng.normal(size=(4, 4, 3, 4)).astype("float32")
    for step in range(4):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients[step]], variables)
    for i, (name, start) in enumerate(starts.items()):
        w, m, v = start.astype("float64"), 0.0, 0.0
        for step in range(4):
            rate, g = 0.1 * (1 - step / 5), gradients[step][i]
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            w = w * (1 - rate * 0.05 * (name in names))
            unbiased = np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            w = w - rate * unbiased * m / (np.sqrt(v) + 1e-7)
        np.testing.assert_allclose(variables[i].numpy(), w, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("decay", ["kernels", "all"])
def test_decay_of_the_spec_equals_decay_of_the_optimizer(small, decay):
    """One as a penalty in the loss, the other in the optimiser: the same gradient, `0.1 * weight`."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 8, 8, 1)).astype("float32"), rng.integers(0, 10, 16)
    after = []
    for spec, l2 in ((small.replace(weight_decay=0.1, decay=decay), 0.0), (small, 0.1), (small, 0.0)):
        keras.utils.set_random_seed(3)
        model = kr.build(spec)
        for variable in model.trainable_variables:  # zeros would not show decay
            variable.assign(variable + 0.5)
        model.compile(kr.optimizers.SGD(0.1, 0.9, l2=l2, decay=decay), "sparse_categorical_crossentropy")
        model.train_on_batch(x, y)
        after.append([v.numpy() for v in model.trainable_variables])
    kinds = [v.name for v in model.trainable_variables]
    for kind, ours, theirs, without in zip(kinds, *after, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=kind)
        decays = kind == "kernel" or decay == "all"
        assert (np.abs(theirs - without).max() > 1e-3) == decays, kind
