"""What is refused of segmentation: losses, networks, measures, prediction, and the recipes for it."""

import keras
import numpy as np
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.segmentation import metrics as pixel_metrics
from keras_resnets.segmentation import prediction


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kr.segmentation.PixelLoss(1.5), "hardest must be a probability between 0 and 1"),
        (lambda: kr.segmentation.PixelLoss(at="middle"), "at must be one of"),
        (lambda: kr.segmentation.fcn("resnet18", 5, "3conv"), "head must be one of"),
        (lambda: kr.segmentation.fcn(keras.applications.MobileNetV2(alpha=0.35, weights=None), 5), "must end in a map"),
        (lambda: kr.segmentation.score(np.zeros((3, 3))), "confusion must have pixels"),
        (lambda: pixel_metrics.confusion_matrix(np.array([9]), np.array([0]), 3), "labels must be from 0 to 2, or 255"),
        (lambda: prediction.probabilities(None, np.zeros((3, 3))), "images must be"),
        (lambda: prediction.probabilities(None, np.zeros((1, 3, 3, 3)), scales=()), "scales must be one or more"),
        (lambda: prediction.probabilities(None, np.zeros((1, 3, 3, 3)), overlap=1), "overlap must be a share"),
        (lambda: kr.optimizers.SGD(0.1, bias_rate=0), "bias_rate must be a positive number"),
        (lambda: kr.recipes.Recipe("r", epochs=3, schedule="held"), "boundaries must be one with schedule='held'"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
