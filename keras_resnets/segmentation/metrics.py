"""Mean intersection over union and pixel accuracy: as Keras metrics, and of a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_resnets.data.labels import IGNORE
from keras_resnets.errors import ArgumentError
from keras_resnets.segmentation.losses import enlarged


class _OfPixels:
    """Compares at the pixels of the labels, the scores being interpolated between."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        labels = ops.squeeze(y_true, -1) if len(y_true.shape) == 4 else y_true
        return super().update_state(labels, enlarged(y_pred, labels), sample_weight)  # type: ignore[misc]


@keras.saving.register_keras_serializable("keras_resnets")
class MeanIoU(_OfPixels, keras.metrics.MeanIoU):
    """Mean over classes of intersection over union, of all pixels seen that have a class.

    A class that is neither among the labels nor among the answers is left out of the mean.

    Args:
        num_classes: number of classes.
        ignore_class: the label of pixels without a class.
        name: of the metric.
        **kwargs: as for `keras.metrics.MeanIoU`.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> metric = kr.segmentation.MeanIoU(2)
        >>> metric.update_state(np.array([[[0, 1, 1, 255]]]), np.eye(2, dtype="float32")[[[[0, 1, 0, 0]]]])
        >>> float(metric.result())
        0.5
    """

    def __init__(self, num_classes, ignore_class=IGNORE, name="mean_iou", **kwargs):
        options = {"sparse_y_pred": False, **kwargs}
        super().__init__(num_classes, name=name, ignore_class=ignore_class, **options)

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred, sample_weight)

    def get_config(self):
        return {**super().get_config(), "sparse_y_pred": self.sparse_y_pred}


@keras.saving.register_keras_serializable("keras_resnets")
class PixelAccuracy(_OfPixels, keras.metrics.SparseCategoricalAccuracy):
    """Share of the pixels with a class that are given it.

    Args:
        ignore_class: the label of pixels without a class.
        name: of the metric.
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
            raise ArgumentError("sample_weight is not for PixelAccuracy; leave out pixels by ignore_class.")
        labels = ops.squeeze(y_true, -1) if len(y_true.shape) == 4 else y_true
        counts = ops.cast(ops.not_equal(labels, self.ignore_class), "float32")
        super().update_state(ops.where(labels == self.ignore_class, 0, labels), y_pred, counts)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype, "ignore_class": self.ignore_class}


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says.

    Attributes:
        mean_iou: mean over classes of intersection over union, those left out that are neither labels nor answers.
        accuracy: share of the pixels that are given their class.
        iou: intersection over union of each class; NaN for one left out.
        confusion: pixels by class (rows) and answer (columns).
    """

    mean_iou: float
    accuracy: float
    iou: np.ndarray
    confusion: np.ndarray


def confusion_matrix(labels: np.ndarray, answers: np.ndarray, classes: int, ignore: int = IGNORE) -> np.ndarray:
    """Counts pixels by class and answer, as whole numbers of 64 bits.

    Args:
        labels: class numbers; those equal to `ignore` do not count.
        answers: of the same shape.
        classes: number of classes.
        ignore: the label of pixels without a class.

    Raises:
        ArgumentError: a label or an answer is no class.
    """
    labels, answers = labels.reshape(-1).astype("int64"), answers.reshape(-1).astype("int64")
    valid = labels != ignore
    labels, answers = labels[valid], answers[valid]
    for what, values in (("labels", labels), ("answers", answers)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ArgumentError(
                f"{what} must be from 0 to {classes - 1}, or {ignore} where a pixel has no class; got "
                f"{values.min() if values.min() < 0 else values.max()}."
            )
    return np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)


def score(confusion: np.ndarray) -> Scores:
    """Returns the scores of a confusion matrix.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> scores = kr.segmentation.score(np.array([[8, 2], [0, 10]]))
        >>> round(scores.mean_iou, 4), scores.accuracy
        (0.8167, 0.9)
    """
    confusion = np.asarray(confusion)
    hits, union = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    iou = np.where(union > 0, hits / np.maximum(union, 1), np.nan)
    total = confusion.sum()
    if total == 0:
        raise ArgumentError("confusion must have pixels; got none, so every pixel was without a class.")
    return Scores(float(np.nanmean(iou)), float(hits.sum() / total), iou, confusion)
