"""Training for segmentation in a run directory."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers.segmentation_setting import NETWORK, RECIPE, few_scenes
from sklearn import metrics as sklearn_metrics

import keras_resnets as kr
from keras_resnets.data import scenes
from keras_resnets.errors import ArgumentError
from keras_resnets.training.feeding import data_for
from keras_resnets.training.fitting import compile_for


@pytest.fixture(scope="module", autouse=True)
def small_scenes():
    with few_scenes():
        yield


@pytest.fixture(scope="module")
def run(small_scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    return kr.train(NETWORK, "scenes", RECIPE, task="segmentation", out=out, epochs=2, seed=3, verbose=0), out


def test_a_network_without_a_head_gets_the_usual_one(run):
    model, out = run
    assert (model.spec.head, model.spec.output_stride, model.spec.classes) == ("2conv", 8, 11)
    assert model.input_shape == (None, None, None, 3)  # crops and whole images
    asked = json.loads((out / "run.json").read_text())["asked"]
    assert asked["data"]["task"] == "segmentation"
    assert kr.Spec.from_dict(asked["spec"]) == model.spec


def test_what_a_run_reports_is_measured_at_every_pixel_of_whole_images(run):
    model, out = run
    results = json.loads((out / "run.json").read_text())["results"]
    truth, answers = [], []
    for images, labels in data_for(RECIPE, "scenes", "segmentation").test:
        large = np.asarray(kr.segmentation.losses.enlarged(model.predict_on_batch(images), labels))
        truth.append(np.asarray(labels).ravel())
        answers.append(large.argmax(-1).ravel())
    truth, answers = np.concatenate(truth), np.concatenate(answers)
    assert results["test_accuracy"] == pytest.approx((truth == answers).mean(), abs=1e-5)
    seen = sorted({*truth, *answers})
    iou = sklearn_metrics.jaccard_score(truth, answers, labels=seen, average="macro")
    assert results["test_mean_iou"] == pytest.approx(iou, abs=1e-5)


def test_a_stopped_training_goes_on_to_the_same_weights(run, tmp_path):
    model, _ = run
    how = {"task": "segmentation", "out": tmp_path / "parts", "epochs": 2, "seed": 3, "verbose": 0}
    kr.train(NETWORK, "scenes", RECIPE, until=1, **how)
    again = kr.train(NETWORK, "scenes", RECIPE, **how)
    for ours, theirs in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


def test_a_trained_network_carries_what_its_images_were_normalised_with(run):
    model, _ = run
    raw, _ = scenes._render("test", 6, 64)
    images, _ = next(iter(data_for(RECIPE, "scenes", "segmentation").test))
    np.testing.assert_allclose(model.preprocessing(raw), images, rtol=1e-5, atol=1e-5)
    pixels = np.random.default_rng(0).integers(0, 17, (1, 8, 8, 1))
    for normalize in ("channel", "pixel", "unit", None):
        digits = kr.data.load("digits", normalize=normalize)
        np.testing.assert_array_equal(digits.preprocessing(pixels), digits._normalize(pixels), normalize)


def test_pictures_of_answers_are_in_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, out = run
    events = EventAccumulator(str(out / "logs" / "images"), size_guidance={"tensors": 0, "images": 0}).Reload()
    tags = events.Tags()["images"]
    assert tags == [f"image, labels, answers/{number}" for number in range(4)]
    for shown in map(events.Images, tags):
        assert [event.step for event in shown] == [1, 2]
        # A row of three, each 220 pixels wide, with 50 for titles and legend.
        assert [(event.width, event.height) for event in shown] == [(660, 270)] * 2


def test_images_are_filled_up_to_the_stride_by_pixels_without_a_label(small_scenes):
    images, labels = next(iter(data_for(RECIPE, "scenes", "segmentation", image_size=60).test))
    assert images.shape[1:3] == (64, 64)
    beyond = np.ones((64, 64), bool)
    beyond[:60, :60] = False
    assert (np.asarray(labels)[:, beyond] == 255).all()
    assert (np.asarray(labels)[:, ~beyond] != 255).all()


def test_loss_of_a_recipe(run):
    model, _ = run
    data = data_for(RECIPE, "scenes", "segmentation")
    images, labels = next(iter(data.test))
    probabilities = model.predict_on_batch(images)
    for changes in ({}, {"loss_at": "output"}, {"hardest": 0.3}):
        recipe = RECIPE.replace(**changes)
        compile_for(model, recipe, 3)
        loss = kr.segmentation.PixelLoss(recipe.hardest, at=recipe.loss_at)
        found = model.evaluate(images, labels, verbose=0, return_dict=True)["loss"]
        assert found == pytest.approx(float(loss(labels, probabilities)), rel=1e-4)


def test_a_network_for_segmentation_is_not_trained_on_labels_of_images(tmp_path):
    with pytest.raises(ArgumentError, match="network must end in a classifier, head='classifier', for the data set"):
        kr.train(kr.segmentation.dense("resnet20"), "digits", out=tmp_path / "run", epochs=1)


def test_a_compiled_network_opens_where_nothing_else_was_imported(tmp_path):
    model = kr.segmentation.fcn(NETWORK, 3)
    compile_for(model, kr.recipes.get("wu"), 3)
    model.save(tmp_path / "net.keras")
    script = (
        "import sys, keras_resnets as kr; model = kr.load_model(sys.argv[1]); "
        "print(model.loss.name, type(model.optimizer._learning_rate).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "net.keras"], capture_output=True, text=True)
    assert done.stdout.strip() == "pixel_loss Held", done.stderr[-2000:]
