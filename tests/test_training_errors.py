"""Wrong calls of trainings, their recipes, and the directories that they are kept in: each gets one sentence."""

from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Damaged

CALLS = [
    ("no .keras", lambda p: kr.load_model(p.root / "no.keras"), ArgumentError, ["no.keras", "give a .keras file"]),
    ("garbage .keras", lambda p: kr.load_model(p.garbage), ArgumentError, ["garbage.keras", "cannot be opened"]),
    ("hollow .keras", lambda p: kr.load_model(p.hollow), ArgumentError, ["hollow.keras", "cannot be opened"]),
    ("text as .keras", lambda p: kr.load_model(p.regular), ArgumentError, ["regular", "cannot be opened"]),
    ("no run", lambda p: kr.load_model(p.foreign), ArgumentError, ["foreign", "finished run directory"]),
    (
        "recipe",
        lambda p: wrong_calls.train(p, recipe="he17"),
        ArgumentError,
        [
            "'he17'",
            "camvid, cifar_short, digits, he15, he15_110, he16, huang, imagenet, scenes, segmentation, small, "
            "small_pictures, tuning, tuning_pictures, wrn, wrn_svhn, wu, wu_imagenet",
        ],
    ),
    ("epochs", lambda p: wrong_calls.train(p, epochs=0), ArgumentError, ["epochs", "at least 1", "got 0"]),
    ("half an epoch", lambda p: wrong_calls.train(p, epochs=1.5), ArgumentError, ["epochs", "whole", "got 1.5"]),
    ("seed", lambda p: wrong_calls.train(p, seed=-1), ArgumentError, ["seed", "from 0", "-1"]),
    (
        "seed with data",
        lambda p: wrong_calls.train(p, seed=1.5, data=kr.data.load("digits")),
        ArgumentError,
        ["seed", "got 1.5"],
    ),
    (
        "network for larger images",
        lambda p: wrong_calls.train(p, network="resnet50"),
        ArgumentError,
        ["height", "32", "(8, 8, 1)"],
    ),
    ("rate", lambda p: kr.recipes.get("wrn").replace(learning_rate=0), ArgumentError, ["learning_rate", "positive"]),
    ("field of Recipe", lambda p: kr.recipes.get("wrn").replace(epoch=1), ArgumentError, ["'epoch'", "mean", "epochs"]),
    (
        "schedule",
        lambda p: kr.recipes.get("wrn").replace(schedule="exp"),
        ArgumentError,
        ["schedule", "'cosine'", "'exp'"],
    ),
    ("endless recipe", lambda p: kr.recipes.Recipe("x"), ArgumentError, ["epochs", "at least 1", "got 0"]),
    ("l2", lambda p: kr.optimizers.SGD(l2=-1), ArgumentError, ["l2", "from 0", "-1"]),
    ("form", lambda p: kr.optimizers.SGD(form="caffe"), ArgumentError, ["form", "'torch'", "'caffe'"]),
    ("scope of decay", lambda p: kr.optimizers.SGD(decay="biases"), ArgumentError, ["decay", "'kernels'", "'biases'"]),
    (
        "out below a file",
        lambda p: wrong_calls.train(p, out=p.regular / "run"),
        OSError,
        ["regular/run'", "written", "Give another"],
    ),
    (
        "out is a file",
        lambda p: wrong_calls.train(p, out=p.regular),
        OSError,
        ["regular'", "written", "Give another --out"],
    ),
    (
        "out in /proc",
        lambda p: wrong_calls.train(p, out="/proc/run"),
        OSError,
        ["'/proc/run'", "written", "Give another --out"],
    ),
    (
        "out in use",
        lambda p: wrong_calls.train(p, out=p.held),
        OSError,
        ["Another process", "held'", "Wait", "another --out"],
    ),
    (
        "out with another seed",
        lambda p: wrong_calls.train(p, out=p.run, seed=1),
        ArgumentError,
        ["seed = 0", "now 1", "--out"],
    ),
    (
        "out with another length",
        lambda p: wrong_calls.train(p, out=p.run, epochs=2),
        ArgumentError,
        ["recipe.epochs = 1", "now 2", "--out"],
    ),
    (
        "out with another network",
        lambda p: wrong_calls.train(p, out=p.run, network="resnet14"),
        ArgumentError,
        ["spec.name = 'resnet8'", "now 'resnet14'", "--out"],
    ),
    (
        "out of others",
        lambda p: wrong_calls.train(p, out=p.foreign),
        ArgumentError,
        ["'thesis.tex'", "not a run directory", "give an empty"],
    ),
    (
        "rate NaN",
        lambda p: kr.recipes.get("digits").replace(weight_decay=float("nan")),
        ArgumentError,
        ["weight_decay", "finite", "nan"],
    ),
    ("optimiser's rate NaN", lambda p: kr.optimizers.SGD(float("nan")), ArgumentError, ["learning_rate", "nan"]),
    ("optimiser's momentum NaN", lambda p: kr.optimizers.SGD(0.1, float("nan")), ArgumentError, ["momentum", "nan"]),
    ("null character", lambda p: wrong_calls.train(p, out="a\0b"), OSError, ["embedded null", "Give another --out"]),
    (
        "run.json damaged",
        lambda p: wrong_calls.train(p, out=p.torn),
        Damaged,
        ["run.json'", "damaged", "left as it is; give another"],
    ),
    (
        "checkpoint damaged",
        lambda p: wrong_calls.train(p, out=p.cut),
        Damaged,
        ["last.safetensors'", "damaged", "Move the folder 'checkpoints' elsewhere"],
    ),
]


@wrong_calls.table(CALLS)
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    wrong_calls.assert_refused(call, kind, parts, place)


def test_wrong_calls_do_no_harm(place):
    """What the calls were pointed at is as it was."""
    assert all(path.exists() for path in (place.foreign, place.regular, place.run))
    place.unharmed()
