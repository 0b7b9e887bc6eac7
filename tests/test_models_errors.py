"""Wrong calls of networks built by name, and the files that their weights come from: each gets one sentence."""

from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

CALLS = [
    ("pooling", lambda p: kr.build("resnet8", include_top=False, pooling="mean"), ArgumentError, ["pooling", "'mean'"]),
    (
        "input tensor",
        lambda p: kr.build("resnet8", input_tensor=3),
        ArgumentError,
        ["input_tensor", "keras.Input", "3"],
    ),
    (
        "weights with other paths",
        lambda p: kr.build(p.spec.replace(stages=(kr.Stage(2, (4, 4)), p.spec.stages[1])), weights=p.small),
        ArgumentError,
        ["weights", "tiny.keras", "another network", "lacks", "stage1_block2/", "build"],
    ),
    (
        "weights with more paths",
        lambda p: kr.build(p.spec.replace(stages=p.spec.stages[:1]), weights=p.small),
        ArgumentError,
        ["weights", "tiny.keras", "another network", "has an extra", "stage2_block1/", "build"],
    ),
    (
        "weights with other shapes",
        lambda p: kr.build(p.spec, classes=7, weights=p.small),
        ArgumentError,
        ["weights", "tiny.keras", "another network", "head/", "shape", "5", "7", "build"],
    ),
    ("no weights", lambda p: kr.build("resnet8", weights="imagenet"), ArgumentError, ["'imagenet'", "give a .keras"]),
    (
        "application unknown",
        lambda p: kr.applications.foreign("ResNet51"),
        ArgumentError,
        ["'ResNet51'", "nearest", "ResNet50"],
    ),
    (
        "application refuses",
        lambda p: kr.applications.foreign("ResNet50", None, (8, 8, 3)),
        ArgumentError,
        ["ResNet50", "refused", "32"],
    ),
]


@wrong_calls.table(CALLS)
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    wrong_calls.assert_refused(call, kind, parts, place)
