"""What earlier versions saved: every kind of file and folder is opened, gone on with, and ends as it did then.

The folder `golden` beside this file was written by version 0.1.0, before its modules moved. It is copied
before anything goes on in it. Trainings that were stopped then go on in another order of their images: where that ends
was written when the order changed. Where this machine computes the same numbers to the bit as the one that wrote it,
results are compared to the bit, and elsewhere closely.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers.notices import told

import keras_resnets as kr
from keras_resnets.reports.study import DRAWINGS
from keras_resnets.runs import removal

matplotlib.use("agg")
GOLDEN = Path(__file__).parent / "golden"
# Some calls measure or tune a network on data that were loaded with another normalisation than its own.
pytestmark = pytest.mark.filterwarnings("ignore:.*another normalisation:keras_resnets.errors.Notice")
# Columns that hold times, which no two runs have in common.
TIMES = ("seconds", "epoch_seconds", "epoch_seconds_25", "epoch_seconds_75", "time", "run_seconds")


# What was asked for. The files are made by these calls, and gone on with by the same.


def tiny(**fields):
    """Three basic blocks, one of them strided, for the digits."""
    return kr.Spec("tiny", (kr.Stage(2, (4, 4)), kr.Stage(1, (8, 8), stride=2)), (8, 8, 1), 10, stem_width=4, **fields)


# 560 of the digits are trained on, in 9 steps an epoch.
RECIPE = kr.recipes.get("digits").replace(batch_size=64)
SCENES = kr.recipes.get("scenes").replace(
    batch_size=64, augmentation=kr.data.Augmentation(crop=16, scale=(0.7, 1.3), color=0.3)
)


def few():
    return kr.data.load("digits", validation=0.6)


def digits():
    """The digits as a `Data` with batches of its own, in which a `Data` was trained once, whatever the recipe had."""
    augmentation = kr.data.Augmentation(pad=1, pad_mode="reflect")
    return kr.data.load("digits", batch_size=64, validation=0.6, normalize="pixel", augmentation=augmentation, seed=7)


def finished(out, **how):
    return kr.train(tiny(), few(), RECIPE, out=out, epochs=2, verbose=0, **how)


def stopped(out, **how):
    # Dropout and random crops, so that the weights depend on random state.
    return kr.train(tiny(dropout=0.3), few(), RECIPE, out=out, epochs=3, seed=5, verbose=0, **how)


def stochastic(out, **how):
    policy = kr.paths.StochasticDepth(0.5)
    return kr.train(tiny(), few(), RECIPE, out=out, epochs=1, paths=policy, verbose=0, **how)


def scheduled(out, **how):
    policy = kr.paths.Schedule(((0, None), (9, kr.paths.FixedSize(2, seed=3)), (12, kr.paths.Bernoulli(0.5))))
    return kr.train(tiny(), few(), RECIPE, out=out, epochs=2, paths=policy, seed=1, verbose=0, **how)


def given(out, **how):
    # A callback that stops when it has waited long enough keeps what it knows in the checkpoint.
    watch = keras.callbacks.EarlyStopping("val_loss", patience=9)
    return kr.train(
        tiny(shortcut="B"), digits(), RECIPE, out=out, epochs=2, seed=7, callbacks=[watch], verbose=0, **how
    )


def scenes(out, **how):
    stages = (kr.Stage(1, (4, 4), stride=2), kr.Stage(1, (4, 4), stride=2))
    spec = kr.Spec("scenes", stages, shortcut="B", stem_width=4, head_dilation=1, head_width=4)
    data = kr.data.load("scenes", task="segmentation", image_size=16)
    return kr.train(spec, data, SCENES, out=out, epochs=2, seed=3, verbose=0, **how)


def tuned(out, **how):
    model = kr.load_model(GOLDEN / "trainings" / "finished")
    return kr.fine_tune(model, digits(), RECIPE, out=out, epochs=1, seed=2, verbose=0, **how)


# By name: the call, and whether it was stopped.
RUNS = {
    "finished": (finished, False),
    "stopped": (stopped, True),
    "stochastic": (stochastic, False),
    "scheduled": (scheduled, True),
    "given": (given, True),
    "scenes": (scenes, True),
    "tuned": (tuned, False),
}
COMMAND = "train spec.json --recipe recipe.json --epochs 3 --validation 0.6 --seed 2 --paths fixed:2 --out command"


def survival(out):
    how = {"seeds": 2, "epochs": 1, "lesion": False}
    return kr.studies.survival(tiny(), few(), RECIPE, out=out, survivals=(0.5,), **how)


def degradation(out):
    return kr.studies.degradation("digits", RECIPE.replace(batch_size=256), out=out, depths=(8,), seeds=2, epochs=1)


def dynamics(out):
    return kr.studies.dynamics(tiny(), digits(), RECIPE, out=out, epochs=1, examples=20, gradients=4, verbose=0)


def space():
    return kr.search.DepthWidth(
        tiny(),
        "digits",
        RECIPE.replace(batch_size=128),
        parameters=2_000,
        tolerance=0.2,
        blocks=(1, 2),
        epochs=2,
        seed=3,
        paths=("all", "fixed:1"),
        unit=("basic", "B(3,1)"),
        learning_rate=kr.search.Range(0.02, 0.2),
    )


def search(out):
    return kr.search.search(space(), out=out, oracle="random", trials=2)


def pruned(out, **how):
    model = kr.load_model(GOLDEN / "trainings" / "finished")
    return kr.prune(model, digits(), recipe=RECIPE, timed=0, out=out, seed=1, **how)


PRUNED = {"finished": {"share": 0.5, "method": "one_shot"}, "stopped": {"blocks": 1, "fine_tune": 2}}


# How results are told and compared.


def fingerprints(model):
    """A hash of each weight, in order."""
    arrays = map(keras.ops.convert_to_numpy, model.weights)
    return [hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16] for array in arrays]


def joined(model):
    """All weights in one row."""
    return np.concatenate([keras.ops.convert_to_numpy(weight).ravel() for weight in model.weights])


def numbers():
    """A hash of what a small plain network is trained to: equal on machines that compute alike to the bit."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    body = [layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(8, 3, 2)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *body, layers.GlobalAveragePooling2D(), layers.Dense(10)])
    model.compile(keras.optimizers.SGD(0.1, 0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(640, 8, 8, 1)).astype("float32"), rng.integers(0, 10, 640)
    model.fit(x, y, 64, epochs=2, shuffle=False, verbose=0)
    return "".join(fingerprints(model))


@functools.cache
def expected(name="expected.json"):
    return json.loads((GOLDEN / name).read_text())


@pytest.fixture(scope="session")
def exact():
    """Whether this machine computes to the bit what the one computed that wrote the files."""
    return numbers() == expected()["numbers"]


def told_of_draws():
    """Expects the notice that a run goes on in another order of its images; the files hold where that leads."""
    return told("ordered and augmented images by other random draws")


def copied(name, tmp_path):
    return Path(shutil.copytree(GOLDEN / name, tmp_path / Path(name).name))


def check_weights(model, name, exact):
    with np.load(GOLDEN / "arrays" / f"{name}.npz") as arrays:
        np.testing.assert_allclose(joined(model), arrays["rounded"], atol=1e-3 if exact else 0.05)
    if exact:
        assert fingerprints(model) == expected()["weights"][name]


def check_rows(rows, name, exact):
    """Compares a table with the stored one, but for what holds times."""
    old = pd.read_csv(GOLDEN / "tables" / f"{name}.csv")
    # As a file would have it, so that an empty text and a missing number are alike.
    new = pd.read_csv(io.StringIO(rows.to_csv(index=False)))
    assert set(old) == set(new)
    for column in old:
        if column in TIMES or "latency" in column:
            continue
        if exact or not pd.api.types.is_float_dtype(old[column]):
            pd.testing.assert_series_equal(new[column], old[column], rtol=1e-5)
        else:
            np.testing.assert_allclose(new[column], old[column], atol=0.05, rtol=0.05)


# Files of networks.


def configured(file):
    """All `registered_name` in the configuration of a `.keras` file."""
    with zipfile.ZipFile(file) as archive:
        text = archive.read("config.json").decode()
    return {part.split('"')[0] for part in text.split('"registered_name": "')[1:]}


def test_every_class_that_a_file_may_name_is_in_one():
    found = set().union(*map(configured, (GOLDEN / "networks").glob("*.keras")))
    assert set(expected()["classes"]) == {name for name in found if name.startswith("keras_resnets>")}


def facts(model):
    """What a file says of its network, beside the numbers."""
    optimizer = getattr(model, "optimizer", None)
    rate = optimizer and optimizer.get_config()["learning_rate"]
    if isinstance(rate, dict):  # a schedule, by name and without the module that it stands in
        rate = [rate["class_name"], rate["config"]]
    settings = ("l2", "decay", "bias_rate", "form", "momentum", "nesterov", "weight_decay")
    found = {
        "name": model.name,
        "chain": [link.name for link in model.chain],
        "blocks": [block.name for block in model.blocks],
        "scales": [block.scale for block in model.blocks],
        "parameters": kr.parameters(model),
        "policy": model.dtype_policy.name,
        "spec": model.spec and model.spec.to_dict(),
        # The fields that there were then.
        "preprocessing": model.preprocessing
        and {name: getattr(model.preprocessing, name) for name in ("mean", "std", "channels")},
        "paths": repr(model.paths),
        "optimizer": optimizer and type(optimizer).__name__,
        "settings": optimizer and {name: getattr(optimizer, name) for name in settings if hasattr(optimizer, name)},
        "iterations": optimizer and int(optimizer.iterations),
        "rate": rate,
        "loss": getattr(model.loss, "name", model.loss) if optimizer else None,
        "metrics": [metric.name for metric in model.metrics],
    }
    return json.loads(json.dumps(found, default=float))


def answers(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False)).astype("float32")


@pytest.mark.parametrize("name", sorted(path.stem for path in (GOLDEN / "networks").glob("*.keras")))
def test_a_saved_network_answers_as_it_did(name):
    model = kr.load_model(GOLDEN / "networks" / f"{name}.keras")
    stored = expected()["networks"][name]
    with np.load(GOLDEN / "networks" / f"{name}.npz") as arrays:
        assert facts(model) == stored["facts"]
        tolerance = 5e-3 if "16" in model.dtype_policy.name else 1e-4
        np.testing.assert_allclose(answers(model, arrays["x"]), arrays["answers"], atol=tolerance, rtol=tolerance)
        if "trained" in arrays:
            # One step more: what the optimiser knows, its rate, and the blocks that are drawn.
            model.train_on_batch(arrays["x"], arrays["y"])
            found = answers(model, arrays["x"])
            np.testing.assert_allclose(found, arrays["trained"], atol=1e-3, rtol=1e-3)


def test_a_saved_network_can_be_edited_and_saved_again(tmp_path):
    model = kr.load_model(GOLDEN / "networks" / "gate.keras")
    edited = kr.delete(model, 0)
    edited.save(tmp_path / "edited.keras")
    x = np.ones((2, *model.input_shape[1:]), "float32")
    again = answers(kr.load_model(tmp_path / "edited.keras"), x)
    np.testing.assert_allclose(again, answers(edited, x), atol=1e-5)


# Run directories.


@pytest.mark.parametrize("name", list(RUNS))
def test_a_run_is_opened_or_gone_on_with(name, tmp_path, exact):
    call, was_stopped = RUNS[name]
    out = copied(f"trainings/{name}", tmp_path)
    before = json.loads((out / "run.json").read_text())
    assert ("results" in before) != was_stopped
    epochs = len(pd.read_csv(out / "history.csv"))
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with told_of_draws() if was_stopped else contextlib.nullcontext():
        model = call(out)
    check_weights(model, name, exact)
    results = json.loads((out / "run.json").read_text())["results"]
    if exact:
        assert results == expected()["results"][name]
    assert results.keys() == expected()["results"][name].keys()
    if was_stopped:
        # What was trained before is still told, and was not trained again.
        history = pd.read_csv(out / "history.csv")
        old = pd.read_csv(io.BytesIO(files[out / "history.csv"]))
        pd.testing.assert_frame_equal(history.iloc[:epochs], old)
        assert len(history) > epochs
    else:
        assert files == {path: path.read_bytes() for path in files}


def test_another_run_is_still_refused(tmp_path):
    out = copied("trainings/stopped", tmp_path)
    with pytest.raises(ValueError, match=r"was started with data\.seed = 5, now 6 is asked"):
        kr.train(tiny(dropout=0.3), few(), RECIPE, out=out, epochs=3, seed=6, verbose=0)


# Studies.


@pytest.mark.parametrize("name", sorted(path.name for path in (GOLDEN / "studies").glob("*")))
def test_a_saved_study_is_read_and_drawn(name):
    study = kr.studies.Study.load(GOLDEN / "studies" / name)
    stored = expected()["studies"][name]
    assert study.name == stored["name"]
    assert list(study.rows) == stored["columns"]
    assert list(study.tables) == stored["tables"]
    assert kr.studies.describe(study) == stored["told"]
    assert all(curve.values.notna().any() for curve in DRAWINGS[study.name].curves(study).values())
    figure = study.figure()
    assert [axes.get_xlabel() for axes in figure.axes] == stored["axes"]
    plt.close(figure)


def test_a_study_read_is_written_as_it_was(tmp_path):
    study = kr.studies.Study.load(GOLDEN / "studies" / "degradation")
    study.save(tmp_path)
    for name in ("rows.csv", "epochs.csv"):
        assert (tmp_path / name).read_text() == (GOLDEN / "studies" / "degradation" / name).read_text()
    written = json.loads((tmp_path / "study.json").read_text())
    assert written.pop("texts")["rows"] == ["family", "run"]  # which columns are texts was not written then
    assert written == json.loads((GOLDEN / "studies" / "degradation" / "study.json").read_text())


def test_a_study_goes_on_from_the_batches_that_were_measured(tmp_path, exact):
    out = copied("unfinished/lesion", tmp_path)
    (file,) = out.glob(".unfinished/*/*.npy")
    # A mark on what was measured then, to see that it is taken and not measured again.
    sums = np.load(file)
    sums[:, 2] += 1000
    np.save(file, sums)
    model, data = kr.load_model(GOLDEN / "trainings" / "finished"), digits()
    study = kr.studies.lesion(model, data, resume=out)
    check_rows(study.rows.assign(loss=study.rows["loss"] - 1000 / study.summary["examples"]), "lesion", exact)


def test_a_study_that_trains_goes_on_in_its_cells(tmp_path, exact):
    out = copied("unfinished/survival", tmp_path)
    done = {path: path.read_bytes() for path in out.glob("cells/*/run.json") if b'"results"' in path.read_bytes()}
    times = {path.parent: path.with_name("times.csv").read_bytes() for path in done}
    assert len(done) == 3
    with told_of_draws():
        rows = survival(out).rows
    check_rows(rows, "survival", exact)
    assert len(list(out.glob("cells/*"))) == 4
    assert done == {path: path.read_bytes() for path in done}
    assert times == {path: (path / "times.csv").read_bytes() for path in times}


def killed_as_it_ended(out):
    """Leaves in each run below `out` what a kill leaves right after its record came to its place."""
    left = [record.parent / ".run.json.a1b2c3d4" for record in out.rglob("run.json")]
    for folder in left:
        folder.mkdir()
        (folder / removal.ALIVE).write_text("")
    assert left
    return left


@pytest.mark.parametrize("call", [degradation, dynamics])
def test_a_study_whose_networks_are_trained_trains_none(call, tmp_path, exact):
    out = copied(f"trained/{call.__name__}", tmp_path)
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    left = killed_as_it_ended(out)
    check_rows(call(out).rows, call.__name__, exact)
    assert not [path for path in left if path.exists()]
    assert files == {path: path.read_bytes() for path in files}


# Searches, prunings, exports.


def test_a_finished_search_is_read(tmp_path):
    out = copied("searches/finished", tmp_path)
    study = search(out)
    check_rows(study.rows, "search", True)
    assert json.loads((out / "run.json").read_text())["results"] == expected()["search"]
    best = json.loads((out / "best_recipe.json").read_text())
    assert kr.recipes.Recipe.from_dict(best).to_dict() == best | kr.recipes.Recipe.from_dict(best).to_dict()
    assert kr.Spec.from_json((out / "best.json").read_text()).to_dict() == json.loads((out / "best.json").read_text())


def test_a_stopped_search_goes_on_in_its_trials(tmp_path, exact):
    out = copied("searches/stopped", tmp_path)
    trials, events = {path.name for path in out.glob("trials/*")}, (out / "journal.jsonl").read_text()
    left = killed_as_it_ended(out)
    with told_of_draws():
        study = search(out)
    assert not [path for path in left if path.exists()]
    # The folder of a trial is named by all options of its network and recipe: a new name would train it anew.
    assert {path.name for path in out.glob("trials/*")} == trials
    assert (out / "journal.jsonl").read_text().startswith(events)
    check_rows(study.rows, "search_gone_on", exact)
    # The trial that was done then was not trained again: its time is that of then.
    old = json.loads((GOLDEN / "expected.json").read_text())["seconds"]
    assert study.rows["seconds"].iloc[0] == pytest.approx(old, rel=1e-6)


@pytest.mark.parametrize("name", list(PRUNED))
def test_a_pruning_is_opened_or_gone_on_with(name, tmp_path, exact):
    out = copied(f"pruned/{name}", tmp_path)
    with told_of_draws() if name == "stopped" else contextlib.nullcontext():
        network, study = pruned(out, **PRUNED[name])
    check_weights(network, f"pruned_{name}", exact)
    check_rows(study.rows, f"pruned_{name}", exact)


@pytest.mark.parametrize("name", ["saved_model", "litert"])
def test_the_card_of_an_export_is_told(name):
    report = expected(f"cards/{name}.card.json")
    assert kr.export.describe(report) == expected()["cards"][name]


# The command line. All of its processes are started at once, for most of their time goes by before they do anything.


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    for name in ("finished", "command"):
        copied(f"trainings/{name}", folder)
    for name in ("spec.json", "recipe.json"):
        shutil.copy(GOLDEN / name, folder)
    asked = {
        "train": COMMAND,
        "study": "study responses finished --examples 20 --out told",
        "export": "export finished --examples 20 --calls 0 --out saved",
    }
    path = os.pathsep.join([str(Path(kr.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder}
    how["env"] = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path}
    started = {
        name: subprocess.Popen([sys.executable, "-m", "keras_resnets", *command.split()], **how)
        for name, command in asked.items()
    }

    def result(name):
        said, complained = started[name].communicate(timeout=300)
        assert started[name].returncode == 0, complained
        return said

    yield folder, result
    for process in started.values():
        process.kill()


def test_the_same_command_goes_on_with_a_run(commands, exact):
    folder, result = commands
    assert "after 3 epochs" in result("train")
    check_weights(kr.load_model(folder / "command"), "command", exact)


def test_a_run_can_be_studied_from_the_command_line(commands):
    folder, result = commands
    result("study")
    study = kr.studies.Study.load(folder / "told")
    assert list(study.rows) == expected()["studies"]["responses"]["columns"]


def test_a_run_can_be_exported_from_the_command_line(commands):
    folder, result = commands
    result("export")
    card, old = json.loads((folder / "saved.card.json").read_text()), expected("cards/saved_model.card.json")
    assert card.keys() - old.keys() == {"class_names", "ends_in", "signatures", "training"}
    assert card["training"] == {"recipe": "digits", "epochs": 2, "seed": 0, "data": "digits", "execution": ""}
    assert card.keys() >= old.keys()
    assert card["network"] == old["network"]
    assert {name: card["preprocessing"][name] for name in old["preprocessing"]} == old["preprocessing"]
    # What the early run did not keep comes from its data.
    assert card["signatures"] == ["serving_default", "serving_files", "serving_pictures"]
