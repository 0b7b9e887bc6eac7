"""Wrong calls of blocks, edits and gates of a network: each gets one sentence."""

import keras
from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.errors import ArgumentError


def _noisy():
    """A network with a loss inside of a residual branch."""
    conv = keras.layers.Conv2D(1, 3, padding="same", activity_regularizer="l2", name="loud")
    return kr.ResidualNetwork([kr.ResidualBlock(conv, keras.layers.Identity(), name="block")], (4, 4, 1))


CALLS = [
    ("block of nothing", lambda p: kr.ResidualBlock(name="b"), ArgumentError, ["'b'", "residual", "neither"]),
    ("parameters of nothing", lambda p: kr.parameters(None), ArgumentError, ["Keras model", "NoneType"]),
    ("macs of nothing", lambda p: kr.macs(None), ArgumentError, ["Keras model", "NoneType"]),
    (
        "parameters of what is not built",
        lambda p: kr.parameters(keras.Sequential([keras.layers.Dense(3)], name="seq")),
        ArgumentError,
        ["must be built", "'seq'"],
    ),
    ("open size", lambda p: kr.macs(kr.build("resnet8", (None, None, 3))), ArgumentError, ["input_shape", "None"]),
    (
        "delete again",
        lambda p: kr.delete(kr.delete(p.tiny, 0), 0),
        ArgumentError,
        ["'stage1_block1'", "no residual branch", "choose"],
    ),
    (
        "unskip without skip",
        lambda p: kr.unskip(p.plain, 0),
        ArgumentError,
        ["'stage1_block1'", "no shortcut branch", "choose"],
    ),
    (
        "unskip the deleted",
        lambda p: kr.unskip(kr.delete(p.tiny, 0), 0),
        ArgumentError,
        ["'stage1_block1'", "nothing but its shortcut", "choose"],
    ),
    ("reorder too few", lambda p: kr.reorder(p.tiny, [0]), ArgumentError, ["all 2 blocks", "'tiny'", "got 1"]),
    (
        "reorder unlike shapes",
        lambda p: kr.reorder(p.tiny, [1, 0]),
        ArgumentError,
        ["'stage2_block1'", "does not fit", "'stage1_block1'", "equal shapes"],
    ),
    ("adopt a name", lambda p: kr.adopt("resnet50"), ArgumentError, ["Keras model", "got str"]),
    (
        "delete unknown",
        lambda p: kr.delete(p.tiny, "stage1_block9"),
        ArgumentError,
        ["'stage1_block9'", "stage1_block1"],
    ),
    ("delete far", lambda p: kr.delete(p.tiny, 2), ArgumentError, ["from 0 to 1", "'tiny'", "got 2"]),
    ("delete twice", lambda p: kr.delete(p.tiny, [1, "stage2_block1"]), ArgumentError, ["once", "'stage2_block1'"]),
    (
        "delete of a stranger",
        lambda p: kr.delete(keras.Sequential(), 0),
        ArgumentError,
        ["ResidualNetwork", "Sequential"],
    ),
    (
        "gates",
        lambda p: p.tiny.masked(p.x, [True]),
        ArgumentError,
        ["gates", "2 blocks", "(1,)"],
    ),
    (
        "loss of a branch that may be off",
        lambda p: _noisy().compile(paths=kr.paths.FixedSize(1)),
        ArgumentError,
        ["'loud'", "'block'", "activity_regularizer", "remove"],
    ),
]


@wrong_calls.table(CALLS)
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    wrong_calls.assert_refused(call, kind, parts, place)
