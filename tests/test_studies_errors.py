"""Wrong calls of studies and callbacks: each gets one sentence."""

from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

CALLS = [
    (
        "too many deletions",
        lambda p: kr.studies.delete(p.tiny, (p.x, p.y), most=3),
        ArgumentError,
        ["most", "from 1 to 2", "got 3"],
    ),
    ("no draws", lambda p: kr.studies.reorder(p.tiny, (p.x, p.y), draws=0), ArgumentError, ["draws", "got 0"]),
    ("half a draw", lambda p: kr.studies.delete(p.tiny, (p.x, p.y), draws=1.5), ArgumentError, ["draws", "got 1.5"]),
    ("seed below 0", lambda p: kr.studies.delete(p.tiny, (p.x, p.y), seed=-1), ArgumentError, ["seed", "got -1"]),
    ("nothing to exchange", lambda p: kr.studies.reorder(p.tiny, (p.x, p.y)), ArgumentError, ["no two", "'tiny'"]),
    ("no skip to remove", lambda p: kr.studies.unskip(p.plain, (p.x, p.y)), ArgumentError, ["'tiny'", "skips"]),
    (
        "no convolution",
        lambda p: kr.studies.responses(p.dense, (p.x, p.y)),
        ArgumentError,
        ["'dense'", "no conv", "use"],
    ),
    ("labels beyond", lambda p: kr.studies.lesion(p.tiny, (p.x, p.y + 99)), ArgumentError, ["labels", "from 0 to"]),
    ("sweeps never", lambda p: kr.callbacks.Lesion((p.x, p.y), p.new, every=0), ArgumentError, ["every", "got 0"]),
    ("lesion on a name", lambda p: kr.studies.lesion(p.tiny, "digits"), ArgumentError, ["data", "(x, y)", "got str"]),
    (
        "lesion on a list",
        lambda p: kr.studies.lesion(p.tiny, [p.x, p.y]),
        ArgumentError,
        ["data", "(x, y)", "got list"],
    ),
    ("lesion on halves", lambda p: kr.studies.lesion(p.tiny, (p.x, p.y[:3])), ArgumentError, ["4 inputs and 3 labels"]),
    (
        "lesion on nothing",
        lambda p: kr.studies.lesion(p.tiny, (p.x[:0], p.y[:0])),
        ArgumentError,
        ["at least one", "none"],
    ),
    ("examples of paths", lambda p: kr.studies.paths(p.tiny, (p.x, p.y), examples=0), ArgumentError, ["examples", "0"]),
    ("draws of paths", lambda p: kr.studies.paths(p.tiny, (p.x, p.y), draws=0), ArgumentError, ["draws", "got 0"]),
    (
        "study of a trained network",
        lambda p: kr.studies.effective(p.tiny, out=p.new, blocks=1),
        ArgumentError,
        ["network", "variant's name or a Spec", "ResidualNetwork"],
    ),
    (
        "neither blocks nor length",
        lambda p: kr.studies.effective("resnet8", out=p.new),
        ArgumentError,
        ["blocks", "length", "None"],
    ),
    (
        "blocks and length",
        lambda p: kr.studies.effective("resnet8", out=p.new, blocks=2, length=1.0),
        ArgumentError,
        ["not both", "blocks=2", "length=1.0"],
    ),
    (
        "blocks of a batch",
        lambda p: kr.studies.effective("resnet8", out=p.new, blocks=4),
        ArgumentError,
        ["blocks", "from 1 to 3", "got 4"],
    ),
    (
        "length of paths",
        lambda p: kr.studies.effective("resnet8", out=p.new, length=1.8),
        ArgumentError,
        ["length", "from 0.5 to 1.5", "'resnet8'", "got 1.8"],
    ),
    (
        "one seed",
        lambda p: kr.studies.effective("resnet8", out=p.new, blocks=2, seeds=1),
        ArgumentError,
        ["seeds", "from 2 to 16", "got 1"],
    ),
    (
        "survival",
        lambda p: kr.studies.survival("resnet8", out=p.new, survivals=[0.5, 1.5]),
        ArgumentError,
        ["final_survival", "from 0 to 1", "1.5"],
    ),
    (
        "decay",
        lambda p: kr.studies.survival("resnet8", out=p.new, decays=("cosine",)),
        ArgumentError,
        ["decay", "'linear'", "'cosine'"],
    ),
    (
        "no decay",
        lambda p: kr.studies.survival("resnet8", out=p.new, decays=()),
        ArgumentError,
        ["decays", "at least one", "none"],
    ),
    (
        "survival to lesion",
        lambda p: kr.studies.survival("resnet8", out=p.new, survivals=[0.5, 0.8], lesion=0.6),
        ArgumentError,
        ["lesion", "0.5, 0.8", "0.6"],
    ),
]


@wrong_calls.table(CALLS)
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    wrong_calls.assert_refused(call, kind, parts, place)
