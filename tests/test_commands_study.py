"""The command line on work that succeeds; what is refused stands in test_commands_errors."""

import functools
import json

import keras
import numpy as np
import pandas as pd
import pytest
from helpers.foreign_models import residual_model

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.training import feeding


@pytest.fixture
def folder(tmp_path):
    """Twelve images in three classes."""
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog", "owl"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for i in range(4):
            keras.utils.save_img(
                tmp_path / "images" / kind / f"{i}.png", rng.integers(0, 256, (40, 40, 3)), scale=False
            )
    return tmp_path / "images"


def test_study_of_a_keras_application_on_a_folder(folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["study", "lesion", "keras.applications:ResNet50", "--weights", "random", "--data", str(folder)]
    assert cli.main([*arguments, "--image-size", "32", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "3 classes" in said.err
    assert "1000 outputs" in said.err
    rows, summary = pd.read_csv(out / "rows.csv"), json.loads((out / "study.json").read_text())["summary"]
    assert list(rows["block"][:2]) == ["conv2_block1", "conv2_block2"]
    assert len(rows) == 16
    assert summary["examples"] == 12  # all of the folder: the network was not trained on any of it
    np.testing.assert_allclose(rows["error"], 1 - rows["agreement"])


def test_labels_and_preprocessing_reach_a_foreign_network(folder, tmp_path, monkeypatch, scramble):
    """With as many classes as outputs the labels count, and the images are preprocessed as the network wants them."""
    from keras_resnets.models import applications

    original = scramble(residual_model(classes=3))
    monkeypatch.setattr(
        applications, "foreign", lambda *_: (kr.adopt(original), keras.applications.mobilenet_v2.preprocess_input)
    )
    arguments = ["study", "lesion", "keras.applications:MobileNetV2", "--data", str(folder), "--image-size", "32"]
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    summary = json.loads((tmp_path / "out" / "study.json").read_text())["summary"]

    data = kr.data.load(folder, image_size=32, normalize=None, validation=0)
    x, y = (np.concatenate(parts) for parts in zip(*data.unseen.as_numpy_iterator(), strict=True))
    assert sorted(y) == [0] * 4 + [1] * 4 + [2] * 4
    assert x.max() > 200
    expected, raw = (keras.losses.sparse_categorical_crossentropy(y, original(i)) for i in (x / 127.5 - 1, x))
    assert summary["intact"]["loss"] == pytest.approx(float(np.mean(expected)), rel=1e-4)
    assert abs(np.mean(expected) - np.mean(raw)) > 1e-2

    # So many in all, and not of each split.
    assert cli.main([*arguments, "--examples", "5", "--out", str(tmp_path / "few")]) == 0
    few = json.loads((tmp_path / "few" / "study.json").read_text())["summary"]
    assert few["examples"] == 5
    assert few["intact"]["loss"] == pytest.approx(float(np.mean(expected[:5])), rel=1e-4)


def test_study_of_runs_side_by_side(tmp_path, capsys):
    for name in ("preresnet8", "plain8"):
        kr.train(name, "digits", out=tmp_path / name, epochs=1, verbose=0)
    run = str(tmp_path / "preresnet8")
    assert cli.main(["study", "lesion", run, "--beside", str(tmp_path / "plain8")]) == 0
    rows = pd.read_csv(tmp_path / "preresnet8" / "studies" / "lesion" / "rows.csv")
    assert rows["model"].value_counts().to_dict() == {"plain8": 6, "preresnet8": 3}
    assert "plain8: error" in capsys.readouterr().out
    assert cli.main(["study", "delete", run, "--most", "2", "--draws", "3", "--seed", "5"]) == 0
    study = kr.studies.Study.load(tmp_path / "preresnet8" / "studies" / "delete")
    assert (study.summary["most"], study.summary["draws"], study.summary["seed"]) == (2, 3, 5)
    data = kr.data.load("digits", normalize=kr.recipes.get("digits").normalize)
    assert study.rows.equals(kr.studies.delete(kr.load_model(run), data, most=2, draws=3, seed=5).rows)
    assert (
        cli.main(["study", "reorder", run, "--examples", "50", "--out", str(tmp_path / "few")]) == 2
    )  # one block each
    capsys.readouterr()
    assert cli.main(["study", "lesion", run, "--examples", "50", "--json", "--out", str(tmp_path / "few")]) == 0
    found = json.loads(capsys.readouterr().out)
    few = kr.studies.Study.load(tmp_path / "few")
    x, y = (np.concatenate(parts)[:50] for parts in zip(*data.test.as_numpy_iterator(), strict=True))
    assert few.summary["examples"] == 50
    assert (found["summary"], found["rows"]) == (few.summary, few.rows.to_dict("records"))
    assert str(tmp_path / "few" / "figure.png") in found["written"]
    np.testing.assert_allclose(few.rows["error"], kr.studies.lesion(kr.load_model(run), (x, y)).rows["error"])


def test_a_set_of_the_networks_size_is_not_resized():
    load = functools.partial(kr.data.load, "digits", normalize=None)
    first = np.asarray(next(iter(load().test))[0])
    for side in (8, 16):
        data = feeding.in_size_of(kr.build("resnet8", (side, side, 1)), "digits", load)
        images = np.asarray(next(iter(data.test))[0])
        assert images.shape[1:] == (side, side, 1)
        # Resized to their own size, images would be enlarged and cut.
        assert np.array_equal(images, first) == (side == 8)
