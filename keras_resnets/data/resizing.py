"""Brings decoded pictures of any size to the images of a network, in one way for training and prediction.

`export/serving.py` has the same for TensorFlow's graphs, in which a picture's size is not known.
"""

from __future__ import annotations

import numpy as np

from keras_resnets.architecture.preprocessing import Preprocessing, Resizing
from keras_resnets.errors import ArgumentError

# Of folders, and of sets with an image_size: 256 for 224, He et al. 2015, section 3.4.
OF_IMAGE_SIZE = Resizing(0.875)
# Of sets whose images have one size and are not resized: such images stay what they are; others are scaled until they
# cover the network's image, of which nothing is cut from a square.
OF_NATIVE_SIZE = Resizing(1.0)
# Shares of red, green and blue in a grey picture (ITU-R BT.601), those of Pillow's mode "L".
LUMA = (0.299, 0.587, 0.114)


def resizing_of(task: str, image_size: int | None) -> Resizing | None:
    """Returns how training and evaluation bring the pictures of a set to a network's size.

    Args:
        task: `"classification"` or `"segmentation"`, where pictures keep their size, so that there is none.
        image_size: as for `keras_resnets.data.load`.
    """
    if task != "classification":
        return None
    return OF_IMAGE_SIZE if image_size else OF_NATIVE_SIZE


def scaled(picture: np.ndarray, size: tuple[int, int], interpolation: str = "bilinear") -> np.ndarray:
    """Scales a picture in single precision, smoothed against aliasing where it shrinks.

    Args:
        picture: (height, width, channels).
        size: the new height and width.
        interpolation: `"bilinear"` or `"bicubic"`.

    Example:
        >>> import numpy as np
        >>> from keras_resnets.data.resizing import scaled
        >>> scaled(np.arange(4).reshape(1, 4, 1), (1, 2)).ravel()  # over a width of four pixels
        array([0.71428573, 2.2857144 ], dtype=float32)
    """
    from PIL import Image

    picture = picture.astype("float32")
    if picture.shape[:2] == tuple(size):
        return picture
    how = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    # Pillow rounds after each of two passes, except in single precision, which it has for one channel at a time.
    channels = [Image.fromarray(np.ascontiguousarray(one)) for one in np.moveaxis(picture, -1, 0)]
    return np.stack([np.asarray(one.resize((size[1], size[0]), how)) for one in channels], -1)


def resized(picture: np.ndarray, resizing: Resizing, size: tuple[int, int]) -> np.ndarray:
    """Brings a picture to the size of a network's images: scaled, smoothed against aliasing, and cut.

    Args:
        picture: whole numbers from 0 to 255, (height, width, channels).
        resizing: how; its `size` goes before the argument.
        size: height and width of the network's images.

    Returns:
        An array of uint8 of that height and width.

    Example:
        >>> import numpy as np
        >>> from keras_resnets.data.resizing import OF_IMAGE_SIZE, resized
        >>> resized(np.zeros((300, 500, 3), "uint8"), OF_IMAGE_SIZE, (224, 224)).shape
        (224, 224, 3)
    """
    size = resizing.size or size
    height, width = picture.shape[:2]
    image = scaled(picture, resizing.scaled((height, width), size), resizing.interpolation)
    top, left = ((have - want) // 2 for have, want in zip(image.shape[:2], size, strict=True))
    return to_bytes(image[top : top + size[0], left : left + size[1]])


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Rounds pixels to whole numbers from 0 to 255."""
    return np.clip(np.rint(image), 0, 255).astype("uint8")


def raw_image(picture: np.ndarray, preprocessing: Preprocessing, shape: tuple[int | None, ...]) -> np.ndarray:
    """Brings a picture to the raw image of a network, which its `Preprocessing` takes.

    Args:
        picture: as for `resized`.
        preprocessing: the network's, with a `resizing` and a `white`.
        shape: height, width and channels of the network's inputs; height and width may be None where `resizing` says
            them.

    Returns:
        An array of float32, (height, width, channels), in which white is the network's.
    """
    height, width, channels = shape
    assert preprocessing.resizing is not None
    assert preprocessing.white is not None
    size = preprocessing.resizing.size or (height, width)
    image = in_channels(resized(picture, preprocessing.resizing, size), channels)  # type: ignore[arg-type]
    return image.astype("float32") * np.float32(preprocessing.white / 255)


def in_channels(image: np.ndarray, channels: int | None) -> np.ndarray:
    """Converts a picture to the channels of a network: colours to grey, by `LUMA`, and grey to colours.

    Args:
        image: uint8, (..., channels).
        channels: 1 or 3.

    Raises:
        ArgumentError: the numbers of channels are others.
    """
    found = image.shape[-1]
    if found == channels:
        return image
    if (found, channels) == (3, 1):
        return np.rint((image.astype("float32") * np.array(LUMA, "float32")).sum(-1, keepdims=True)).astype("uint8")
    if (found, channels) == (1, 3):
        return np.repeat(image, 3, -1)
    raise ArgumentError(
        f"images must have the {channels} channels of the network's inputs, and pictures have 3, or 1 in grey; got "
        f"{found}. Give arrays of {channels} channels."
    )
