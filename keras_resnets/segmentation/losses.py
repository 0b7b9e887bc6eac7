"""`PixelLoss`: cross-entropy over all pixels, or over the hardest ones."""

from __future__ import annotations

import contextlib

import keras
from keras import ops

from keras_resnets import replicas
from keras_resnets.data.labels import IGNORE
from keras_resnets.errors import ArgumentError, number, one_of, whole_number
from keras_resnets.network import private
from keras_resnets.network.data_format import LAST


def classes_at(labels, like):
    """Subsamples labels to the resolution of a coarser map: a label at the centre of each of its pixels.

    For a map of stride 8 these are rows and columns 4, 12, 20, ... (Wu et al. 2016's code).

    Args:
        labels: class numbers of shape (examples, height, width), or with a last axis of 1.
        like: the map, of shape (examples, rows, columns, classes).
    """
    labels = ops.squeeze(labels, -1) if len(labels.shape) == 4 else labels
    for axis in (1, 2):
        side, points = ops.shape(labels)[axis], ops.shape(like)[axis]
        step = (side + points - 1) // points
        places = ops.minimum(ops.arange(points) * step + step // 2, side - 1)
        labels = ops.take(labels, places, axis=axis)
    return labels


def enlarged(scores, like, interpolation: str = "bilinear"):
    """Resizes scores to the height and width of labels, with half-pixel centres."""
    size = ops.shape(like)[1:3]
    return (
        scores
        if tuple(scores.shape[1:3]) == tuple(size)
        else ops.image.resize(scores, size, interpolation, data_format=LAST)
    )


def _logits(probabilities):
    """Returns the logits of probabilities: the inputs of the network's softmax, if Keras kept them.

    A probability that underflows to 0 has no gradient, but its logit has.
    """
    logits = private.logits_of(probabilities)
    return ops.log(ops.maximum(probabilities, keras.config.epsilon())) if logits is None else logits


@keras.saving.register_keras_serializable("keras_resnets")
class PixelLoss(keras.losses.Loss):
    """Mean cross-entropy, in nats, over the pixels that have a class, or over the hardest of them.

    `hardest` selects online hard example mining as in Wu et al. 2016's code: only pixels whose true class has at most
    this probability count, and at least `least` pixels of a batch.

    Args:
        hardest: the probability; None for all pixels. The paper's code has 0.6.
        least: with `hardest`, the least number of pixels of a batch that count; if fewer are hard enough, the hardest
            ones do.
        at: the resolution of the comparison: `"output"`, the network's map, with the label at the centre of each of its
            pixels (Wu et al. 2016's code); or `"input"`, the labels, with bilinear interpolation of the logits.
        ignore: the label of pixels without a class.
        name: name of the loss.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> probabilities = np.full((1, 2, 2, 4), 0.25, "float32")
        >>> labels = np.array([[[0, 1], [2, 255]]])
        >>> round(float(kr.segmentation.PixelLoss()(labels, probabilities)), 4)
        1.3863
    """

    def __init__(self, hardest=None, least=256, at="output", ignore=IGNORE, name="pixel_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        one_of("at", at, ("output", "input"))
        whole_number("least", least, 1)
        if hardest is not None:
            number("hardest", hardest, above=0, below=1, rule="a probability between 0 and 1, or None")
        self.hardest, self.least, self.at, self.ignore = hardest, least, at, ignore

    def call(self, y_true, y_pred):
        labels, logits = ops.cast(y_true, "int32"), _logits(y_pred)
        if self.at == "input":
            logits = enlarged(logits, labels)
        labels = ops.reshape(classes_at(labels, logits), (-1,))
        scores = ops.log_softmax(ops.reshape(logits, (-1, logits.shape[-1])))
        counts = labels != self.ignore
        outside = ops.logical_and(counts, ops.logical_or(labels < 0, labels >= scores.shape[-1]))
        # A negative index would count from the end; here, it may be any class.
        labels = ops.where(ops.logical_or(outside, ops.logical_not(counts)), 0, labels)
        # Each row's score of its class. one_hot would make an array as large as the scores.
        own = ops.squeeze(ops.take_along_axis(scores, labels[:, None], axis=1), 1)
        own = ops.where(outside, float("nan"), own)
        # A value that is being traced has no truth; then the loss is NaN.
        with contextlib.suppress(TypeError):
            if bool(ops.any(outside)):
                raise ArgumentError(
                    f"labels must be from 0 to {scores.shape[-1] - 1}, or {self.ignore} where a pixel has no class; "
                    f"give PixelLoss(ignore=...) the number that your masks have for no class."
                )
        if self.hardest is None:
            total = replicas.total(ops.sum(ops.cast(counts, own.dtype)))
        else:
            counts, total = self._select_hardest(ops.exp(own), counts)
        # Replicas may have unlike numbers of pixels that count; Keras adds up what they return if it is one number.
        return -ops.sum(own * ops.cast(counts, own.dtype)) / ops.maximum(total, 1.0)

    def _select_hardest(self, own, counts):
        """Selects the pixels that count, by the probability of their class; returns them, and their number."""
        # 2 sorts pixels without a class last, because probabilities are at most 1.
        ranked = ops.sort(replicas.gathered(ops.where(counts, own, 2.0)))
        floor = ranked[ops.minimum(self.least, ops.shape(ranked)[0]) - 1]
        most = ops.maximum(self.hardest, floor)
        total = ops.sum(ops.cast(ops.logical_and(ranked <= most, ranked < 2), own.dtype))
        return ops.logical_and(counts, own <= most), total

    def get_config(self):
        own = {"hardest": self.hardest, "least": self.least, "at": self.at, "ignore": self.ignore}
        return {**super().get_config(), **own}
