"""Compares the outputs of an exported file with the network's, by values and by classes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_resnets.data.batches import batches, class_labels, pixel_labels
from keras_resnets.export.inference import Inference
from keras_resnets.network.outputs import answer_one_class, check_classifier
from keras_resnets.reports.statistics import wilson
from keras_resnets.segmentation.losses import enlarged
from keras_resnets.segmentation.metrics import confusion_matrix
from keras_resnets.segmentation.prediction import scored

ROWS = 32


class Comparison:
    """Compares the outputs of a file with the network's, batch by batch.

    Args:
        served: the network.
        run: computes the outputs of the file, as `formats.Opened.run`.

    Attributes:
        examples: the number of examples compared.
        difference: the largest difference of an output; NaN if an output is NaN.
        largest: the largest absolute output of the network.
        inputs: the smallest and the largest input.
        outputs: the smallest and the largest output of the file.
    """

    def __init__(self, served: Inference, run: Callable[[np.ndarray], np.ndarray]):
        self.served, self.run = served, run
        self._classifies = answer_one_class(served.model)
        self.examples, self.difference, self.largest = 0, 0.0, 0.0
        self.inputs, self.outputs = [np.inf, -np.inf], [np.inf, -np.inf]
        self._alike = self._answers = 0
        self._own_difference, self._own_alike = 0.0, 0
        self._before: list[np.ndarray] = []
        self._after: list[np.ndarray] = []

    def add(self, data) -> None:
        """Compares on data, as for `keras_resnets.data.batches.batches`."""
        with _in_full_precision():
            shape = self.served.input[1]
            for x, y in batches(data, 1 if None in shape else ROWS, shape=shape):
                self._add(np.asarray(x), y)

    def _add(self, x: np.ndarray, labels: np.ndarray | None) -> None:
        # Compare the file with the exported network.
        expected, outputs = self.served.expected(x), self.run(x)
        if outputs.shape != expected.shape:
            raise RuntimeError(
                f"The file returns {outputs.shape} and the network {expected.shape} for inputs {x.shape}."
            )
        self.examples += len(x)
        self.difference = float(np.maximum(self.difference, np.abs(expected - outputs).max()))
        self.largest = max(self.largest, float(np.abs(expected).max()))
        self.inputs, self.outputs = _widen(self.inputs, x), _widen(self.outputs, outputs)
        best, own = expected.argmax(-1), expected
        self._alike += int((best == outputs.argmax(-1)).sum())
        self._answers += best.size

        # Compare the exported network with the model in its own precision.
        if self.served.network is not self.served.model:
            own = self.served.answered(x)
            difference = np.abs(self.served.as_answered(expected) - own).max()
            self._own_difference = float(np.maximum(self._own_difference, difference))
            self._own_alike += int((best == own.argmax(-1)).sum())

        # Compare both with the labels.
        if labels is not None:
            if own.ndim != 4:
                check_classifier(self.served.model)
            self._before.append(_score(own, labels))
            self._after.append(_score(outputs, labels))

    @property
    def summary(self) -> dict[str, Any]:
        """The differences and agreements, as in the report."""
        own = None
        if self.served.network is not self.served.model:
            own = {
                "precision": self.served.precision,
                "max_difference": self._own_difference,
                "agreement": self._own_alike / self._answers if self._classifies else None,
            }
        return {
            "max_difference": self.difference,
            "relative_difference": self.difference / self.largest if self.largest else self.difference,
            "agreement": self._alike / self._answers if self._classifies else None,
            "own_precision": own,
        }

    @property
    def accuracy(self) -> dict[str, Any] | None:
        """The quality before and after the export, and the loss; None without labels.

        Accuracy with Wilson's interval or, with labels of pixels, mean intersection over union with an interval by
        bootstrap over images.
        """
        if not self._before:
            return None
        before, after = (np.concatenate(parts) for parts in (self._before, self._after))
        dense = before.ndim == 3
        measured = [_mean_iou(each) if dense else _share(each) for each in (before, after)]
        return {
            "measure": "mean IoU" if dense else "accuracy",
            "before": measured[0],
            "after": measured[1],
            "lost": measured[0]["value"] - measured[1]["value"],
            "examples": len(before),
        }


@contextlib.contextmanager
def _in_full_precision() -> Iterator[None]:
    """Disables TensorFloat-32: with products of 10 bits, a default on some accelerators, no file would agree."""
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def _widen(limits: list[float], values: np.ndarray) -> list[float]:
    return [min(limits[0], float(values.min())), max(limits[1], float(values.max()))]


def _score(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns for each example whether it is classified correctly, or the confusion matrix of its pixels."""
    classes = scores.shape[-1]
    if scores.ndim == 4:
        labels = pixel_labels(labels, classes)
        predictions = np.asarray(enlarged(scores, labels)).argmax(-1)
        return np.stack([confusion_matrix(*pair, classes) for pair in zip(labels, predictions, strict=True)])
    return scores.argmax(-1) == class_labels(labels, classes)


def _share(correct: np.ndarray) -> dict[str, float]:
    share = float(correct.mean())
    low, high = wilson(share, len(correct))
    return {"value": share, "low": low, "high": high}


def _mean_iou(matrices: np.ndarray) -> dict[str, float]:
    scores, intervals = scored(matrices)
    low, high = intervals["mean_iou"]
    return {"value": scores.mean_iou, "low": low, "high": high, "pixel_accuracy": scores.accuracy}
