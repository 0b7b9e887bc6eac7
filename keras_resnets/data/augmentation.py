"""Image augmentation: random pads, crops, flips and colours in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnets.data.resizing import LUMA, scaled, to_bytes
from keras_resnets.errors import ArgumentError, one_of, whole_number
from keras_resnets.explaining import explained


@explained
@dataclass(frozen=True)
class Augmentation:
    """Random changes to a training image, drawn anew in each epoch.

    Args:
        pad: pixels added on each side before a random crop back to the original size.
        pad_mode: `"zeros"` (He et al. 2015, after normalisation) or `"reflect"` (Wide ResNets).
        flip: mirror left and right at random.
        resized_crop: cut a random 8-100 % of the area at a ratio of 3/4 to 4/3 and resize it.
        color: strength of random brightness, contrast and saturation; 0 for none.
        crop: for segmentation, in place of `pad` and `resized_crop`: side, or height and width, in pixels, of a
            random window, rounded up to multiples of 8 (Wu et al. 2016 cut 504 for 500). Parts outside of the image
            get the mean colour and no label.
        scale: for segmentation, the smallest and the largest factor by which the longer side is scaled before the
            crop, such as `(0.7, 1.3)` (Wu et al. 2016); None for no scaling.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> kr.data.Augmentation(flip=True, crop=500, scale=(0.7, 1.3)).window
        (504, 504)
    """

    pad: int = 0
    pad_mode: str = "zeros"
    flip: bool = False
    resized_crop: bool = False
    color: float = 0.0
    crop: int | tuple[int, int] | None = None
    scale: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        one_of("pad_mode", self.pad_mode, ("zeros", "reflect"))
        if self.pad < 0:
            raise ArgumentError(f"pad must be at least 0 pixels; got {self.pad!r}.")
        if not 0 <= self.color < 1:
            raise ArgumentError(f"color must be a number from 0 up to, not including, 1; got {self.color!r}.")
        if self.color and not (self.resized_crop or self.crop):
            raise ArgumentError(
                f"color is part of resized_crop, or of a crop for segmentation; got color {self.color!r} without "
                f"resized_crop=True or a crop."
            )
        # JSON turns tuples into lists.
        for field in ("crop", "scale"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.crop is not None:
            sides = self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
            if len(sides) != 2:
                raise ArgumentError(f"crop must be a side, or a height and a width, in pixels; got {self.crop!r}.")
            for side in sides:
                whole_number("crop", side, 1)
        if self.scale is not None:
            if not self.crop:
                raise ArgumentError(
                    f"scale needs a crop, for batches of one size; got scale {self.scale!r} without it."
                )
            numbers = isinstance(self.scale, tuple) and all(
                isinstance(factor, int | float) and not isinstance(factor, bool) for factor in self.scale
            )
            if not numbers or len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < float("inf"):
                raise ArgumentError(
                    f"scale must be the least and the largest factor, both positive; got {self.scale!r}."
                )

    @property
    def window(self) -> tuple[int, int] | None:
        """Height and width of a crop for segmentation, both multiples of 8, or None."""
        if self.crop is None:
            return None
        height, width = self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
        return -(-height // 8) * 8, -(-width // 8) * 8

    def check(self, task: str) -> None:
        """Raises `ArgumentError` if a field of another task is set."""
        foreign = ("pad", "resized_crop") if task == "segmentation" else ("crop", "scale")
        for field in foreign:
            if getattr(self, field):
                other = "crop and scale" if task == "segmentation" else "pad or resized_crop"
                raise ArgumentError(
                    f"augmentation: {field} is not for {task}; got {field}={getattr(self, field)!r}, use {other}."
                )


@explained
def augment(images: np.ndarray, augmentation: Augmentation, random: np.random.Generator) -> np.ndarray:
    """Pads, crops and flips a batch; the same draws give the same result.

    Args:
        images: a float batch, (examples, height, width, channels).
        augmentation: the changes to make.
        random: the source of the draws.
    """
    if images.ndim != 4:
        raise ArgumentError(f"images must be of shape (examples, height, width, channels); got {images.shape}.")
    count, height, width, channels = images.shape
    if augmentation.pad:
        pad = augmentation.pad
        mode: Any = "reflect" if augmentation.pad_mode == "reflect" else "constant"
        padded = np.pad(images, [(0, 0), (pad, pad), (pad, pad), (0, 0)], mode)
        corners = random.integers(0, 2 * pad + 1, (2, count))
        # A view of all crops of all images, of which one each is copied.
        n, y, x, c = padded.strides
        shape = (count, 2 * pad + 1, 2 * pad + 1, height, width, channels)
        crops = np.lib.stride_tricks.as_strided(padded, shape, (n, y, x, y, x, c), writeable=False)
        images = crops[np.arange(count), corners[0], corners[1]]
    if augmentation.flip:
        mirrored = np.less(random.random(count), 0.5)
        images = np.where(mirrored.reshape(-1, 1, 1, 1), images[:, :, ::-1], images)
    return images


def resized_crop(picture: np.ndarray, size, augmentation: Augmentation, random: np.random.Generator) -> np.ndarray:
    """Crops a random part of a picture, resizes it, and changes its colours.

    As Szegedy et al. 2015, section 6, have it; the share of the area and the logarithm of the ratio are uniform.
    """
    height, width = picture.shape[:2]
    for _ in range(10):
        area, ratio = random.uniform(0.08, 1) * height * width, np.exp(random.uniform(*np.log((3 / 4, 4 / 3))))
        rows, columns = round(np.sqrt(area / ratio)), round(np.sqrt(area * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            break
    else:  # of a picture so long that hardly any crop fits
        rows, columns = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    top, left = random.integers(0, height - rows + 1), random.integers(0, width - columns + 1)
    image = scaled(picture[top : top + rows, left : left + columns], size)
    return to_bytes(jitter(image, augmentation.color, random) if augmentation.color else image)


def jitter(image: np.ndarray, strength: float, random: np.random.Generator) -> np.ndarray:
    """Changes brightness, contrast and saturation, each by a random factor within `strength` of 1."""
    brightness, contrast, saturation = random.uniform(1 - strength, 1 + strength, 3).astype("float32")
    image = image * brightness
    gray = (image * np.array(LUMA, "float32")).sum(-1, keepdims=True) if image.shape[-1] == 3 else image
    image = (image - gray.mean()) * contrast + gray.mean()
    return (image - gray) * saturation + gray
