"""Comparisons over seeds as they are typed: what reaches the study, and what is refused in a line."""

import functools
from pathlib import Path

import pytest

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.data import loading
from keras_resnets.training import feeding


@pytest.mark.parametrize(
    ("typed", "args", "options"),
    [
        (
            ["degradation", "--depths", "8,14", "--families", "plain,preresnet", "--data", "digits"],
            ("digits", "digits"),
            {"depths": (8, 14), "families": ("plain", "preresnet")},
        ),
        (["degradation", "--data", "cifar10"], ("cifar10", "he15"), {}),
        (
            ["shortcuts", "--set", "width=0.5", "--arms", "B,gate:-6", "--seeds", "4"],
            (kr.variants.spec("resnet20").replace(width=0.5), "digits", "digits"),
            {"arms": ("B", "gate:-6"), "seeds": 4},
        ),
        (
            ["activation", "resnet32", "--epochs", "7", "--recipe", "he15"],
            (kr.variants.spec("resnet32"), "digits", "he15"),
            {"epochs": 7},
        ),
        (
            ["width_depth", "--budget-memory", "9000", "--depths", "1,3", "--seed", "2"],
            (kr.variants.spec("preresnet20"), "digits", "digits"),
            {"activations": 9000, "depths": (1, 3), "seed": 2},
        ),
        (
            ["width_depth", "wrn_16_4", "--budget-macs", "90000", "--data", "cifar10"],
            (kr.variants.spec("wrn_16_4"), "cifar10", "wrn"),
            {"macs": 90000},
        ),
        (
            ["width_depth", "--budget-params", "70000"],
            (kr.variants.spec("preresnet20"), "digits", "digits"),
            {"parameters": 70000},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_typed_reaches_the_study(typed, args, options, tmp_path, monkeypatch, capsys):
    """The study is stood in for by one that is done, and the data, which may not be here, by their name."""
    located = []

    def data_for(recipe, name, task, **where):
        located.append((recipe.name, task, where))
        return name

    monkeypatch.setattr(feeding, "data_for", data_for)
    monkeypatch.setattr(loading, "check", lambda *_, **__: None)
    done = kr.studies.Study.load(Path(__file__).parent / "golden" / "studies" / "shortcuts")
    asked, name = [], typed[0]

    @functools.wraps(getattr(kr.studies, name))
    def study(*args, **options):
        asked.append((args, options))
        return done

    monkeypatch.setattr(kr.studies, name, study)
    assert cli.main(["study", *typed, "--out", str(tmp_path / "out")]) == 0
    [((*given, recipe), also)] = asked
    assert (*given, recipe.name) == args
    assert also.pop("verbose") is True
    assert also == options | {"out": tmp_path / "out"}
    held_out = "test" if name == "degradation" else 0.1
    where = {"data_dir": None, "image_size": None, "download": False, "validation": held_out}
    assert located == [(args[-1], "classification", where)]
    assert kr.studies.describe(done) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        (["degradation", "resnet20", "--out", "x"], ["SOURCE", "not for", "'degradation'"]),
        (["degradation", "--depths", "8,many", "--out", "x"], ["--depths", "'many'"]),
        (["degradation", "--arms", "B", "--out", "x"], ["--arms", "'degradation'"]),
        (["degradation", "--set", "width=2", "--out", "x"], ["--set", "'degradation'"]),
        (["degradation"], ["--out", "'degradation'"]),
        (["degradation", "--depths", "21", "--out", "x"], ["'plain21'", "6n+2"]),
        (["effective", "--blocks", "2", "--out", "x"], ["SOURCE", "needed", "'effective'"]),
        (["shortcuts", "--budget-params", "7", "--out", "x"], ["--budget-params", "'shortcuts'"]),
        (["shortcuts", "--arms", "gate", "--out", "x"], ["arms", "'gate:-6'"]),
        (
            ["width_depth", "--budget-macs", "9", "--budget-params", "9", "--out", "x"],
            ["budget", "parameters and macs"],
        ),
        (["width_depth", "--budget-params", "9", "--out", "x"], ["No width", "9 parameters"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_commands_get_one_line(typed, parts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["study", *typed]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for part in parts:
        assert part in said
    assert not (tmp_path / "x").exists()
