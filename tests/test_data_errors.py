"""Wrong calls of data sets, folders of images and augmentation: each gets one sentence."""

import time

import pytest
from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.errors import ArgumentError

CALLS = [
    ("data unknown", lambda p: kr.data.load("cifar11"), ArgumentError, ["'cifar11'", "give 'digits'"]),
    (
        "data absent",
        lambda p: kr.data.load("cifar10", data_dir=p.root / "tfds"),
        FileNotFoundError,
        ["'cifar10'", "/tfds", "data_dir", "--download"],
    ),
    ("data nothing", lambda p: kr.data.load(None), ArgumentError, ["data", "name", "got None"]),
    ("folder absent", lambda p: kr.data.load(p.root / "no"), FileNotFoundError, ["no folder", "/no'", "give a folder"]),
    ("folder bare", lambda p: kr.data.load(p.bare, image_size=8), FileNotFoundError, ["bare", "per class", ".png"]),
    ("folder without size", lambda p: kr.data.load(p.images), ArgumentError, ["image_size", "needed", "None"]),
    ("image damaged", lambda p: kr.data.load(p.images, image_size=8), ArgumentError, ["/dog/bad.png'", "remove it"]),
    (
        "image damaged in a stream",
        lambda p: kr.data.load(p.images, image_size=8, augmentation=kr.data.Augmentation(resized_crop=True)),
        ArgumentError,
        ["/dog/bad.png'", "remove it"],
    ),
    ("batch", lambda p: kr.data.load("digits", batch_size=0), ArgumentError, ["batch_size", "from 1", "got 0"]),
    ("image size", lambda p: kr.data.load("digits", image_size=0), ArgumentError, ["image_size", "from 1", "got 0"]),
    (
        "validation",
        lambda p: kr.data.load("digits", validation=1),
        ArgumentError,
        ["validation", "including, 1", "got 1"],
    ),
    (
        "validation text",
        lambda p: kr.data.load("digits", validation="x"),
        ArgumentError,
        ["validation", "share", "or 'test'", "'x'"],
    ),
    ("all held out", lambda p: kr.data.load("digits", validation=0.9999), ArgumentError, ["0.9999", "1400", "smaller"]),
    ("normalize", lambda p: kr.data.load("digits", normalize="std"), ArgumentError, ["normalize", "'unit'", "'std'"]),
    (
        "batch larger than all",
        lambda p: kr.data.load("digits", batch_size=1300, drop_remainder=True),
        ArgumentError,
        ["batch_size", "1260", "got 1300"],
    ),
    ("augmentation", lambda p: kr.data.load("digits", augmentation="flip"), ArgumentError, ["augmentation", "'flip'"]),
    ("pad", lambda p: kr.data.Augmentation(pad=-1), ArgumentError, ["pad", "at least 0", "-1"]),
    ("pad mode", lambda p: kr.data.Augmentation(pad_mode="wrap"), ArgumentError, ["pad_mode", "'reflect'", "'wrap'"]),
    (
        "reflection beyond the image",
        lambda p: kr.data.load("digits", augmentation=kr.data.Augmentation(pad=8, pad_mode="reflect")),
        ArgumentError,
        ["pad", "less than", "8", "got 8"],
    ),
    (
        "colour without crop",
        lambda p: kr.data.Augmentation(color=0.4),
        ArgumentError,
        ["color", "0.4", "resized_crop=True"],
    ),
]


@wrong_calls.table(CALLS)
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    wrong_calls.assert_refused(call, kind, parts, place)


def test_absent_data_is_told_at_once(tmp_path):
    kr.data.load("digits")  # what is measured is the answer, not the imports
    with pytest.raises(ArgumentError):
        kr.data.load("no_such_set")
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError):
        kr.data.load("cifar10", data_dir=tmp_path)
    assert time.perf_counter() - start < 1
