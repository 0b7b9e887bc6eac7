"""Training for segmentation in a run directory, and the study that compares networks at equal compute."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import keras_resnets as kr
from keras_resnets.architecture import budget, counting
from keras_resnets.data import scenes
from keras_resnets.errors import ArgumentError
from keras_resnets.training.training import compile_for, data_for

STAGES = (kr.Stage(1, (8, 8), stride=4), kr.Stage(1, (8, 8), stride=2), kr.Stage(1, (8, 8), stride=2))
NETWORK = kr.Spec("small", STAGES, shortcut="B", head_dilation=1, head_width=8)
RECIPE = kr.recipes.get("scenes").replace(augmentation=kr.data.Augmentation(crop=64, scale=(0.7, 1.3)))


@pytest.fixture(scope="module", autouse=True)
def few():
    """A few small scenes, so that an epoch takes no time."""
    whole, pixels = dict(scenes.COUNTS), scenes.PIXELS
    scenes.COUNTS.update(train=20, validation=5, test=6)
    scenes.PIXELS = 64
    yield
    scenes.COUNTS.update(whole)
    scenes.PIXELS = pixels


@pytest.fixture(scope="module")
def run(few, tmp_path_factory):
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
    # Where every pixel has a mean of its own there is nothing to apply to images of another size.
    assert kr.data.load("digits", normalize="pixel").preprocessing is None
    digits = kr.data.load("digits")
    pixels = np.random.default_rng(0).integers(0, 17, (1, 8, 8, 1))
    np.testing.assert_allclose(digits.preprocessing(pixels), digits._normalize(pixels), rtol=1e-6)


def test_pictures_of_answers_are_in_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, out = run
    events = EventAccumulator(str(out / "logs" / "images"), size_guidance={"tensors": 0, "images": 0}).Reload()
    (tag,) = events.Tags()["tensors"]
    shown = events.Tensors(tag)
    assert [event.step for event in shown] == [1, 2]
    # Width and height of a row of three, the gaps between them included, and the pictures.
    assert shown[0].tensor_proto.string_val[:2] == [b"196", b"64"]
    assert len(shown[0].tensor_proto.string_val) == 2 + 4


def test_images_are_filled_up_to_the_stride_by_pixels_without_a_label(few):
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


SEGMENT = importlib.import_module("keras_resnets.studies.segment")


@pytest.mark.parametrize(
    ("shape", "stride", "dilation"), [((64, 64, 3), 4, 3), ((184, 240, 3), 8, 4), ((504, 504, 3), 8, 12)]
)
def test_networks_of_the_study_cost_alike(shape, stride, dilation):
    specs = SEGMENT._networks(shape, 11, None, False, 0.05)
    fields = {"input_shape": shape, "classes": 11, "head_dilation": dilation}
    slim = kr.segmentation.dense("resnet38_a1", output_stride=stride).replace(width=0.0625, stem_width=8, **fields)
    amount = counting.count(slim).macs
    for spec in specs.values():
        assert abs(budget.costs(spec)["macs"] - amount) <= 0.05 * amount
    assert [spec.depth for spec in specs.values()] == [39, 102, 8]
    assert [spec.head_dilation for spec in specs.values()] == [dilation, dilation, 1]
    assert [spec.total_stride for spec in specs.values()] == [stride] * 3
    # Widths are in proportion, the head's too, but for what whole channels ask for.
    narrow, head = specs["resnet38"].stages[-1].widths[0], specs["resnet38"].head_width
    assert narrow / head == pytest.approx(1024 / 512, rel=0.1)


def test_full_networks_of_the_study_are_those_of_the_papers():
    full = SEGMENT._networks((504, 504, 3), 21, None, True, 0.05)
    assert full["resnet38"] == kr.segmentation.dense("resnet38_a1").replace(input_shape=(504, 504, 3), classes=21)
    assert budget.costs(full["resnet38"])["parameters"] == 124_042_581  # papers.md 5.4
    assert budget.costs(full["plain"])["macs"] == pytest.approx(budget.costs(full["resnet38"])["macs"], rel=0.05)
    trunk = full["resnet101"].replace(head="classifier", classes=1000, output_stride=None, input_shape=(224, 224, 3))
    assert budget.costs(trunk)["parameters"] == 44_549_160  # papers.md 1.1


def test_study_pairs_seeds_and_knows_the_most_frequent_class(few, tmp_path, monkeypatch):
    def small(shape, classes, *_, **__):
        arms = {"resnet38": {}, "resnet101": {"stem_width": 8}, "plain": {"shortcut": "none"}}
        fields = {"input_shape": shape, "classes": classes}
        return {arm: kr.segmentation.dense(NETWORK).replace(**fields, **own) for arm, own in arms.items()}

    monkeypatch.setattr(SEGMENT, "_networks", small)
    study = kr.studies.segment("scenes", RECIPE, out=tmp_path, seeds=2, epochs=1)
    rows = study.rows
    assert len(rows) == 6
    for row in rows.itertuples():
        results = json.loads((tmp_path / row.run / "run.json").read_text())["results"]
        assert (row.mean_iou, row.error) == (results["test_mean_iou"], 1 - results["test_accuracy"])
    values = rows.pivot(index="seed", columns="arm", values="mean_iou")
    difference = study.summary["differences"]["plain"]["mean_iou"]
    assert difference["mean"] == pytest.approx((values["plain"] - values["resnet38"]).mean())
    assert study.summary["arms"]["resnet101"]["mean_iou_mean"] == pytest.approx(values["resnet101"].mean())
    _, labels = scenes._render("test", 6, 64)
    most = study.summary["most_frequent"]
    answers = np.zeros(labels.size, int)
    assert most["accuracy"] == pytest.approx((labels == 0).mean())
    seen = np.unique(labels)
    expected = sklearn_metrics.jaccard_score(labels.ravel(), answers, labels=seen, average="macro")
    assert most["mean_iou"] == pytest.approx(expected)
    study.save(tmp_path / "study")
    again = kr.studies.Study.load(tmp_path / "study")
    assert kr.studies.describe(again) == kr.studies.describe(study)
    assert "most frequent class everywhere" in kr.studies.describe(study)


def test_study_refuses_a_budget_beside_full_networks_and_data_without_pixels(tmp_path):
    with pytest.raises(ArgumentError, match="macs is for the slim networks"):
        kr.studies.segment(out=tmp_path, full=True, macs=10)
    with pytest.raises(ArgumentError, match="data must have a label for each pixel"):
        kr.studies.segment(kr.data.load("digits"), "digits", out=tmp_path)


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
