"""Wrong calls of exports: each gets one sentence."""

from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

CALLS = [
    (
        "export onto others",
        lambda p: kr.export.saved_model(p.tiny, p.foreign),
        ArgumentError,
        ["foreign", "new folder"],
    ),
    (
        "export below a file",
        lambda p: kr.export.saved_model(p.tiny, p.regular / "x"),
        OSError,
        ["regular/x'", "written"],
    ),
    (
        "export of no model",
        lambda p: kr.export.saved_model("resnet8", p.new),
        ArgumentError,
        ["model", "Keras model", "str"],
    ),
    (
        "name of a LiteRT file",
        lambda p: kr.export.litert(p.tiny, p.new / "net.lite"),
        ArgumentError,
        ["path must end in .tflite", "net.lite"],
    ),
    (
        "kind of a LiteRT file",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", "int4"),
        ArgumentError,
        ["kind", "'int8'", "'int4'"],
    ),
    (
        "ranges of floats",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", "float16", p.x),
        ArgumentError,
        ["representative", "'int8'", "'float16'"],
    ),
    (
        "raw pixels of a network that does not know them",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", preprocessing=True),
        ArgumentError,
        ["preprocessing", "'tiny'", "set model.preprocessing"],
    ),
    (
        "output of an export",
        lambda p: kr.export.saved_model(p.tiny, p.new, output="classes"),
        ArgumentError,
        ["output", "'logits'", "'classes'"],
    ),
    (
        "int8 of nothing real",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", "int8", examples=p.x),
        ArgumentError,
        ["representative", "real inputs", "keras_resnets.data.load"],
    ),
    (
        "size of an example",
        lambda p: kr.export.litert(p.tiny, p.new / "net.tflite", examples=p.x[:, :7]),
        ArgumentError,
        ["examples", "(8, 8, 1)", "(7, 8, 1)"],
    ),
    (
        "data of an export",
        lambda p: kr.export.saved_model(p.tiny, p.new, data=p.x),
        ArgumentError,
        ["data", "(x, y)", "ndarray"],
    ),
]


@wrong_calls.table(CALLS)
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    wrong_calls.assert_refused(call, kind, parts, place)
