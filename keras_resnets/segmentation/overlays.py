"""Overlays of labels, as colours, on images: as arrays and in TensorBoard."""

from __future__ import annotations

import os

import keras
import numpy as np

from keras_resnets.data.labels import IGNORE
from keras_resnets.reports.study import Events
from keras_resnets.segmentation.prediction import predict


def overlay(image: np.ndarray, labels: np.ndarray, colors: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Blends the colours of classes into an image.

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
        [[[120, 0, 0], [0, 0, 0]]]
    """
    image = np.broadcast_to(image, (*image.shape[:2], 3)).astype("float64")
    low, high = image.min(), image.max()
    picture = 255 * (image - low) / (high - low) if high > low else np.zeros_like(image)
    has_class = (labels >= 0) & (labels < len(colors))
    blended = (1 - strength) * picture + strength * np.asarray(colors, "float64")[np.where(has_class, labels, 0)]
    return np.where(has_class[..., None], blended, picture).round().astype("uint8")


def side_by_side(image: np.ndarray, labels: np.ndarray, answers: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Joins an image, its overlay of labels and its overlay of predictions, from left to right."""
    plain = overlay(image, np.full(labels.shape, IGNORE), colors)
    gap = np.full((image.shape[0], 2, 3), 255, "uint8")
    return np.concatenate([plain, gap, overlay(image, labels, colors), gap, overlay(image, answers, colors)], 1)


class Overlays(keras.callbacks.Callback):
    """Shows the network's predictions for a few images in TensorBoard during training.

    Each picture shows an image, its labels and the predictions. `kr.train` adds this callback itself.

    Args:
        data: batches of images and labels; the first images are shown.
        colors: as for `overlay`.
        logs: TensorBoard's folder.
        images: number of images.
        every: number of epochs between pictures; the first and the last epoch always have some.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> batch = np.zeros((2, 32, 32, 3), "float32"), np.zeros((2, 32, 32), "int32")
        >>> callback = kr.segmentation.Overlays([batch], np.zeros((2, 3)), "logs")
    """

    def __init__(self, data, colors: np.ndarray, logs: str | os.PathLike, images: int = 4, every: int = 5):
        super().__init__()
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
        pictures = [side_by_side(*example, self._colors) for example in zip(images, labels, answers, strict=True)]
        with Events(self._logs) as events:
            for number, picture in enumerate(pictures):
                events.picture(f"image, labels, answers/{number}", picture, epoch + 1)
