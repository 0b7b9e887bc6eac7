"""The study that compares networks for segmentation at equal compute."""

import importlib
import json

import numpy as np
import pytest
from helpers.segmentation_setting import NETWORK, RECIPE, few_scenes
from sklearn import metrics as sklearn_metrics

import keras_resnets as kr
from keras_resnets.architecture import budget, counting
from keras_resnets.data import scenes
from keras_resnets.errors import ArgumentError


@pytest.fixture(scope="module", autouse=True)
def small_scenes():
    with few_scenes():
        yield


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


def test_study_pairs_seeds_and_knows_the_most_frequent_class(small_scenes, tmp_path, monkeypatch):
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
