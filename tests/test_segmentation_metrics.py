"""Measures of pixels against scikit-learn."""

import keras
import numpy as np
import pytest
from helpers.pixels import some_labels, some_probabilities
from sklearn import metrics as sklearn_metrics

import keras_resnets as kr
from keras_resnets.segmentation import metrics as pixel_metrics


def test_measures_are_those_of_scikit_learn():
    batches = [(some_labels(2, 16, 24, seed=s), some_probabilities(2, 16, 24, 5)) for s in range(3)]
    for labels, _ in batches:
        labels[labels == 3] = 2  # a class that is not there, though it is answered
    iou, accuracy = kr.segmentation.MeanIoU(5), kr.segmentation.PixelAccuracy()
    counts = 0
    for labels, probabilities in batches:
        iou.update_state(labels[..., None], probabilities)
        accuracy.update_state(labels, probabilities)
        counts = counts + pixel_metrics.confusion_matrix(labels, probabilities.argmax(-1), 5)
    truth = np.concatenate([labels.ravel() for labels, _ in batches])
    answers = np.concatenate([probabilities.argmax(-1).ravel() for _, probabilities in batches])
    truth, answers = truth[truth != 255], answers[truth != 255]
    np.testing.assert_array_equal(counts, sklearn_metrics.confusion_matrix(truth, answers, labels=range(5)))
    each = sklearn_metrics.jaccard_score(truth, answers, average=None, labels=range(5))
    scores = kr.segmentation.score(counts)
    np.testing.assert_allclose(scores.iou, each)
    assert scores.mean_iou == pytest.approx(each.mean())
    assert float(iou.result()) == pytest.approx(each.mean(), rel=1e-6)
    assert scores.accuracy == pytest.approx(sklearn_metrics.accuracy_score(truth, answers))
    assert float(accuracy.result()) == pytest.approx(scores.accuracy, rel=1e-6)


def test_a_class_neither_there_nor_answered_is_left_out_of_the_mean():
    labels, answers = np.array([0, 0, 1, 255]), np.array([0, 1, 1, 2])
    scores = kr.segmentation.score(pixel_metrics.confusion_matrix(labels, answers, 4))
    assert np.isnan(scores.iou[2:]).all()
    assert scores.mean_iou == pytest.approx(0.5)
    metric = kr.segmentation.MeanIoU(4)
    metric.update_state(labels[None, None], np.eye(4, dtype="float32")[answers][None, None])
    assert float(metric.result()) == pytest.approx(0.5)


def test_any_label_can_be_the_one_that_does_not_count():
    metric, answers = kr.segmentation.MeanIoU(3, ignore_class=2), np.eye(3, dtype="float32")[np.array([[[0, 1, 0]]])]
    metric.update_state(np.array([[[0, 1, 2]]]), answers)
    assert float(metric.result()) == pytest.approx(1)


def test_measures_compare_at_the_pixels_of_the_labels():
    probabilities, labels = some_probabilities(1, 3, 4, 5), some_labels(1, 24, 32)
    large = np.asarray(keras.ops.image.resize(probabilities, (24, 32), "bilinear"))
    metric = kr.segmentation.MeanIoU(5)
    metric.update_state(labels, probabilities)
    expected = kr.segmentation.score(pixel_metrics.confusion_matrix(labels, large.argmax(-1), 5)).mean_iou
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "thing",
    [kr.segmentation.MeanIoU(3, 7), kr.segmentation.PixelAccuracy(7), kr.segmentation.PixelLoss(0.6, 9, "input", 7)],
)
def test_losses_and_metrics_come_back_from_their_configuration(thing):
    again = type(thing).from_config(thing.get_config())
    assert again.get_config() == thing.get_config()
    labels, probabilities = np.array([[[0, 7, 2]]]), some_probabilities(1, 1, 3, 3)
    assert float(np.sum(again(labels, probabilities))) == float(np.sum(thing(labels, probabilities)))
