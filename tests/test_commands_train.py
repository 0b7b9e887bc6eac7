"""The command `train`: its options are fields of the recipe, and few images get a recipe for few."""

import sys

import numpy as np
import pytest
from PIL import Image

import keras_resnets as kr
from keras_resnets.commands import cli
from keras_resnets.commands import train as command
from keras_resnets.commands.output import Output
from keras_resnets.training import recipes, training


@pytest.fixture
def asked(monkeypatch):
    """What the command asks `train` for."""
    found = {}

    def train(network, data, recipe, **options):
        found.update(options, network=network, data=data, recipe=recipe)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(command, "tell_results", lambda out, say: None)
    return found


def test_options_are_fields_of_the_recipe(asked, tmp_path):
    weights = tmp_path / "w.keras"
    weights.touch()
    options = "--batch-size 8 --learning-rate 0.3 --weight-decay 0.01 --label-smoothing 0.1 --class-weight balanced"
    more = f"--patience 4 --freeze 2 --set-recipe momentum=0.8 --weights {weights} --new-head --until 3 --epochs 7"
    fields = ["--set-recipe", 'augmentation={"flip": true}', "--set-recipe", "boundaries=[3, 5]"]
    line = ["train", "resnet8", "--out", str(tmp_path / "x"), *options.split(), *more.split(), *fields]
    assert cli.main(line) == 0
    assert asked["recipe"] == recipes.get("tuning").replace(
        batch_size=8,
        learning_rate=0.3,
        weight_decay=0.01,
        label_smoothing=0.1,
        class_weight="balanced",
        patience=4,
        freeze=2,
        momentum=0.8,
        augmentation=kr.data.Augmentation(flip=True),
        boundaries=(3, 5),
    )
    assert asked["network"] == "resnet8", "by its name it takes settings from the file of the weights"
    assert (asked["weights"], asked["new_head"], asked["until"], asked["epochs"]) == (str(weights), True, 3, 7)


def test_few_pictures_get_a_recipe_for_few_and_the_size_of_the_network(asked, tmp_path):
    for kind, color in (("cat", 40), ("dog", 200)):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for i in range(30):
            Image.fromarray(np.full((20 + i, 30, 3), color, "uint8")).save(tmp_path / "pets" / kind / f"{i}.png")
    for model, recipe, size in (("resnet20", "small", 32), ("resnet18", "small_pictures", 224)):
        assert cli.main(["train", model, "--data", str(tmp_path / "pets"), "--out", str(tmp_path / "x")]) == 0
        assert asked["recipe"] == recipes.get(recipe)
        assert asked["data"].input_shape == (size, size, 3)
        assert asked["recipe"].total_epochs(3) <= 100
    # As many steps as the papers' recipes have are thousands of epochs of these.
    assert recipes.get("he15").total_epochs(1) == 64_000


@pytest.mark.parametrize(
    ("network", "data", "examples", "tuned", "recipe"),
    [
        ("resnet56", "pets", 43, False, "small"),
        ("resnet56", "pets", 9_999, False, "small"),
        ("resnet56", "pets", 10_000, False, "he15"),
        ("resnet50", "pets", 151, False, "small_pictures"),
        ("resnet50", "pets", None, False, "imagenet"),
        ("resnet50", "imagenet2012", 1_281_167, True, "tuning_pictures"),
        ("resnet56", "cifar10", 45_000, True, "tuning"),
        ("resnet8", "digits", 1260, False, "digits"),
    ],
)
def test_the_recipe_by_default(network, data, examples, tuned, recipe):
    assert recipes.default(network, data, examples=examples, tuned=tuned) == recipe


def test_a_run_goes_on_with_the_recipe_it_was_begun_with(tmp_path):
    """Also where another one has become the default since."""
    from keras_resnets.runs import write_json
    from keras_resnets.training.feeding import loaded

    write_json(tmp_path / "run.json", {"asked": {"recipe": recipes.get("huang").to_dict()}})
    data = kr.data.load("digits")
    assert loaded("resnet8", data, None, out=tmp_path)[1] == recipes.get("huang")
    assert loaded("resnet8", data, None, out=tmp_path / "new")[1] == recipes.get("digits")


def test_a_stopped_run_says_how_to_go_on(tmp_path, capsys):
    (tmp_path / "history.csv").write_text("epoch,loss\n1,2.0\n2,1.5\n")
    command.tell_results(tmp_path, Output(sys.stdout, as_json=False, quiet=False))
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {tmp_path / 'history.csv'}",
        "stopped after 2 epochs; the same command without --until, or with a later one, goes on",
    ]
