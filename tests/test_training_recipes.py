"""Recipes: learning rates, lengths and images of the papers, and that they come back from JSON."""

import json

import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.training import recipes
from keras_resnets.training.schedules import Held

# Steps of CIFAR-10: 391 batches of 128, 390 without the remainder; ImageNet: 5005 of 256; digits: 40 of 32.
RATES = [
    ("he15", 391, {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001, 63_999: 0.001}),
    ("he16", 391, {0: 0.01, 399: 0.01, 400: 0.1, 31_999: 0.1, 32_000: 0.01, 48_000: 0.001}),
    ("he15_110", 391, {0: 0.01, 399: 0.01, 400: 0.1, 31_999: 0.1, 32_000: 0.01, 48_000: 0.001}),
    ("huang", 352, {0: 0.1, 250 * 352 - 1: 0.1, 250 * 352: 0.01, 375 * 352: 0.001, 500 * 352 - 1: 0.001}),
    ("wrn_svhn", 4721, {0: 0.01, 80 * 4721 - 1: 0.01, 80 * 4721: 0.001, 120 * 4721: 0.0001}),
    ("wu_imagenet", 5005, {0: 0.1, 45 * 5005: 0.05, 90 * 5005: 0.0}),
    (
        "wrn",
        390,
        {
            0: 0.1,
            60 * 390 - 1: 0.1,
            60 * 390: 0.02,
            120 * 390 - 1: 0.02,
            120 * 390: 0.004,
            160 * 390 - 1: 0.004,
            160 * 390: 0.0008,
            200 * 390 - 1: 0.0008,
        },
    ),
    ("imagenet", 5005, {0: 0.1, 30 * 5005 - 1: 0.1, 30 * 5005: 0.01, 60 * 5005: 0.001, 90 * 5005 - 1: 0.001}),
    # From 0.01 straight up to 0.1, then half a cosine down.
    ("digits", 40, {0: 0.01, 20: 0.055, 40: 0.1, 40 + 190: 0.05 * (1 + 0.5**0.5), 40 + 380: 0.05, 800: 0.0}),
    # From 0.01 straight up to 0.1, then straight down; 352 steps, a tenth held out.
    ("cifar_short", 352, {0: 0.01, 200: 0.055, 400: 0.1, 400 + 1016: 0.09, 400 + 5080: 0.05, 30 * 352: 0.0}),
]


@pytest.mark.parametrize(("name", "steps", "rates"), RATES, ids=[row[0] for row in RATES])
def test_learning_rates_of_the_papers(name, steps, rates):
    rate = kr.recipes.get(name).rate(steps)
    np.testing.assert_allclose([float(rate(step)) for step in rates], list(rates.values()), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("network", "data", "name"),
    [
        ("resnet56", "cifar10", "he15"),
        ("resnet110", "cifar10", "he15_110"),
        ("resnet1202", "cifar10", "he15_110"),
        ("plain110", "cifar10", "he15_110"),
        ("resnet164bn", "cifar10", "he15_110"),
        ("resnet18_conv3", "cifar10", "he15"),
        ("resnet101", "imagenet2012", "imagenet"),
        ("preresnet110", "cifar10", "he16"),
        ("resnet38_a1", "imagenet2012", "wu_imagenet"),
        ("wrn_16_8", "svhn_cropped", "wrn_svhn"),
        ("wrn_16_8", "cifar100", "wrn"),
        ("resnet110", "digits", "digits"),
    ],
)
def test_the_recipe_that_fits(network, data, name):
    assert recipes.default(network, data) == name


@pytest.mark.parametrize("schedule", ["linear", "poly"])
def test_a_fall_behind_a_warm_up_comes_back_from_its_configuration(schedule):
    recipe = kr.recipes.get("cifar_short").replace(schedule=schedule)
    rate = recipe.rate(352)
    again = type(rate).from_config(rate.get_config())
    power, fall = (0.9 if schedule == "poly" else 1.0), 30 * 352 - 400
    for step in (0, 133, 399, 400, 401, 5000, 30 * 352 - 1):
        expected = 0.01 + 0.09 * step / 400 if step < 400 else 0.1 * (1 - (step - 400) / fall) ** power
        np.testing.assert_allclose([float(rate(step)), float(again(step))], expected, rtol=1e-4, atol=1e-7)


def test_a_held_rate_takes_no_warm_up():
    with pytest.raises(ArgumentError, match=r"warmup_iterations must be 0 with schedule='held'.*got 5"):
        kr.recipes.get("wu").replace(warmup_iterations=5)


# Length in epochs, batch, decay, nesterov, form; pad, mode of padding, flip; normalisation; He et al. 2015 section 4.2,
# He et al. 2016 appendix, Zagoruyko & Komodakis 2016 section 3, fb.resnet.torch.
FACTS = [
    ("he15", 391, (164, 128, 1e-4, False, "keras"), (4, "zeros", True, False), "pixel", False),
    ("he16", 391, (164, 128, 1e-4, False, "keras"), (4, "zeros", True, False), "pixel", False),
    ("wrn", 390, (200, 128, 5e-4, True, "torch"), (4, "reflect", True, False), "channel", True),
    ("imagenet", 5005, (90, 256, 1e-4, True, "torch"), (0, "zeros", True, True), "channel", False),
]


@pytest.mark.parametrize(
    ("name", "steps", "training", "images", "normalize", "drop"), FACTS, ids=[row[0] for row in FACTS]
)
def test_recipes_of_the_papers(name, steps, training, images, normalize, drop):
    recipe = kr.recipes.get(name)
    assert recipe.momentum == 0.9
    assert (
        recipe.total_epochs(steps),
        recipe.batch_size,
        recipe.weight_decay,
        recipe.nesterov,
        recipe.momentum_form,
    ) == training
    augmentation = recipe.augmentation
    assert (augmentation.pad, augmentation.pad_mode, augmentation.flip, augmentation.resized_crop) == images
    assert (recipe.normalize, recipe.drop_remainder, recipe.decay) == (normalize, drop, "all")


@pytest.mark.parametrize(
    ("name", "epochs", "steps", "drops", "end"),
    [
        ("wrn", 10, 390, {3 * 390: 0.02, 6 * 390: 0.004, 8 * 390: 0.0008}, 10),
        ("he15", 82, 400, {16_400: 0.01, 24_600: 0.001}, 82),
        ("digits", 5, 40, {10 + 95: 0.05, 200: 0.0}, 5),
    ],
)
def test_stretched_recipes_drop_at_the_same_fractions(name, epochs, steps, drops, end):
    recipe = kr.recipes.get(name).lasting(epochs, steps)
    assert recipe.total_epochs(steps) == end
    rate = recipe.rate(steps)
    for step, expected in drops.items():
        assert float(rate(step)) == pytest.approx(expected, rel=1e-5, abs=1e-8)
        if name != "digits":
            assert float(rate(step - 1)) == pytest.approx(expected / recipe.factor, rel=1e-5)


def test_recipes_come_back_from_json():
    for recipe in recipes.RECIPES.values():
        assert recipes.Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    with pytest.raises(ArgumentError, match="no field 'rate'"):
        recipes.Recipe.from_dict({"name": "x", "epochs": 1, "rate": 1})


def test_schedules_of_segmentation():
    # papers.md 5.5: 0.0016 for 140 epochs, then 0.0008, in a straight line to 0, for 64.
    rate = kr.recipes.get("wu").rate(10)
    found = [float(rate(step)) for step in (0, 1399, 1400, 1720, 2039, 2040)]
    np.testing.assert_allclose(found, [0.0016, 0.0016, 0.0008, 0.0004, 0.0008 / 640, 0], atol=1e-9)
    assert Held.from_config(rate.get_config()).get_config() == rate.get_config()
    poly = kr.recipes.Recipe("poly", epochs=10, schedule="poly", learning_rate=0.2).rate(10)
    assert float(poly(50)) == pytest.approx(0.2 * 0.5**0.9)
