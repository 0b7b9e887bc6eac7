"""Runs that are moved, opened from elsewhere, or not finished: they say what they need, and go on."""

import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import shapes
from helpers.notices import told

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Run
from keras_resnets.training import places
from keras_resnets.training.feeding import data_for, data_of

GOLDEN = Path(__file__).parent / "golden" / "trainings"
RECIPE = kr.recipes.get("digits").replace(batch_size=16, normalize="pixel", augmentation=kr.data.Augmentation())
SPEC = kr.Spec("tiny", (kr.Stage(1, (4, 4)),), stem_width=4)


def _loaded(folder):
    return data_for(RECIPE, folder, image_size=8, validation=0, tell=lambda line: None)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with pictures and with a run on them that was started from there, and stopped after 1 epoch of 3."""
    root, before = tmp_path_factory.mktemp("project"), Path.cwd()
    shapes.fill(root / "shapes", 6, smallest=20)
    os.chdir(root)
    try:
        model = kr.train(SPEC, _loaded("shapes"), RECIPE, out="runs/a", epochs=3, until=1, verbose=0)
    finally:
        os.chdir(before)
    return root, model


@pytest.fixture
def moved(project, tmp_path):
    """A copy of the project's run alone, at another place."""
    shutil.copytree(project[0] / "runs" / "a", tmp_path / "a")
    return tmp_path / "a"


def _lose(path, beside="none"):
    """Has a run's folder of pictures no longer be where it was when it was started."""
    run = Run(path, {})
    run.note(places={**run.record["places"], "name": {"absolute": "/none/shapes", "beside": beside}})


def test_the_best_network_of_a_stopped_run_is_opened_with_what_a_prediction_needs(project):
    root, trained = project
    picture = next((root / "shapes" / "disc").iterdir())
    with told("is not finished: this is its best network so far, of epoch 1 of 3."):
        model = kr.load_model(root / "runs" / "a")
    assert model.class_names == shapes.CLASSES
    assert model.preprocessing == trained.preprocessing == _loaded(root / "shapes").preprocessing
    for ours, theirs in zip(model.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    with told("is not finished"):
        (answer,) = kr.predict(root / "runs" / "a", picture)
    assert answer == kr.predict(trained, picture)[0]


def test_a_stopped_run_of_a_policy_has_the_scales_of_its_step(tmp_path):
    # Of an early version, which kept neither names nor preprocessing; a policy gives each block a scale.
    shutil.copytree(GOLDEN / "scheduled", tmp_path / "run")
    run = Run(tmp_path / "run", {})
    values, state = run.restore("best")
    with told("is not finished"):
        model = kr.load_model(tmp_path / "run")
    policy = keras.saving.deserialize_keras_object(run.record["asked"]["paths"])
    assert [block.scale for block in model.blocks] == [float(s) for s in policy.scales(3, state["epoch"] * 9)]
    kernel = next(value for name, value in values.items() if name.endswith("stem/body/conv/kernel"))
    np.testing.assert_array_equal(model.weights[0], kernel)
    assert (model.class_names, model.preprocessing) == (None, None)
    with told("is not finished"):
        (answer,) = kr.predict(tmp_path / "run", np.zeros((8, 8, 1), "uint8"))
    assert answer.name in "0123456789"  # what it lacks is taken from its data


def test_early_runs_take_what_they_lack_from_their_data():
    early = kr.load_model(GOLDEN / "finished")
    assert (early.class_names, early.preprocessing.resizing) == (None, None)
    raw = kr.data.sources.digit_images()["test"][0][:3]
    answers = kr.predict(GOLDEN / "finished", raw)
    expected = early.predict_on_batch(early.preprocessing(raw))
    np.testing.assert_allclose([answer.probabilities for answer in answers], expected, atol=1e-6)
    assert [answer.name for answer in answers] == [str(i) for i in expected.argmax(1)]


def test_a_run_finds_its_data_from_anywhere_and_when_both_are_moved(project, moved, tmp_path, monkeypatch):
    root, _ = project
    expected = _loaded(root / "shapes").test[0][0][0]
    # From another directory, and the run alone elsewhere: the folder is where it was.
    monkeypatch.chdir(tmp_path)
    for run in (root / "runs" / "a", moved):
        data = data_of(run)
        assert data.name == str(root / "shapes")
        np.testing.assert_array_equal(data.test[0][0][0], expected)
    # The whole project elsewhere.
    shutil.copytree(root, tmp_path / "copy")
    there = tmp_path / "copy" / "runs" / "a"
    _lose(there, "../../shapes")
    data = data_of(there)
    assert Path(data.name).resolve() == (tmp_path / "copy" / "shapes").resolve()
    assert (data.options["image_size"], data.options["normalize"]) == (8, "pixel")


def test_a_run_without_its_data_says_what_it_needs_and_takes_it(project, moved, tmp_path, capsys):
    from keras_resnets.commands import cli

    root, _ = project
    (tmp_path / "other").mkdir()
    shutil.copytree(root / "shapes", tmp_path / "other" / "pictures")
    _lose(moved)
    with pytest.raises(ArgumentError, match=r"was trained on '/none/shapes', which is not there.*--data\."):
        data_of(moved)
    # Given, it is read as the run read it.
    data = data_of(moved, str(tmp_path / "other" / "pictures"))
    assert (data.options["image_size"], data.options["normalize"], data.class_names) == (8, "pixel", shapes.CLASSES)
    (tmp_path / "other" / "pictures" / "disc").rename(tmp_path / "other" / "pictures" / "ring")
    with told("labels are taken by their number"):
        data_of(moved, str(tmp_path / "other" / "pictures"))
    # A prediction needs no data.
    assert cli.main(["predict", str(moved), str(root / "shapes" / "disc")]) == 0
    said = capsys.readouterr()
    assert "this is its best network so far" in said.err
    assert len(said.out.splitlines()) == 6


def test_a_training_goes_on_from_another_place(project, moved, tmp_path, monkeypatch):
    root, _ = project
    started = Run(moved, {}).record["asked"]["data"]
    assert started["name"] == "shapes"
    # The same folder by another name, and the same pictures elsewhere once the folder is gone.
    monkeypatch.chdir(tmp_path)
    with told():
        assert places.asked(_loaded(str(root / "shapes")), moved)["name"] == "shapes"
    shutil.copytree(root / "shapes", tmp_path / "elsewhere")
    elsewhere = _loaded("elsewhere")
    assert places.asked(elsewhere, moved)["name"] == "elsewhere"  # refused by the run, since the first is still there
    _lose(moved)
    with told("was started with '/none/shapes', which is gone; it goes on with 'elsewhere'"):
        assert places.asked(elsewhere, moved) == started
    # Not with other pictures.
    next((tmp_path / "elsewhere" / "disc").iterdir()).unlink()
    other = r"was started with other data: there were 1\d train"
    with told("which is gone"), pytest.raises(ArgumentError, match=other):
        places.asked(_loaded("elsewhere"), moved)


def _exchange(folder):
    """Two pictures of different classes change places."""
    one, other = (next((folder / name).iterdir()) for name in shapes.CLASSES[:2])
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _add(folder):
    (folder / shapes.CLASSES[0] / "98.png").write_bytes(next((folder / shapes.CLASSES[1]).iterdir()).read_bytes())


@pytest.mark.parametrize(
    ("change", "what"), [(_exchange, r"have been changed, moved or exchanged"), (_add, r"there were")]
)
def test_a_folder_that_changed_is_no_longer_what_was_trained_on(change, what, project, moved, tmp_path):
    shutil.copytree(project[0] / "shapes", tmp_path / "shapes")
    run = Run(moved, {})
    run.note(places={**run.record["places"], "name": {"absolute": str(tmp_path / "shapes"), "beside": "none"}})
    assert data_of(moved).sizes == _loaded(tmp_path / "shapes").sizes
    change(tmp_path / "shapes")
    with pytest.raises(ArgumentError, match=rf"are not what it was trained on: .*{what}"):
        data_of(moved)
    with told("is what the run in"):  # by its name; which images are new is the caller's to know
        data_of(moved, tmp_path / "shapes")
    with pytest.raises(ArgumentError, match=rf"was started with other data: .*{what}"):
        kr.train(SPEC, _loaded(tmp_path / "shapes"), RECIPE, out=moved, epochs=3, verbose=0)


def test_a_run_before_its_first_epoch_has_ended_says_so(moved):
    shutil.rmtree(moved / "checkpoints")
    with pytest.raises(ArgumentError, match=r"has not ended an epoch yet.* goes on with it"):
        kr.load_model(moved)
