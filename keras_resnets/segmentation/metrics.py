"""Mean intersection over union and pixel accuracy, as Keras metrics and from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_resnets.data.labels import IGNORE
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.explaining import explained
from keras_resnets.segmentation.losses import enlarged


class _PixelMetric:
    """Compares at the resolution of the labels, with bilinear interpolation of the scores."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        labels = ops.squeeze(y_true, -1) if len(y_true.shape) == 4 else y_true
        return super().update_state(labels, enlarged(y_pred, labels), sample_weight)  # type: ignore[misc]


@keras.saving.register_keras_serializable("keras_resnets")
class MeanIoU(_PixelMetric, keras.metrics.MeanIoU):
    """Mean intersection over union of the classes, over all pixels seen that have a class.

    The mean leaves out classes that occur neither in the labels nor in the predictions.

    Args:
        num_classes: number of classes.
        ignore_class: the label of pixels without a class.
        name: name of the metric.
        **kwargs: as for `keras.metrics.MeanIoU`.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> metric = kr.segmentation.MeanIoU(2)
        >>> metric.update_state(np.array([[[0, 1, 1, 255]]]), np.eye(2, dtype="float32")[[[[0, 1, 0, 0]]]])
        >>> float(metric.result())
        0.5
    """

    def __init__(self, num_classes, ignore_class=IGNORE, name="mean_iou", **kwargs):
        whole_number("num_classes", num_classes, 1)
        options = {"sparse_y_pred": False, **kwargs}
        super().__init__(num_classes, name=name, ignore_class=ignore_class, **options)

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred, sample_weight)

    def get_config(self):
        return {**super().get_config(), "sparse_y_pred": self.sparse_y_pred}


@keras.saving.register_keras_serializable("keras_resnets")
class PixelAccuracy(_PixelMetric, keras.metrics.SparseCategoricalAccuracy):
    """Share of the pixels with a class that are classified correctly.

    Args:
        ignore_class: the label of pixels without a class.
        name: name of the metric.
        **kwargs: as for `keras.metrics.SparseCategoricalAccuracy`.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> metric = kr.segmentation.PixelAccuracy()
        >>> metric.update_state(np.array([[[0, 1, 1, 255]]]), np.eye(2, dtype="float32")[[[[0, 1, 0, 0]]]])
        >>> round(float(metric.result()), 4)
        0.6667
    """

    def __init__(self, ignore_class=IGNORE, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.ignore_class = ignore_class

    def update_state(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ArgumentError("sample_weight must be None for PixelAccuracy; leave out pixels by ignore_class.")
        labels = ops.squeeze(y_true, -1) if len(y_true.shape) == 4 else y_true
        counts = ops.cast(ops.not_equal(labels, self.ignore_class), "float32")
        super().update_state(ops.where(labels == self.ignore_class, 0, labels), y_pred, counts)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype, "ignore_class": self.ignore_class}


@dataclass(frozen=True)
class Scores:
    """Scores computed from a confusion matrix.

    Attributes:
        mean_iou: mean intersection over union, without classes that occur neither in labels nor in predictions.
        accuracy: share of the pixels that are classified correctly.
        iou: intersection over union of each class; NaN for classes left out.
        confusion: numbers of pixels by class (rows) and prediction (columns).
    """

    mean_iou: float
    accuracy: float
    iou: np.ndarray
    confusion: np.ndarray


def confusion_matrix(labels: np.ndarray, answers: np.ndarray, classes: int, ignore: int = IGNORE) -> np.ndarray:
    """Counts pixels by class and prediction, as 64-bit integers.

    Args:
        labels: class numbers; those equal to `ignore` do not count.
        answers: predicted class numbers, of the same shape.
        classes: number of classes.
        ignore: the label of pixels without a class.

    Raises:
        ArgumentError: a label or a prediction is not the number of a class.
    """
    labels, answers = labels.reshape(-1).astype("int64"), answers.reshape(-1).astype("int64")
    valid = labels != ignore
    labels, answers = labels[valid], answers[valid]
    for argument, values in (("labels", labels), ("answers", answers)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ArgumentError(
                f"{argument} must be from 0 to {classes - 1}, or {ignore} where a pixel has no class; got "
                f"{values.min() if values.min() < 0 else values.max()}."
            )
    return np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)


@explained
def score(confusion: np.ndarray) -> Scores:
    """Computes the scores of a confusion matrix.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> scores = kr.segmentation.score(np.array([[8, 2], [0, 10]]))
        >>> round(scores.mean_iou, 4), scores.accuracy
        (0.8167, 0.9)
    """
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or confusion.dtype.kind not in "biuf":
        raise ArgumentError(
            f"confusion must be numbers of shape (classes, classes); got {confusion.shape} of {confusion.dtype}."
        )
    hits, union = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    iou = np.where(union > 0, hits / np.maximum(union, 1), np.nan)
    total = confusion.sum()
    if total == 0:
        raise ArgumentError("confusion must have pixels; got none, so no pixel had a class.")
    return Scores(float(np.nanmean(iou)), float(hits.sum() / total), iou, confusion)
