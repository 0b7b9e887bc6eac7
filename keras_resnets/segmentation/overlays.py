"""Overlays of labels, as colours, on images: as arrays and in TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_resnets.data.labels import IGNORE
from keras_resnets.errors import ArgumentError, number
from keras_resnets.explaining import explained
from keras_resnets.reports.events import Events
from keras_resnets.segmentation.prediction import predict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@explained
def overlay(image: np.ndarray, labels: np.ndarray, colors: np.ndarray, strength: float = 0.5) -> np.ndarray:
    """Blends the colours of classes into an image; a class in black, as backgrounds are, leaves it as it is.

    Args:
        image: (height, width, 1 or 3), in any units: its smallest value becomes black and its largest white.
        labels: class numbers of (height, width); pixels without a class are not coloured.
        colors: red, green and blue of each class, 0 to 255.
        strength: weight of the colour; the image has the remaining weight.

    Returns:
        A picture of shape (height, width, 3), uint8.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> picture = kr.segmentation.overlay(np.zeros((1, 2, 3)), np.array([[0, 255]]), np.array([[200, 0, 0]]))
        >>> picture.tolist()
        [[[100, 0, 0], [0, 0, 0]]]
    """
    _check_picture(image, labels, colors)
    number("strength", strength, least=0, most=1)
    image = np.broadcast_to(image, (*image.shape[:2], 3)).astype("float64")
    low, high = image.min(), image.max()
    picture = 255 * (image - low) / (high - low) if high > low else np.zeros_like(image)
    has_class = (labels >= 0) & (labels < len(colors))
    color = np.asarray(colors, "float64")[np.where(has_class, labels, 0)]
    coloured = has_class[..., None] & color.any(-1, keepdims=True)
    return np.where(coloured, (1 - strength) * picture + strength * color, picture).round().astype("uint8")


def _check_picture(image: np.ndarray, labels: np.ndarray, colors: np.ndarray, argument: str = "labels") -> None:
    """Refuses arrays that are no image, its labels, and a colour for each class."""
    if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size or image.dtype.kind not in "biuf":
        raise ArgumentError(f"image must be numbers of shape (height, width, 1 or 3); got {image.shape} {image.dtype}.")
    if not np.isfinite(image).all():
        raise ArgumentError("image must be finite; got NaN or infinity.")
    if labels.shape != image.shape[:2] or labels.dtype.kind not in "iu":
        raise ArgumentError(
            f"{argument} must be whole numbers of shape {image.shape[:2]}, one for each pixel of the image; got "
            f"{labels.shape} {labels.dtype}."
        )
    if np.ndim(colors) != 2 or np.shape(colors)[1] != 3 or not len(colors):
        raise ArgumentError(f"colors must be of shape (classes, 3); got {np.shape(colors)}.")


@explained
def side_by_side(image: np.ndarray, labels: np.ndarray, answers: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Joins an image, its overlay of labels and its overlay of predictions, from left to right.

    Args:
        image: as for `overlay`.
        labels: class numbers of (height, width).
        answers: the predictions, the same.
        colors: as for `overlay`.

    Returns:
        A picture of shape (height, 3 width + 4, 3), uint8.
    """
    for argument, classes in (("labels", labels), ("answers", answers)):
        _check_picture(image, classes, colors, argument)
    plain = overlay(image, np.full(labels.shape, IGNORE), colors)
    gap = np.full((image.shape[0], 2, 3), 255, "uint8")
    return np.concatenate([plain, gap, overlay(image, labels, colors), gap, overlay(image, answers, colors)], 1)


@explained
def draw(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    answers: Sequence[np.ndarray],
    colors: np.ndarray,
    names: Sequence[str],
    strength: float = 0.5,
) -> Figure:
    """Draws images with their labels and predictions, a row for each, and a legend of the classes that occur.

    Args:
        images: as for `overlay`, one or several.
        labels: the labels of each image.
        answers: the predictions for each image.
        colors: as for `overlay`.
        names: names of the classes.
        strength: as for `overlay`.

    Returns:
        The figure.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> image, labels = np.zeros((4, 4, 3)), np.eye(4, dtype=int)
        >>> colors = np.array([[0, 0, 0], [200, 0, 0]])
        >>> figure = kr.segmentation.draw([image], [labels], [labels], colors, ["no", "yes"])
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['no (not coloured)', 'yes']
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    # Inches: of 100 pixels each in TensorBoard, where large images are seen in their own pixels.
    across = min(6.0, max(2.2, images[0].shape[1] / 100))
    up = across * images[0].shape[0] / images[0].shape[1]
    figure = Figure(figsize=(3 * across, 0.5 + up * len(images)), layout="constrained")
    panels = figure.subplots(len(images), 3, squeeze=False)
    none = np.full_like(labels[0], IGNORE)
    for row, image, truth, answer in zip(panels, images, labels, answers, strict=True):
        for axes, shown in zip(row, (none, truth, answer), strict=True):
            axes.imshow(overlay(image, shown, colors, strength), interpolation="nearest")
            axes.set_axis_off()
    for axes, title in zip(panels[0], ("image", "labels", "answers"), strict=True):
        axes.set_title(title, fontsize=10)
    seen = np.unique(np.concatenate([np.ravel(part) for part in (*labels, *answers)]))
    patches = [
        Patch(facecolor=tuple(np.asarray(colors[k]) / 255), lw=0.5, label=names[k])
        if np.any(colors[k])
        else Patch(facecolor="none", edgecolor="0.5", lw=0.5, label=f"{names[k]} (not coloured)")
        for k in seen
        if 0 <= k < len(names)
    ]
    figure.legend(handles=patches, frameon=False, loc="outside lower center", ncols=5, fontsize=8)
    return figure


class Overlays(keras.callbacks.Callback):
    """Shows the network's predictions for a few images in TensorBoard during training.

    Each picture shows an image, its labels and the predictions, with a legend of the classes if their names are given.
    `kr.train` adds this callback itself.

    Args:
        data: batches of images and labels; the first images are shown.
        colors: as for `overlay`.
        logs: TensorBoard's folder.
        images: number of images.
        every: number of epochs between pictures; the first and the last epoch always have some.
        names: names of the classes, for the legend.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> batch = np.zeros((2, 32, 32, 3), "float32"), np.zeros((2, 32, 32), "int32")
        >>> callback = kr.segmentation.Overlays([batch], np.zeros((2, 3)), "logs")
    """

    def __init__(
        self,
        data,
        colors: np.ndarray,
        logs: str | os.PathLike,
        images: int = 4,
        every: int = 5,
        names: Sequence[str] | None = None,
    ):
        super().__init__()
        self._names = names
        self._data, self._colors, self._logs = data, np.asarray(colors), str(logs)
        self._most, self._every = images, every

    def _examples(self) -> tuple[np.ndarray, np.ndarray]:
        images, labels, count = [], [], 0
        for x, y in self._data:
            images.append(np.asarray(x))
            labels.append(np.asarray(y).reshape(images[-1].shape[:3]))
            count += len(images[-1])
            if count >= self._most:
                break
        return np.concatenate(images)[: self._most], np.concatenate(labels)[: self._most]

    def on_epoch_end(self, epoch, logs=None):
        last = epoch + 1 == self.params.get("epochs")
        if epoch % self._every and not last:
            return
        images, labels = self._examples()
        answers = predict(self.model, images, flip=False)
        with Events(self._logs) as events:
            for number, example in enumerate(zip(images, labels, answers, strict=True)):
                tag = f"image, labels, answers/{number}"
                if self._names is None:
                    events.picture(tag, side_by_side(*example, self._colors), epoch + 1)
                else:
                    image, truth, answer = example
                    figure = draw([image], [truth], [answer], self._colors, self._names)
                    events.figure(tag, figure, epoch + 1)
