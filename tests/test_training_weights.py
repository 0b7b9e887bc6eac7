"""A training that starts from existing weights: whose head it has, what is frozen, and how it resumes."""

import json

import keras
import numpy as np
import pytest
from helpers.notices import told

import keras_resnets as kr
from keras_resnets.data.batching import of_pixels
from keras_resnets.errors import ArgumentError
from keras_resnets.training import freezing, starting, training
from keras_resnets.training.feeding import data_of, normalized_for

SMALL = kr.Spec("small", (kr.Stage(1, (4, 4)),), (8, 8, 1), 10, stem_width=4)
NORM = kr.Preprocessing((3.0,), (5.0,))
RECIPE = kr.recipes.get("tuning").replace(batch_size=64, freeze=1, augmentation=kr.data.Augmentation())


def saved(place, scramble, classes=10, names=None, seed=0, spec=SMALL):
    """A file of a network with weights as of a trained one."""
    model = scramble(kr.build(spec, classes=classes), seed)
    model.preprocessing, model.class_names = NORM, names
    model.save(place)
    return model


def features(model):
    return {v.path: np.asarray(v) for v in model.weights if not v.path.startswith("head/")}


@pytest.fixture
def frozen(tmp_path, few, scramble):
    """A training of two epochs from a file, stopped after the first, in which the features are frozen."""
    original = saved(tmp_path / "net.keras", scramble)
    how = {"weights": tmp_path / "net.keras", "epochs": 2, "verbose": 0, "new_head": True}
    kr.train(SMALL, few, RECIPE, out=tmp_path / "run", until=1, **how)
    return original, how


def test_frozen_features_stay_and_their_weights_are_checked(frozen, tmp_path, few, scramble, monkeypatch):
    original, how = frozen
    after = kr.load_model(tmp_path / "run" / "best.keras")
    assert all(layer.trainable for layer in after.chain)
    for path, value in features(original).items():
        np.testing.assert_array_equal(features(after)[path], value, err_msg=path)
    heads = [np.asarray(model.get_layer("logits").kernel) for model in (original, after)]
    assert np.abs(heads[0] - heads[1]).max() > 1e-4
    asked = json.loads((tmp_path / "run" / "run.json").read_text())["asked"]
    assert asked["weights"]["head"] == "new"
    assert asked["data"]["normalize"] == {"mean": [3.0], "std": [5.0], "channels": "rgb"}
    # The run's data, loaded by its record, are normalised as in the training.
    images, _ = next(iter(data_of(tmp_path / "run").test))
    raw, _ = next(iter(few.raw.test))
    np.testing.assert_allclose(images[:64], (np.asarray(raw) - 3) / 5, rtol=1e-6)

    # Another file of that name is refused; without one, the run goes on.
    saved(tmp_path / "net.keras", scramble, seed=1)
    with pytest.raises(ArgumentError, match=r"started with weights\.fingerprint = '\w+', now"):
        kr.train(SMALL, few, RECIPE, out=tmp_path / "run", **how)
    (tmp_path / "net.keras").unlink()
    went_on = []
    monkeypatch.setattr(training, "fit", lambda model, *_, **__: went_on.append(model))
    with told("cannot be opened", "goes on from its checkpoint"):
        kr.train(SMALL, few, RECIPE, out=tmp_path / "run", **how)
    assert of_pixels(went_on[0].preprocessing) == NORM


@pytest.mark.thorough
def test_a_run_goes_on_from_frozen_epochs_to_the_bit(frozen, tmp_path, few):
    original, how = frozen
    whole = kr.train(SMALL, few, RECIPE, out=tmp_path / "whole", **how)
    resumed = kr.train(SMALL, few, RECIPE, out=tmp_path / "run", **how)
    for one, other in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    moved = [path for path, value in features(original).items() if np.abs(features(whole)[path] - value).max() > 0]
    assert len(moved) == len(features(original)), "in the second epoch all weights and statistics are trained"


DIGITS = tuple(str(number) for number in range(10))
HEADS = [
    # Classes and names in the file, new_head, whose head it is, what is said.
    ((10, DIGITS, None), "kept", "of these classes"),
    ((10, None, None), "kept", "without names"),
    ((10, tuple("abcdefghij"), None), "new", "the weights' classes are others (a, b, c and 7 more)"),
    ((10, tuple("abcdefghij"), False), "kept", "with its head"),
    ((10, DIGITS, True), "new", "asked for"),
    ((5, None, None), "new", "the weights have none for 10 classes"),
]


@pytest.mark.parametrize(("given", "head", "said"), HEADS, ids=str)
def test_whose_head_it_has(given, head, said, tmp_path, few, scramble):
    classes, names, new_head = given
    original = saved(tmp_path / "net.keras", scramble, classes, names)
    begin = starting.start(SMALL, tmp_path / "net.keras", few, {}, seed=3, out=tmp_path / "run", new_head=new_head)
    assert begin.asked["head"] == head
    assert said in begin.said
    assert begin.model.output_shape == (None, 10)
    assert begin.preprocessing == NORM
    for path, value in features(original).items():
        np.testing.assert_array_equal(features(begin.model)[path], value)
    keras.utils.set_random_seed(3)
    other = original if head == "kept" else kr.build(SMALL)
    np.testing.assert_array_equal(begin.model.get_layer("logits").kernel, other.get_layer("logits").kernel)


def test_weights_of_another_network_are_refused(tmp_path, few, scramble):
    saved(tmp_path / "net.keras", scramble, spec=SMALL.replace(stem_width=8, shortcut="B"))
    with pytest.raises(ArgumentError, match="is of another network"):
        kr.train(SMALL, few, RECIPE, weights=tmp_path / "net.keras", out=tmp_path / "run", epochs=1)
    with pytest.raises(ArgumentError, match="no saved network"):
        kr.train(SMALL, few, RECIPE, weights=tmp_path / "no.keras", out=tmp_path / "run", epochs=1)
    saved(tmp_path / "net.keras", scramble, 5)
    with pytest.raises(ArgumentError, match=r"head/.* has shape"):
        kr.train(SMALL, few, RECIPE, weights=tmp_path / "net.keras", out=tmp_path / "run", epochs=1, new_head=False)
    for name, value in (("freeze", RECIPE), ("new_head", "digits")):
        with pytest.raises(ArgumentError, match=f"{name} is for a network that starts from existing weights"):
            kr.train(SMALL, few, value, out=tmp_path / "run", new_head=None if name == "freeze" else True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["resnet8", "preresnet8"])
def test_what_is_frozen(name):
    """All but the classifier: also the normalisation that pre-activation networks have behind the last block."""
    model = kr.build(name, (8, 8, 1))
    frozen = {v.path for layer in freezing.backbone(model) for v in layer.weights}
    assert {v.path for v in model.weights} - frozen == {"head/body/logits/kernel", "head/body/logits/bias"}


def test_data_that_were_loaded_with_a_normalisation_keep_it():
    recipe = kr.recipes.get("digits")
    given = kr.data.load("digits", normalize="unit")
    same, data, said = normalized_for(NORM, recipe, given)
    assert (same, data.batching.normalize) == (recipe, "unit")
    assert "by 'unit', as they were loaded, where the weights need mean 3, deviation 5" in said
    changed, data, said = normalized_for(NORM, recipe, kr.data.load("digits"))
    assert changed.normalize == data.batching.normalize == of_pixels(data.preprocessing) == NORM
    assert "mean 3, deviation 5, and not by 'channel', the recipe's" in said
    assert "they do not say" in normalized_for(None, recipe, kr.data.load("digits"))[2]
