"""How the outputs of an exported file compare with the network's: by their values, and by their classes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_resnets.data.batches import batches
from keras_resnets.errors import ArgumentError
from keras_resnets.export.inference import Inference
from keras_resnets.reports.statistics import wilson
from keras_resnets.segmentation.losses import enlarged
from keras_resnets.segmentation.metrics import confusion_matrix
from keras_resnets.segmentation.prediction import scored

ROWS = 32


class Comparison:
    """Compares batch by batch what a file answers with what it should.

    Args:
        served: the network.
        run: the file, as `formats.Opened` has it.

    Attributes:
        examples: how many were compared.
        difference: the largest of an output; NaN where one is no number.
        largest: the largest output of the network, in absolute value.
        inputs: the least and the largest input.
        outputs: the least and the largest output of the file.
    """

    def __init__(self, served: Inference, run: Callable[[np.ndarray], np.ndarray]):
        self.served, self.run = served, run
        self.examples, self.difference, self.largest = 0, 0.0, 0.0
        self.inputs, self.outputs = [np.inf, -np.inf], [np.inf, -np.inf]
        self._alike = self._answers = 0
        self._own_difference, self._own_alike = 0.0, 0
        self._before: list[np.ndarray] = []
        self._after: list[np.ndarray] = []

    def add(self, data) -> None:
        """Takes in data, as for `keras_resnets.studies.evaluation.batches`."""
        with _in_full_precision():
            for x, y in batches(data, 1 if None in self.served.input[1] else ROWS):
                self._add(np.asarray(x), y)

    def _add(self, x: np.ndarray, labels: np.ndarray | None) -> None:
        expected, found = self.served.expected(x), self.run(x)
        if found.shape != expected.shape:
            raise RuntimeError(f"The file answers {found.shape} and the network {expected.shape} to inputs {x.shape}.")
        self.examples += len(x)
        self.difference = float(np.maximum(self.difference, np.abs(expected - found).max()))
        self.largest = max(self.largest, float(np.abs(expected).max()))
        self.inputs, self.outputs = _wider(self.inputs, x), _wider(self.outputs, found)
        best, own = expected.argmax(-1), expected
        self._alike += int((best == found.argmax(-1)).sum())
        self._answers += best.size
        if self.served.network is not self.served.model:
            own = self.served.answered(x)
            apart = np.abs(self.served.as_answered(expected) - own).max()
            self._own_difference = float(np.maximum(self._own_difference, apart))
            self._own_alike += int((best == own.argmax(-1)).sum())
        if labels is not None:
            self._before.append(_right(own, labels))
            self._after.append(_right(found, labels))

    @property
    def summary(self) -> dict[str, Any]:
        """What the report says of it."""
        own = None
        if self.served.network is not self.served.model:
            own = {
                "precision": self.served.precision,
                "max_difference": self._own_difference,
                "agreement": self._own_alike / self._answers,
            }
        return {
            "max_difference": self.difference,
            "relative_difference": self.difference / self.largest if self.largest else self.difference,
            "agreement": self._alike / self._answers,
            "own_precision": own,
        }

    @property
    def accuracy(self) -> dict[str, Any] | None:
        """Before and after, and what is lost; None without labels.

        Accuracy with Wilson's interval or, of labels for pixels, mean intersection over union with an interval by
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
    """Has accelerators multiply in all 23 bits of float32: in 10, as some do by default, no file would agree."""
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def _wider(limits: list[float], values: np.ndarray) -> list[float]:
    return [min(limits[0], float(values.min())), max(limits[1], float(values.max()))]


def _right(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each example whether it is answered rightly, or the confusion matrix of its pixels."""
    classes = scores.shape[-1]
    if scores.ndim == 4:
        labels = labels[..., 0] if labels.ndim == 4 else labels
        answers = np.asarray(enlarged(scores, labels)).argmax(-1)
        return np.stack([confusion_matrix(*pair, classes) for pair in zip(labels, answers, strict=True)])
    labels = labels.argmax(1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.reshape(-1)
    if labels.min() < 0 or labels.max() >= classes:
        raise ArgumentError(
            f"data: labels must be from 0 to {classes - 1}, the outputs of the network; got "
            f"{labels.min() if labels.min() < 0 else labels.max()}."
        )
    return scores.argmax(-1) == labels


def _share(right: np.ndarray) -> dict[str, float]:
    share = float(right.mean())
    low, high = wilson(share, len(right))
    return {"value": share, "low": low, "high": high}


def _mean_iou(each: np.ndarray) -> dict[str, float]:
    scores, intervals = scored(each)
    low, high = intervals["mean_iou"]
    return {"value": scores.mean_iou, "low": low, "high": high, "pixel_accuracy": scores.accuracy}
