"""Changes an image together with its mask: scaling, flips, crops and padding."""

from __future__ import annotations

import numpy as np

from keras_resnets.data.augmentation import Augmentation, jitter
from keras_resnets.data.labels import IGNORE
from keras_resnets.data.resizing import scaled

Size = tuple[int, int]


def resize(image: np.ndarray, mask: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Resizes both: the image bilinearly, with antialiasing where it shrinks, the mask by nearest neighbour.

    Args:
        image: (height, width, channels), float.
        mask: (height, width), whole numbers from 0 to 255.
        size: the new height and width.
    """
    from PIL import Image

    numbers = Image.fromarray(mask.astype("uint8")).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return scaled(image, size), np.asarray(numbers)


def scaled_size(shape, longer: float) -> Size:
    """Returns height and width of an image whose longer side is scaled to a length."""
    sides = np.array(shape[:2], "float32")
    height, width = np.maximum(np.rint(sides * (np.float32(longer) / sides.max())).astype(int), 1).tolist()
    return height, width


def frame(image: np.ndarray, mask: np.ndarray, size: Size, corner: Size = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """Pads both to a larger frame: the image with zeros, the mask with the ignored label.

    Args:
        image: (height, width, channels), normalised, so that zero is the mean.
        mask: (height, width).
        size: height and width of the frame, at least the image's.
        corner: row and column of the image's corner in the frame.
    """
    edges = [(before, all_ - side - before) for all_, side, before in zip(size, mask.shape, corner, strict=True)]
    return np.pad(image, [*edges, (0, 0)]), np.pad(mask, edges, constant_values=IGNORE)


def recolored(image: np.ndarray, augmentation: Augmentation, random: np.random.Generator) -> np.ndarray:
    """Changes brightness, contrast and saturation of a raw image at random."""
    return np.clip(jitter(image.astype("float32"), augmentation.color, random), 0, 255)


def window(
    image: np.ndarray,
    mask: np.ndarray,
    augmentation: Augmentation,
    longer: int | None,
    random: np.random.Generator | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scales, flips and crops both in the same way; the same draws give the same result.

    Args:
        image: (height, width, channels), normalised, so that zero is the mean.
        mask: (height, width).
        augmentation: the changes to make.
        longer: the length to which the image's longer side is scaled before random scaling; None for its own.
        random: the source of the draws; None where the augmentation draws nothing.
    """
    if longer is not None or augmentation.scale:
        length: float = max(mask.shape) if longer is None else longer
        if augmentation.scale:
            assert random is not None
            length *= random.uniform(*augmentation.scale)
        image, mask = resize(image, mask, scaled_size(mask.shape, length))
    if augmentation.flip:
        assert random is not None
        if random.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
    if augmentation.window:
        # An image larger than the crop is cut at random; a smaller one is placed in it at random.
        assert random is not None
        spare = [side - wanted for side, wanted in zip(mask.shape, augmentation.window, strict=True)]
        shift = [int(random.integers(0, abs(more) + 1)) for more in spare]
        top, left = (by if more > 0 else 0 for by, more in zip(shift, spare, strict=True))
        height, width = augmentation.window
        image, mask = (part[top : top + height, left : left + width] for part in (image, mask))
        down, right = (by if more < 0 else 0 for by, more in zip(shift, spare, strict=True))
        image, mask = frame(image, mask, augmentation.window, (down, right))
    return image, mask
