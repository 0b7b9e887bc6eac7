"""The command that searches: what it refuses, and how it says to train the best."""

import json

import pytest

import keras_resnets as kr


def command(*arguments):
    from keras_resnets.commands.cli import main

    return main(["search", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "One of --budget-params, --budget-macs and --budget-memory is needed"),
        (("--budget-params", 5000, "--budget-macs", 5000), "and only one"),
        (("--budget-params", 5000, "--blocks", "1,x"), "--blocks takes numbers"),
        (("--budget-params", 5000, "--choose", "unit"), "--choose takes FIELD=A,B,C"),
        (("--budget-params", 5000, "--choose", "units=basic"), "no 'units'"),
        (("--budget-params", 5000, "--ray", "127.0.0.1:1"), "workers must be at least 1"),
        (("--budget-params", 5000, "--workers", 1, "--gpus", "nan"), "gpus must be"),
        (("--budget-params", 5000, "--oracle", "best"), "no 'best'"),
        (("--budget-params", 50), "leaves a width"),
        (("plain19", "--budget-params", 5000), "plain19"),
        (("--budget-params", 5000, "--recipe", "none.json"), "cannot be read"),
    ],
)
def test_wrong_commands_are_told_and_leave_nothing(arguments, said, tmp_path, capsys):
    assert command(*arguments, "--out", tmp_path / "x") == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_the_command_says_how_to_train_the_best_and_that_runs(tmp_path, capsys):
    from keras_resnets.commands.cli import main

    asked = ("--budget-params", 3000, "--blocks", "1,30", "--choose", "unit=B(3,1),basic", "--choose", "paths=drop:0.1")
    assert command(*asked, "--epochs", 1, "--oracle", "grid", "--out", tmp_path / "s") == 0
    said, error = capsys.readouterr()
    assert "left out because no width meets the budget: 30 blocks" in error
    assert "2 trials by grid at 3,000 parameters" in said
    again = said.split("train it: keras-resnets ")[1].split("\n")[0].replace("--out DIR", f"--out {tmp_path / 'run'}")
    assert "--paths drop:0.1" in again
    assert main([*again.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["results"] == json.loads((tmp_path / "run" / "run.json").read_text())["results"]
    assert str(tmp_path / "run" / "model.keras") in found["written"]
    spec = kr.Spec.from_json((tmp_path / "s" / "best.json").read_text())
    assert kr.load_model(tmp_path / "run").spec == spec
    assert command(*asked, "--epochs", 1, "--oracle", "grid", "--json", "--out", tmp_path / "s") == 0
    said, error = capsys.readouterr()
    assert (json.loads(said)["study"], len(json.loads(said)["rows"])) == ("search", 2)
    assert f"keras-resnets {again}" == json.loads(said)["train"].replace("--out DIR", f"--out {tmp_path / 'run'}")
    assert "3,000 parameters: 1 blocks" in error, "what is told on the way goes to standard error"
