"""Wrong command lines: each gets one line and its exit status."""

import pytest
from helpers import wrong_calls

from keras_resnets.commands import cli
from keras_resnets.errors import ArgumentError

# What is wrong, the command line, its exit status, and what its one line must hold.
COMMANDS = [
    ("no command", ["trian"], 2, ["'trian'"]),
    ("option", ["train", "resnet8", "--out", "{new}", "--epoch", "x"], 2, ["--epoch"]),
    ("no out", ["train", "resnet8"], 2, ["--out"]),
    ("no model", ["train", "--out", "{new}"], 2, ["MODEL"]),
    ("epochs no number", ["train", "resnet8", "--epochs", "two", "--out", "{new}"], 2, ["--epochs", "'two'"]),
    ("epochs", ["train", "resnet8", "--epochs", "0", "--out", "{new}"], 2, ["epochs", "got 0"]),
    ("seed", ["train", "resnet8", "--seed", "-1", "--out", "{new}"], 2, ["seed", "-1"]),
    ("variant", ["train", "resnet21", "--out", "{new}"], 2, ["6n+2", "resnet20"]),
    ("variant to list", ["models", "resnett50"], 2, ["'resnett50'", "resnet50"]),
    ("recipe", ["train", "resnet8", "--recipe", "he17", "--out", "{new}"], 2, ["'he17'", "he16"]),
    ("field", ["train", "resnet8", "--set", "shortcuts=C", "--out", "{new}"], 2, ["'shortcuts'", "shortcut"]),
    ("field of training", ["train", "resnet8", "--set", "data=x", "--out", "{new}"], 2, ["'data'", "did you mean"]),
    ("field without value", ["train", "resnet8", "--set", "shortcut", "--out", "{new}"], 2, ["FIELD=VALUE"]),
    ("value of a field", ["train", "resnet8", "--set", "dropout=1.5", "--out", "{new}"], 2, ["dropout", "1.5"]),
    ("rate", ["train", "resnet8", "--learning-rate", "0", "--out", "{new}"], 2, ["learning_rate", "got 0"]),
    ("field of no recipe", ["train", "resnet8", "--set-recipe", "rate=1", "--out", "{new}"], 2, ["'rate'", "mean"]),
    (
        "recipe without value",
        ["train", "resnet8", "--set-recipe", "factor", "--out", "{new}"],
        2,
        ["--set-recipe", "="],
    ),
    ("value of a recipe", ["train", "resnet8", "--set-recipe", "epochs=x", "--out", "{new}"], 2, ["epochs", "'x'"]),
    (
        "augmentation of a recipe",
        ["train", "resnet8", "--set-recipe", 'augmentation={{"flop": 1}}', "--out", "{new}"],
        2,
        ["augmentation", "'flop'", "flip"],
    ),
    ("frozen from nothing", ["train", "resnet8", "--freeze", "2", "--out", "{new}"], 2, ["freeze", "weights"]),
    ("weights absent", ["train", "resnet8", "--weights", "{root}/no.keras", "--out", "{new}"], 2, ["no.keras"]),
    ("stop before the first epoch", ["train", "resnet8", "--until", "0", "--out", "{new}"], 2, ["until", "got 0"]),
    ("file of arrays absent", ["train", "resnet8", "--data", "no.npz", "--out", "{new}"], 1, ["'no.npz'", "folder or"]),
    ("spec file absent", ["train", "{root}/no.json", "--out", "{new}"], 2, ["no.json", "cannot be read"]),
    ("data unknown", ["train", "resnet8", "--data", "cifar11", "--out", "{new}"], 2, ["'cifar11'"]),
    (
        "data absent",
        ["train", "resnet8", "--data", "cifar10", "--data-dir", "{root}/tfds", "--out", "{new}"],
        1,
        ["'cifar10'", "--download"],
    ),
    ("data empty", ["train", "resnet8", "--data", "", "--out", "{new}"], 2, ["--data", "got an empty one"]),
    ("variant endless", ["models", "resnet99999999"], 2, ["at most 10,000"]),
    ("folder absent", ["train", "resnet8", "--data", "{root}/no", "--out", "{new}"], 1, ["/no'", "give a folder"]),
    ("out below a file", ["train", "resnet8", "--out", "{regular}/run"], 1, ["regular/run'", "Give another --out"]),
    ("out in use", ["train", "resnet8", "--out", "{held}"], 1, ["Another process", "held'"]),
    (
        "out with other arguments",
        ["train", "resnet14", "--epochs", "1", "--out", "{run}"],
        2,
        ["'resnet8'", "'resnet14'"],
    ),
    ("run.json damaged", ["train", "resnet8", "--epochs", "1", "--out", "{torn}"], 2, ["run.json'", "damaged"]),
    (
        "checkpoint damaged",
        ["train", "resnet8", "--epochs", "1", "--out", "{cut}"],
        2,
        ["last.safetensors'", "damaged"],
    ),
    ("evaluate without data", ["evaluate", "{small}"], 2, ["--data"]),
    ("evaluate nothing", ["evaluate", "{root}/no.keras", "--data", "digits", "--out", "{new}"], 2, ["no.keras"]),
    (
        "evaluate other classes",
        ["evaluate", "{small}", "--data", "digits", "--out", "{new}"],
        2,
        ["5 classes", "has 10"],
    ),
    ("evaluate a split", ["evaluate", "{run}", "--split", "tests", "--out", "{new}"], 2, ["--split", "'tests'"]),
    ("compare one", ["compare", "{run}", "--out", "{new}"], 2, ["two or more"]),
    ("compare one twice", ["compare", "{run}", "{run}", "--out", "{new}"], 2, ["run'", "twice"]),
    ("study unknown", ["study", "lesions", "{run}"], 2, ["'lesions'", "lesion"]),
    ("study of nothing", ["study", "lesion", "{root}/no.keras", "--data", "digits", "--out", "{new}"], 2, ["no.keras"]),
    ("study of garbage", ["study", "lesion", "{garbage}", "--data", "digits", "--out", "{new}"], 2, ["garbage.keras"]),
    ("study without data", ["study", "lesion", "{small}", "--out", "{new}"], 2, ["--data"]),
    ("study of draws", ["study", "lesion", "{run}", "--draws", "3", "--out", "{new}"], 2, ["--draws", "'lesion'"]),
    (
        "study of no application",
        ["study", "lesion", "keras.applications:ResNet51", "--data", "digits", "--out", "{new}"],
        2,
        ["'ResNet51'", "ResNet50"],
    ),
    (
        "study of DenseNet",
        [
            *["study", "lesion", "keras.applications:DenseNet121", "--weights", "random", "--image-size", "32"],
            *["--data", "digits", "--out", "{new}"],
        ],
        2,
        ["'conv2_block1_concat'", "no addition"],
    ),
    ("study that trains without out", ["study", "dynamics", "resnet8", "--epochs", "1"], 2, ["--out", "'dynamics'"]),
    ("dynamics of no variant", ["study", "dynamics", "resnet9", "--out", "{new}"], 2, ["'resnet9'"]),
    ("dynamics of a run not measured", ["study", "dynamics", "resnet8", "--out", "{run}"], 2, ["run'", "not measured"]),
    ("littwin of something", ["study", "littwin", "resnet8", "--out", "{new}"], 2, ["SOURCE", "not for", "'littwin'"]),
    ("littwin on data", ["study", "littwin", "--data", "digits", "--out", "{new}"], 2, ["--data", "'littwin'"]),
    ("lesion of nothing", ["study", "lesion", "--out", "{new}"], 2, ["SOURCE", "needed", "'lesion'"]),
    ("lesion of epochs", ["study", "lesion", "{run}", "--epochs", "2"], 2, ["--epochs", "'lesion'"]),
    ("study without out", ["study", "lesion", "{small}", "--data", "digits"], 2, ["--out"]),
    ("paths of a training", ["train", "resnet8", "--paths", "fixed:4", "--out", "{new}"], 2, ["at most 3", "got 4"]),
    ("no such policy", ["train", "resnet8", "--paths", "dropp:1", "--out", "{new}"], 2, ["'dropp'", "drop"]),
    ("training study without out", ["study", "effective", "resnet8", "--blocks", "2"], 2, ["--out", "'effective'"]),
    ("training study of a run", ["study", "survival", "{run}", "--out", "{new}"], 2, ["run'", "variant"]),
    ("epochs of no training", ["study", "lesion", "{run}", "--epochs", "3"], 2, ["--epochs", "'lesion'"]),
    ("recipe of no training", ["study", "lesion", "{run}", "--recipe", "he15"], 2, ["--recipe", "'lesion'"]),
    (
        "survival of effective paths",
        ["study", "effective", "resnet8", "--blocks", "2", "--survival", "0.5", "--out", "{new}"],
        2,
        ["--survival", "'effective'"],
    ),
    (
        "examples of a training study",
        ["study", "survival", "resnet8", "--examples", "2", "--out", "{new}"],
        2,
        ["--examples", "'survival'"],
    ),
    ("format", ["export", "{run}", "--format", "gguf", "--out", "{new}"], 2, ["'gguf'", "saved_model"]),
    (
        "int8 without data",
        ["export", "{small}", "--format", "litert-int8", "--out", "{new}.tflite"],
        2,
        ["real inputs"],
    ),
    ("name of a file", ["export", "{small}", "--format", "litert", "--out", "{new}"], 2, [".tflite"]),
    (
        "raw pixels not known",
        ["export", "{small}", "--preprocessing", "--out", "{new}"],
        2,
        ["preprocessing", "'tiny'"],
    ),
    ("export of nothing", ["export", "{root}/no", "--out", "{new}"], 2, ["/no'", "give a .keras file"]),
    ("export below a file", ["export", "{small}", "--out", "{regular}/x"], 1, ["regular/x'", "written"]),
    ("demo below a file", ["demo", "--model", "resnet8", "--epochs", "1", "--out", "{regular}/x"], 1, ["regular/x'"]),
]


@pytest.mark.parametrize(("arguments", "status", "parts"), [c[1:] for c in COMMANDS], ids=[c[0] for c in COMMANDS])
def test_wrong_command_gets_one_line_and_its_status(arguments, status, parts, place, capsys):
    assert cli.main(wrong_calls.filled(arguments, place)) == status
    said = capsys.readouterr()
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("keras-resnets: ")
    for part in parts:
        assert part in said.err
    assert "Traceback" not in said.err + said.out
    assert not place.new.exists(), "a wrong command left something behind"


def test_debug_shows_where_it_went_wrong(tmp_path):
    with pytest.raises(ArgumentError):
        cli.main(["--debug", "models", "resnet21"])
