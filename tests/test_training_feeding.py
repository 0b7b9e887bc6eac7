"""What data, how trained: a set is named once, and batched as the recipe of a training has it."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.architecture.preprocessing import Resizing
from keras_resnets.commands import cli
from keras_resnets.data.needs import as_needed
from keras_resnets.errors import ArgumentError, Notice
from keras_resnets.training.feeding import fed

RECIPE = kr.recipes.get("digits")
FAST = {"stem_width": 4, "width": 0.25}


def batches(data):
    """The images and labels of the first epoch."""
    return [(np.asarray(x), np.asarray(y)) for x, y in data.epochs(0, 1)]


def assert_alike(one, other):
    assert one.options == other.options
    assert one.input_shape == other.input_shape
    for ours, theirs in ((batches(one), batches(other)), (list(one.test), list(other.test))):
        assert len(ours) == len(theirs)
        for (x, y), (a, b) in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(x, a)
            np.testing.assert_array_equal(y, b)


def test_a_set_and_a_command_train_the_same_network_to_the_bit(tmp_path):
    """Once the set's own batches, normalisation and lack of augmentation went before the recipe's, without a word."""
    data, how = kr.data.load("digits", validation=0.6), {"epochs": 1, "seed": 3, "verbose": 0}
    ours = kr.train("preresnet8", data, "digits", out=tmp_path / "python", **how, **FAST)
    fields = [word for name, value in FAST.items() for word in ("--set", f"{name}={value}")]
    command = ["train", "preresnet8", "--data", "digits", "--validation", "0.6", "--epochs", "1", "--seed", "3"]
    assert cli.main([*command, *fields, "--out", str(tmp_path / "shell")]) == 0
    theirs = kr.load_model(tmp_path / "shell")
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    records = [json.loads((tmp_path / name / "run.json").read_text())["asked"] for name in ("python", "shell")]
    assert records[0] == records[1]
    assert records[0]["data"]["batch_size"] == RECIPE.batch_size
    assert records[0]["data"]["augmentation"]["pad"] == RECIPE.augmentation.pad == 1


@pytest.mark.parametrize(
    "batching",
    [
        {"batch_size": 100, "drop_remainder": True},
        {"normalize": "pixel"},
        {"normalize": None},
        {"augmentation": kr.data.Augmentation(pad=1, flip=True)},
        {"augmentation": kr.data.Augmentation(resized_crop=True), "batch_size": 50},
    ],
)
def test_data_batched_anew_are_those_loaded_so(batching):
    assert_alike(kr.data.load("digits").batched(**batching), kr.data.load("digits", **batching))
    # And back again: nothing of what came between is left.
    usual = {"batch_size": 128, "normalize": "channel", "augmentation": None, "drop_remainder": False}
    assert_alike(kr.data.load("digits", **batching).batched(**usual), kr.data.load("digits"))


def test_scenes_batched_anew_are_those_loaded_so():
    how = {"task": "segmentation", "image_size": 30}
    crop = {"augmentation": kr.data.Augmentation(crop=16), "batch_size": 20, "pad_to": 8}
    anew, so = kr.data.load("scenes", **how).batched(**crop), kr.data.load("scenes", **how, **crop)
    assert anew.options == so.options
    assert next(iter(anew.test))[0].shape == next(iter(so.test))[0].shape == (20, 32, 32, 3)
    np.testing.assert_array_equal(next(iter(anew.epochs(0, 1)))[0], next(iter(so.epochs(0, 1)))[0])


def test_what_was_given_to_load_goes_before_the_recipe():
    data = fed(kr.data.load("digits", batch_size=7, seed=4), RECIPE, seed=1)
    assert (data.options["batch_size"], data.options["seed"]) == (7, 4)
    assert data.batching.augmentation == RECIPE.augmentation
    plain = fed(kr.data.load("digits", augmentation=None), RECIPE, seed=1)
    assert (plain.batching.augmentation, plain.options["seed"]) == (kr.data.Augmentation(), 1)
    assert plain.options["batch_size"] == RECIPE.batch_size


def test_a_limited_or_prepared_set_stays_so():
    data = fed(kr.data.load("digits").first(5), RECIPE, seed=1)
    assert sum(len(x) for x, _ in data.test) == 5
    doubled = fed(kr.data.load("digits").prepared(lambda x: 2 * x), kr.recipes.get("he15"), seed=1)
    np.testing.assert_array_equal(next(iter(doubled.test))[0], 2 * next(iter(kr.data.load("digits").raw.test))[0])


def test_another_normalisation_than_the_recipe_has_must_be_said(tmp_path):
    he15 = kr.recipes.get("he15")
    with pytest.raises(ArgumentError, match=r"normalised by 'channel', and the recipe 'he15' has 'pixel'.*normalize="):
        kr.train("resnet8", kr.data.load("digits"), he15, out=tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()
    assert fed(kr.data.load("digits", normalize="pixel"), he15, 0).options["normalize"] == "pixel"
    assert fed(kr.data.load("digits", normalize="channel"), he15, 0).options["normalize"] == "channel"
    assert fed("digits", he15, 0).options["normalize"] == "pixel"


def test_a_run_goes_on_in_its_batches_alone(tmp_path):
    how = {"out": tmp_path, "epochs": 2, "verbose": 0, **FAST}
    kr.train("resnet8", kr.data.load("digits", validation=0.6, batch_size=200), "digits", until=1, **how)
    with pytest.raises(ArgumentError, match=r"data.batch_size = 200, now 32 is asked"):
        kr.train("resnet8", kr.data.load("digits", validation=0.6), "digits", **how)
    with pytest.raises(ArgumentError, match=r"data.validation = 0.6, now 0.5 is asked"):
        kr.train("resnet8", kr.data.load("digits", validation=0.5, batch_size=200), "digits", **how)


def test_a_run_goes_on_in_its_precision_alone(tmp_path):
    data, how = kr.data.load("digits", validation=0.6, batch_size=200), {"out": tmp_path, "epochs": 2, "verbose": 0}
    kr.train("resnet8", data, "digits", until=1, **how, **FAST)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(ArgumentError, match=r"precision must be 'float32', in which .* got 'mixed_float16'"):
            kr.train("resnet8", data, "digits", **how, **FAST)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "call",
    [
        lambda out, **extra: kr.train("resnet8", "digits", out=out, **extra),
        lambda out, **extra: kr.segmentation.fcn("resnet8", 3, **extra),
        lambda out, **extra: kr.studies.dynamics("resnet8", "digits", out=out, **extra),
    ],
)
@pytest.mark.parametrize("extra", [{"input_tensor": None}, {"include_top": False}, {"pooling": "avg"}])
def test_fields_of_the_spec_alone_are_replaced(call, extra, tmp_path):
    """Arguments of `build` passed through once, and a run directory did not compare them."""
    with pytest.raises(ArgumentError, match=f"no field {next(iter(extra))!r}"):
        call(tmp_path / "run", **extra)
    assert not (tmp_path / "run").exists()


def test_what_a_recipe_has_set_another_recipe_may_change():
    """A search over batch sizes on data given by name trained every point in batches of one size."""
    space = kr.search.DepthWidth("resnet8", "digits", RECIPE, parameters=20_000, epochs=1, batch_size=[16, 64])
    assert [space.data_for(RECIPE.replace(batch_size=n)).options["batch_size"] for n in (16, 64)] == [16, 64]


def test_unknown_batching_is_refused_with_the_nearest():
    with pytest.raises(ArgumentError, match=r"no field 'batchsize'; did you mean one of: batch_size"):
        kr.data.load("digits", batchsize=3)


def test_a_record_has_nothing_fetched(tmp_path, monkeypatch):
    from keras_resnets import data as datasets
    from keras_resnets.runs import write_json
    from keras_resnets.training.feeding import data_of

    few = kr.data.load("digits")
    write_json(tmp_path / "run.json", {"asked": {"data": {"name": "cifar10", **few.options, "download": True}}})
    asked = {}
    monkeypatch.setattr(datasets, "load", lambda **options: asked.update(options))
    data_of(tmp_path)
    assert asked["name"] == "cifar10"
    assert not asked.get("download")
    data_of(tmp_path, download=True)
    assert asked["download"]


def test_other_data_are_prepared_as_the_network_knows_and_another_resizing_is_told(recwarn):
    raw, model = kr.data.load("digits", normalize=None), kr.build("resnet8", (8, 8, 1))
    assert as_needed(raw, model) == dataclasses.replace(raw, given=raw.given - {"normalize"})  # it is not known how
    model.preprocessing = kr.Preprocessing((3.0,), (2.0,), resizing=Resizing(0.9))
    images, prepared = (np.asarray(next(iter(data.test))[0]) for data in (raw, as_needed(raw, model)))
    np.testing.assert_allclose(prepared, (images - 3) / 2, rtol=1e-6)
    same = kr.data.load("digits")
    assert not recwarn.list
    model.preprocessing = dataclasses.replace(same.preprocessing, resizing=Resizing(0.9))
    assert as_needed(same, model) is same
    assert not recwarn.list, "digits have their size"
    with pytest.warns(Notice, match=r"resized by Resizing\(crop=0.875, .* made for Resizing\(crop=0.9, "):
        as_needed(kr.data.load("digits", image_size=8), model)
