"""Wrong calls of path policies: each gets one sentence."""

from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

CALLS = [
    (
        "too many blocks on",
        lambda p: p.tiny.compile(paths=kr.paths.FixedSize(3)),
        ArgumentError,
        ["at most 2", "got 3"],
    ),
    ("blocks on", lambda p: kr.paths.FixedSize(-1), ArgumentError, ["FixedSize.blocks", "at least 0", "-1"]),
    ("survival of blocks", lambda p: kr.paths.StochasticDepth(1.2), ArgumentError, ["final_survival", "0 to 1", "1.2"]),
    ("decay of survival", lambda p: kr.paths.StochasticDepth(0.5, "cosine"), ArgumentError, ["decay", "'cosine'"]),
    ("a chance", lambda p: kr.paths.Bernoulli((0.5, -0.1)), ArgumentError, ["of each block", "0 to 1", "-0.1"]),
    ("chances", lambda p: kr.paths.Bernoulli((0.5,)).draw(0, 2), ArgumentError, ["each of the 2", "got 1"]),
    ("weights of blocks", lambda p: kr.paths.Weighted(1, (1.0, 0.0)), ArgumentError, ["weights", "positive", "0.0"]),
    ("more than weighted", lambda p: kr.paths.Weighted(3, (1.0, 2.0)), ArgumentError, ["from 0 to 2", "got 3"]),
    ("rate of drops", lambda p: kr.paths.DropPath(1.0), ArgumentError, ["rate", "not including, 1", "1.0"]),
    ("drops rescaled", lambda p: kr.paths.DropPath(0.1, rescale=True), ArgumentError, ["rescale", "False", "True"]),
    ("drops of no batch", lambda p: kr.paths.DropPath(0.1).draw(0, 2), ArgumentError, ["examples", "None"]),
    ("late schedule", lambda p: kr.paths.Schedule(((5, None),)), ArgumentError, ["phases", "rising from 0", "5"]),
    (
        "schedule of examples",
        lambda p: kr.paths.Schedule(((0, kr.paths.DropPath(0.1)),)),
        ArgumentError,
        ["phases", "whole batch", "DropPath"],
    ),
    ("seed of a policy", lambda p: kr.paths.FixedSize(1, seed=-1), ArgumentError, ["seed", "from 0", "-1"]),
    ("policy's name", lambda p: kr.paths.get("fixd:3"), ArgumentError, ["'fixd'", "nearest", "fixed"]),
    ("policy's number", lambda p: kr.paths.get("fixed:many"), ArgumentError, ["fixed:23", "'fixed:many'"]),
    ("no policy", lambda p: p.tiny.compile(paths=3), ArgumentError, ["paths", "keras_resnets.paths", "got 3"]),
]


@wrong_calls.table(CALLS)
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    wrong_calls.assert_refused(call, kind, parts, place)
