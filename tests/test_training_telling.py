"""What a training says before its first epoch, and when it says how long the others take."""

import pytest

import keras_resnets as kr
from keras_resnets.training import telling


def lines(recipe, data, network="resnet8", **fields):
    data = data.batched(batch_size=recipe.batch_size, augmentation=recipe.augmentation)
    return list(telling.describe(kr.build(network, data.input_shape, classes=data.classes), data, recipe))


def test_what_is_trained_on_what_and_how_long():
    recipe = kr.recipes.get("digits").replace(
        label_smoothing=0.1, class_weight="balanced", patience=5, freeze=1, epochs=3
    )
    assert lines(recipe, kr.data.load("digits")) == [
        "network   resnet8: 75,002 parameters, images of 8x8x1, 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)",
        "data      digits: 1,260 images to train on, 140 to choose by, 397 to test on",
        "recipe    digits: sgd at rate 0.1 (cosine), batch 32, weight decay 0.0001, normalised by channel, "
        "augmented by pad 1, label smoothing 0.1, class weights balanced, ends after 5 epochs without a better "
        "validation, with the best network, the classifier alone for the first 1 epoch",
        "length    3 epochs of 40 steps, 120 in all",
    ]


def test_a_length_for_many_images_on_few_is_noted(few):
    said = lines(kr.recipes.get("he15"), few.first(9))
    assert said[3] == "length    12,800 epochs of 5 steps, 64,000 in all"
    assert "'small'" in said[4]
    recipe = kr.recipes.get("digits").replace(batch_size=600)
    assert "560 images are less than a batch of 600" in lines(recipe, few)[-1]


def told_by(estimate, epochs):
    """Runs epochs of (seconds before the steps, seconds of each step, seconds after them) on a clock of their own."""
    now = [0.0]
    estimate._clock = lambda: now[0]
    for number, (_, steps, after) in enumerate(epochs):
        estimate.on_epoch_begin(number)
        for i, step in enumerate(steps):
            now[0] += step
            estimate.on_train_batch_end(i)
        now[0] += after
        estimate.on_epoch_end(number)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        # The first step and the first validation are traced: 3 steps of 30 s, and a validation of a third of a tenth.
        ([(0, [90, 30, 30], 50)] * 2, ["time      93 seconds an epoch; about 14 minutes for the 9 epochs left"]),
        # Short ones: the second epoch, whole.
        (
            [(0, [9, 1, 1], 9), (0, [1, 1, 1], 2), (0, [1, 1, 1], 2)],
            ["time      5 seconds an epoch; about 40 seconds for the 8 epochs left"],
        ),
        ([(0, [9], 1)], []),
    ],
    ids=["long", "short", "one"],
)
def test_the_estimate_leaves_out_what_is_traced(epochs, expected):
    said = []
    told_by(telling.Estimate(10, said.append, validation=0.1), epochs)
    assert said == [line.replace("93 seconds", "2 minutes") for line in expected]


def test_the_estimate_is_made_again_when_the_network_has_thawed():
    said = []
    told_by(
        telling.Estimate(6, said.append, freeze=2), [(0, [3], 1), (0, [1], 1), (0, [9], 1), (0, [4], 1), (0, [4], 1)]
    )
    longer = ", and longer once the whole network is trained"
    assert said == [
        f"time      2 seconds an epoch; about 8 seconds for the 4 epochs left{longer}",
        "time      5 seconds an epoch; about 10 seconds for the 2 epochs left",
    ]


def test_who_is_told():
    said = []
    telling.teller(said.append, 0)("one")
    assert said == ["one"]
    assert telling.teller(None, 0)("nothing") is None
    assert telling.teller(None, "auto") is telling.say
