"""Wrong calls of names of variants and fields of specs: each gets one sentence."""

from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

CALLS = [
    ("depth endless", lambda p: kr.build("resnet99999999"), ArgumentError, ["at most 10,000", "'resnet99999999'"]),
    ("digits endless", lambda p: kr.build("resnet" + "9" * 5000), ArgumentError, ["at most 10,000", "Give a smaller"]),
    ("spec nested", lambda p: kr.Spec.from_json("[" * 100_000), ArgumentError, ["a spec in JSON", "recursion"]),
    ("spec of a number", lambda p: kr.Spec.from_json("9" * 5000), ArgumentError, ["a spec in JSON", "4300 digits"]),
    ("unknown variant", lambda p: kr.build("resnett50"), ArgumentError, ["'resnett50'", "nearest", "resnet50,"]),
    ("misspelt variant", lambda p: kr.build("wrn_28-10"), ArgumentError, ["'wrn_28-10'", "nearest", "wrn_28_10,"]),
    ("no name", lambda p: kr.build(None), ArgumentError, ["variant must be a string", "None"]),
    ("depth", lambda p: kr.build("resnet21"), ArgumentError, ["6n+2", "got 21", "resnet20 and resnet26"]),
    ("depth of plain", lambda p: kr.build("plain9"), ArgumentError, ["6n+2", "got 9", "plain8 and plain14"]),
    ("depth 2", lambda p: kr.build("resnet2"), ArgumentError, ["6n+2", "at least 1", "got 2", "resnet8"]),
    ("depth of wide", lambda p: kr.build("wrn_29_2"), ArgumentError, ["6n+4", "got 29", "wrn_28_2 and wrn_34_2"]),
    ("widening factor", lambda p: kr.build("wrn_28_0"), ArgumentError, ["at least 1", "got 0"]),
    ("pattern of an ImageNet name", lambda p: kr.build("resnet49"), ArgumentError, ["got 49", "resnet44", "resnet56"]),
    ("small input", lambda p: kr.build("resnet50", (31, 64, 3)), ArgumentError, ["height", "32", "(31, 64, 3)", "Use"]),
    ("narrow input", lambda p: kr.build("resnet8", (8, 2, 1)), ArgumentError, ["width", "4", "(8, 2, 1)", "Use"]),
    ("two sizes", lambda p: kr.build("resnet8", (8, 8)), ArgumentError, ["input_shape", "channels", "(8, 8)"]),
    ("width", lambda p: kr.build("resnet8", width=-1), ArgumentError, ["width", "positive", "-1"]),
    ("width no number", lambda p: kr.build("resnet8", width=float("nan")), ArgumentError, ["width", "positive", "nan"]),
    ("stage width", lambda p: kr.Stage(1, (16, -16)), ArgumentError, ["Stage.widths", "at least 1", "-16"]),
    ("stage kernels", lambda p: kr.Stage(1, (16, 16), (3, 2)), ArgumentError, ["kernels", "odd", "(3, 2)"]),
    ("stage without kernel", lambda p: kr.Stage(1, (16,)), ArgumentError, ["widths", "kernels", "(16,)", "(3, 3)"]),
    ("blocks", lambda p: kr.Stage(0, (16, 16)), ArgumentError, ["Stage.blocks", "at least 1", "got 0"]),
    ("classes", lambda p: kr.build("resnet8", classes=0), ArgumentError, ["classes", "at least 1", "got 0"]),
    ("half a class", lambda p: kr.build("resnet8", classes=2.5), ArgumentError, ["classes", "whole", "got 2.5"]),
    ("dropout", lambda p: kr.build("resnet8", dropout=1.0), ArgumentError, ["dropout", "not including, 1", "got 1.0"]),
    ("dropout below 0", lambda p: kr.build("resnet8", dropout=-0.1), ArgumentError, ["dropout", "from 0", "-0.1"]),
    ("epsilon", lambda p: kr.build("resnet8", bn_epsilon=0), ArgumentError, ["bn_epsilon", "positive", "got 0"]),
    ("momentum", lambda p: kr.build("resnet8", bn_momentum=1), ArgumentError, ["bn_momentum", "not including, 1"]),
    ("weight decay", lambda p: kr.build("resnet8", weight_decay=-1), ArgumentError, ["weight_decay", "from 0", "-1"]),
    ("shortcut", lambda p: kr.build("resnet8", shortcut="D"), ArgumentError, ["shortcut", "'A', 'B', 'C'", "'D'"]),
    ("placement", lambda p: kr.build("resnet8", placement="mid"), ArgumentError, ["placement", "'pre'", "'mid'"]),
    ("skip no text", lambda p: kr.build("resnet8", skip=0.5), ArgumentError, ["skip", "such as identity", "got 0.5"]),
    ("skip", lambda p: kr.build("resnet8", skip="gated:-6"), ArgumentError, ["skip", "'gate'", "'gated'"]),
    ("skip without number", lambda p: kr.build("resnet8", skip="gate"), ArgumentError, ["'gate:-6'", "got 'gate'"]),
    ("skip, a word", lambda p: kr.build("resnet8", skip="gate:low"), ArgumentError, ["'gate:-6'", "got 'gate:low'"]),
    ("skip, endless", lambda p: kr.build("resnet8", skip="gate:inf"), ArgumentError, ["finite", "got 'gate:inf'"]),
    ("one scale", lambda p: kr.build("resnet8", skip="scale:0.5"), ArgumentError, ["'scale:0.5:1'", "'scale:0.5'"]),
    ("identity:1", lambda p: kr.build("resnet8", skip="identity:1"), ArgumentError, ["'identity'", "'identity:1'"]),
    ("no shortcut", lambda p: kr.build("resnet8", skip="scale:0:1"), ArgumentError, ["plain", "Use shortcut='none'"]),
    ("scale below 0", lambda p: kr.build("resnet8", skip="scale:-1:1"), ArgumentError, ["positive", "'scale:-1:1'"]),
    ("no residual", lambda p: kr.build("resnet8", skip="scale:1:0"), ArgumentError, ["positive", "'scale:1:0'"]),
    ("all dropped", lambda p: kr.build("resnet8", skip="dropout:1"), ArgumentError, ["less than 1", "'dropout:1'"]),
    ("none dropped", lambda p: kr.build("resnet8", skip="dropout:0"), ArgumentError, ["more than 0", "'dropout:0'"]),
    (
        "skip of a plain network",
        lambda p: kr.build("plain8", skip="dropout:0.5"),
        ArgumentError,
        ["skip", "'identity'", "shortcut='none'", "'dropout:0.5'", "Choose"],
    ),
    (
        "zero gamma before a ReLU",
        lambda p: kr.build("resnet8", zero_gamma=True, placement="relu_before"),
        ArgumentError,
        ["zero_gamma", "'relu_before'", "no gradient", "got True", "Choose"],
    ),
    ("stem", lambda p: kr.build("resnet8", stem="conv5"), ArgumentError, ["stem", "'conv3', 'conv7'", "'conv5'"]),
    ("name", lambda p: kr.build("resnet8", name="a/b"), ArgumentError, ["name", "without '/'", "'a/b'"]),
    (
        "override",
        lambda p: kr.build("resnet8", shortcuts="A"),
        ArgumentError,
        ["'shortcuts'", "did you mean", "shortcut"],
    ),
    (
        "field of Spec",
        lambda p: kr.Spec.from_dict({**p.spec.to_dict(), "clases": 3}),
        ArgumentError,
        ["Spec", "'clases'", "did you mean", "classes"],
    ),
    (
        "field of Stage",
        lambda p: kr.Spec.from_dict({"name": "x", "stages": [{"blocks": 1, "width": [4, 4]}]}),
        ArgumentError,
        ["Stage", "'width'", "did you mean", "widths"],
    ),
    ("no stages", lambda p: kr.Spec("x", ()), ArgumentError, ["stages", "non-empty", "()"]),
    (
        "shortcut A that removes channels",
        lambda p: kr.build(p.spec, stem_width=32),
        ArgumentError,
        ["shortcut 'A'", "32", "4", "Use shortcut 'B'"],
    ),
]


@wrong_calls.table(CALLS)
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    wrong_calls.assert_refused(call, kind, parts, place)
