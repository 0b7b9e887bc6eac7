"""Prediction of whole images: padded or by windows, at several scales, with their mirror images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnets.data.labels import IGNORE
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.segmentation.metrics import Scores, confusion_matrix, score


def probabilities(
    model: keras.Model,
    images: np.ndarray,
    *,
    flip: bool = True,
    scales: Sequence[float] = (1.0,),
    window: int | None = None,
    overlap: float = 0.5,
    multiple: int | None = None,
) -> np.ndarray:
    """Returns the probability of each class at each pixel.

    An image is padded at its far sides with zeros, the mean colour of normalised images, up to a multiple of the
    network's stride; the probabilities, not the logits, are enlarged by bicubic interpolation and cut back
    (Wu et al. 2016's code). What scales, mirror images and windows say is averaged.

    Args:
        model: a network such as `fcn` builds, ending in probabilities.
        images: normalised, (examples, height, width, channels).
        flip: whether to average with the mirror image.
        scales: factors by which the image is resized (bilinear); all are averaged.
        window: side of a square that slides over the image at each scale; None takes the image whole.
        overlap: share of a window that the next one sees again, from 0 up to, not including, 1.
        multiple: what padded heights and widths are a multiple of; None takes the network's output stride, or 32 where
            no spec tells it.

    Returns:
        An array of (examples, height, width, classes), float32.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.segmentation.fcn("resnet18", 5, width=0.0625)
        >>> kr.segmentation.probabilities(model, np.zeros((2, 50, 70, 3), "float32")).shape
        (2, 50, 70, 5)
    """
    images = np.asarray(images, "float32")
    if images.ndim != 4:
        raise ArgumentError(f"images must be (examples, height, width, channels); got {images.shape}.")
    if len(scales) == 0 or min(scales) <= 0:
        raise ArgumentError(f"scales must be one or more positive numbers; got {scales!r}.")
    if not 0 <= overlap < 1:
        raise ArgumentError(f"overlap must be a share from 0 up to, not including, 1; got {overlap!r}.")
    whole_number("window", 1 if window is None else window, 1)
    spec = getattr(model, "spec", None)
    multiple = multiple or (spec.total_stride if spec else 32)
    whole_number("multiple", multiple, 1)
    size = images.shape[1:3]
    found = []
    for scale in scales:
        scaled = tuple(max(1, round(side * scale)) for side in size)
        resized = images if scaled == size else np.asarray(ops.image.resize(images, scaled, "bilinear", antialias=True))
        for mirror in (False, True)[: 1 + flip]:
            seen = resized[:, :, ::-1] if mirror else resized
            maps = _whole(model, seen, multiple) if window is None else _slid(model, seen, window, overlap, multiple)
            found.append(_resize(maps[:, :, ::-1] if mirror else maps, size))
    return np.mean(found, 0, dtype="float32")


def predict(model: keras.Model, images: np.ndarray, **options: Any) -> np.ndarray:
    """Returns the most probable class of each pixel.

    Args:
        model: as for `probabilities`.
        images: as for `probabilities`.
        **options: as for `probabilities`.

    Returns:
        Class numbers of (examples, height, width), int32.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.segmentation.fcn("resnet18", 5, width=0.0625)
        >>> kr.segmentation.predict(model, np.zeros((1, 32, 32, 3), "float32"), scales=(0.75, 1.0)).shape
        (1, 32, 32)
    """
    return probabilities(model, images, **options).argmax(-1).astype("int32")


def confusions(model: keras.Model, data, classes: int, ignore: int = IGNORE, **options: Any) -> Iterator[np.ndarray]:
    """Yields the confusion matrix of each image.

    Args:
        model: as for `probabilities`.
        data: batches of images and labels.
        classes: number of classes.
        ignore: the label of pixels without a class.
        **options: as for `probabilities`.
    """
    for images, labels in data:
        answers, labels = predict(model, np.asarray(images), **options), np.asarray(labels)
        for answer, label in zip(answers, labels.reshape(answers.shape), strict=True):
            yield confusion_matrix(label, answer, classes, ignore)


def evaluate(
    model: keras.Model, data, classes: int, *, ignore: int = IGNORE, draws: int = 1000, seed: int = 0, **options: Any
) -> tuple[Scores, dict[str, tuple[float, float]]]:
    """Measures a network on whole images.

    Args:
        model: as for `probabilities`.
        data: batches of images and labels, such as `kr.data.load(..., task="segmentation").test`.
        classes: number of classes.
        ignore: the label of pixels without a class.
        draws: how often the images are drawn anew, with replacement, for the intervals.
        seed: of the draws.
        **options: as for `probabilities`.

    Returns:
        The scores over all pixels, and the 95 % intervals of `mean_iou` and `accuracy` over images, by bootstrap.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.segmentation.fcn("resnet18", 5, width=0.0625)
        >>> batch = np.zeros((2, 32, 32, 3), "float32"), np.ones((2, 32, 32), "int32")
        >>> scores, intervals = kr.segmentation.evaluate(model, [batch], 5)
        >>> int(scores.confusion.sum())
        2048
    """
    return scored(np.stack(list(confusions(model, data, classes, ignore, **options))), draws, seed)


def scored(each: np.ndarray, draws: int = 1000, seed: int = 0) -> tuple[Scores, dict[str, tuple[float, float]]]:
    """Returns what `evaluate` does, of the confusion matrices of the images.

    Args:
        each: a matrix for each image.
        draws: as for `evaluate`.
        seed: as for `evaluate`.
    """
    drawn = np.random.default_rng(seed).multinomial(len(each), np.full(len(each), 1 / len(each)), draws)
    found = [score(np.tensordot(counts, each, 1)) for counts in drawn]
    intervals = {}
    for name in ("mean_iou", "accuracy"):
        low, high = np.quantile([getattr(scores, name) for scores in found], (0.025, 0.975))
        intervals[name] = float(low), float(high)
    return score(each.sum(0)), intervals


def _resize(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return maps if maps.shape[1:3] == size else np.asarray(ops.image.resize(maps, size, "bicubic"))


def _whole(model: keras.Model, images: np.ndarray, multiple: int) -> np.ndarray:
    """The probabilities of whole images, at their size."""
    height, width = images.shape[1:3]
    beyond = [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)]
    padded = np.pad(images, beyond)
    scores = model.predict_on_batch(padded)
    return _resize(scores, padded.shape[1:3])[:, :height, :width]


def _slid(model: keras.Model, images: np.ndarray, window: int, overlap: float, multiple: int) -> np.ndarray:
    """The probabilities by windows, averaged where these overlap."""
    size, step = images.shape[1:3], max(1, round(window * (1 - overlap)))
    total, times = np.zeros(1), np.zeros(1)
    for top in _starts(size[0], window, step):
        for left in _starts(size[1], window, step):
            part = images[:, top : top + window, left : left + window]
            found = _whole(model, part, multiple)
            around = [(0, 0), (top, size[0] - top - part.shape[1]), (left, size[1] - left - part.shape[2]), (0, 0)]
            total = total + np.pad(found, around)
            times = times + np.pad(np.ones_like(found[..., :1]), around)
    return total / times


def _starts(side: int, window: int, step: int) -> list[int]:
    """Where windows begin; the last one ends with the image."""
    last = max(0, side - window)
    return [*range(0, last, step), last]
