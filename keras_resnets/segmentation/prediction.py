"""Prediction for whole images, padded or by windows, averaged over scales and mirror images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnets.data.batches import as_array, check_inputs, pixel_labels
from keras_resnets.data.labels import IGNORE
from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.explaining import explained
from keras_resnets.network.data_format import LAST
from keras_resnets.segmentation.metrics import Scores, confusion_matrix, score


@explained
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
    """Predicts the probability of each class at each pixel.

    Images are padded at the bottom and right with zeros, the mean colour of normalised images, to a multiple of the
    network's stride; the probabilities, not the logits, are resized by bicubic interpolation and cropped (Wu et al.
    2016's code). The results for scales, mirror images and windows are averaged.

    Args:
        model: a network such as `fcn` builds, ending in probabilities.
        images: normalised, (examples, height, width, channels).
        flip: whether to average with the mirror image.
        scales: factors by which the image is resized (bilinear); all are averaged.
        window: side of a square window that slides over the image at each scale; None predicts the whole image.
        overlap: share of a window that overlaps with the next one, from 0 up to, not including, 1.
        multiple: heights and widths are padded to a multiple of this; None takes the network's output stride, or 32 if
            it has no spec.

    Returns:
        An array of shape (examples, height, width, classes), float32.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.segmentation.fcn("resnet18", 5, width=0.0625)
        >>> kr.segmentation.probabilities(model, np.zeros((2, 50, 70, 3), "float32")).shape
        (2, 50, 70, 5)
    """
    images = as_array(images, "images")
    if images.ndim != 4 or not images.size:
        raise ArgumentError(f"images must be (examples, height, width, channels); got {images.shape}.")
    if len(scales) == 0 or not all(0 < scale < float("inf") for scale in scales):
        raise ArgumentError(f"scales must be one or more positive numbers; got {scales!r}.")
    if not 0 <= overlap < 1:
        raise ArgumentError(f"overlap must be a share from 0 up to, not including, 1; got {overlap!r}.")
    whole_number("window", 1 if window is None else window, 1)
    spec = getattr(model, "spec", None)
    multiple = multiple or (spec.total_stride if spec else 32)
    whole_number("multiple", multiple, 1)
    check_inputs(images, (None, None, model.input_shape[-1]), "images")

    images = images.astype("float32")
    size = images.shape[1:3]
    predictions = []
    for scale in scales:
        scaled = tuple(max(1, round(side * scale)) for side in size)
        resized = (
            images
            if scaled == size
            else np.asarray(ops.image.resize(images, scaled, "bilinear", antialias=True, data_format=LAST))
        )
        for mirror in (False, True)[: 1 + flip]:
            x = resized[:, :, ::-1] if mirror else resized
            maps = _whole(model, x, multiple) if window is None else _by_windows(model, x, window, overlap, multiple)
            predictions.append(_resize(maps[:, :, ::-1] if mirror else maps, size))
    return np.mean(predictions, 0, dtype="float32")


@explained
def predict(model: keras.Model, images: np.ndarray, **options: Any) -> np.ndarray:
    """Predicts the class of each pixel.

    Args:
        model: as for `probabilities`.
        images: as for `probabilities`.
        **options: as for `probabilities`.

    Returns:
        Class numbers of shape (examples, height, width), int32.

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
    for batch in data:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ArgumentError(
                f"data must be batches of images and labels; got {type(batch).__name__} as one of them."
            )
        answers, labels = predict(model, batch[0], **options), pixel_labels(batch[1], classes, ignore)
        if labels.shape != answers.shape:
            raise ArgumentError(f"data: labels must be of the images' shape, {answers.shape}; got {labels.shape}.")
        for answer, label in zip(answers, labels, strict=True):
            yield confusion_matrix(label, answer, classes, ignore)


@explained
def evaluate(
    model: keras.Model,
    data: Iterable[Any],
    classes: int,
    *,
    ignore: int = IGNORE,
    draws: int = 1000,
    seed: int = 0,
    **options: Any,
) -> tuple[Scores, dict[str, tuple[float, float]]]:
    """Evaluates a network on whole images.

    Args:
        model: as for `probabilities`.
        data: batches of images and labels, such as `kr.data.load(..., task="segmentation").test`.
        classes: number of classes.
        ignore: the label of pixels without a class.
        draws: number of bootstrap samples of the images for the intervals.
        seed: seed of these samples.
        **options: as for `probabilities`.

    Returns:
        The scores over all pixels, and 95 % bootstrap intervals of `mean_iou` and `accuracy` over images.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> model = kr.segmentation.fcn("resnet18", 5, width=0.0625)
        >>> batch = np.zeros((2, 32, 32, 3), "float32"), np.ones((2, 32, 32), "int32")
        >>> scores, intervals = kr.segmentation.evaluate(model, [batch], 5)
        >>> int(scores.confusion.sum())
        2048
    """
    whole_number("classes", classes, 1)
    found = list(confusions(model, data, classes, ignore, **options))
    if not found:
        raise ArgumentError("data must hold at least one example; got none.")
    return scored(np.stack(found), draws, seed)


def scored(each: np.ndarray, draws: int = 1000, seed: int = 0) -> tuple[Scores, dict[str, tuple[float, float]]]:
    """Computes the scores and intervals of `evaluate` from the images' confusion matrices.

    Args:
        each: the matrix of each image.
        draws: as for `evaluate`.
        seed: as for `evaluate`.
    """
    samples = np.random.default_rng(seed).multinomial(len(each), np.full(len(each), 1 / len(each)), draws)
    resampled = [score(np.tensordot(counts, each, 1)) for counts in samples]
    intervals = {}
    for name in ("mean_iou", "accuracy"):
        low, high = np.quantile([getattr(scores, name) for scores in resampled], (0.025, 0.975))
        intervals[name] = float(low), float(high)
    return score(each.sum(0)), intervals


def _resize(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return maps if maps.shape[1:3] == size else np.asarray(ops.image.resize(maps, size, "bicubic", data_format=LAST))


def _whole(model: keras.Model, images: np.ndarray, multiple: int) -> np.ndarray:
    """Predicts whole images, at their own resolution."""
    height, width = images.shape[1:3]
    padding = [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)]
    padded = np.pad(images, padding)
    scores = model.predict_on_batch(padded)
    return _resize(scores, padded.shape[1:3])[:, :height, :width]


def _by_windows(model: keras.Model, images: np.ndarray, window: int, overlap: float, multiple: int) -> np.ndarray:
    """Predicts images by windows, and averages where these overlap."""
    size, step = images.shape[1:3], max(1, round(window * (1 - overlap)))
    total, count = np.zeros(1), np.zeros(1)
    for top in _starts(size[0], window, step):
        for left in _starts(size[1], window, step):
            part = images[:, top : top + window, left : left + window]
            maps = _whole(model, part, multiple)
            padding = [(0, 0), (top, size[0] - top - part.shape[1]), (left, size[1] - left - part.shape[2]), (0, 0)]
            total = total + np.pad(maps, padding)
            count = count + np.pad(np.ones_like(maps[..., :1]), padding)
    return total / count


def _starts(side: int, window: int, step: int) -> list[int]:
    """Returns the positions of windows along a side; the last window ends at the image's edge."""
    last = max(0, side - window)
    return [*range(0, last, step), last]
