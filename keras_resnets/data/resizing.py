"""Brings decoded pictures of any size to the images of a network, in one way for training, prediction and serving."""

from __future__ import annotations

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


def resized(pictures, resizing: Resizing, size: tuple[int, int]):
    """Brings pictures of one size to the size of a network's images: scaled, smoothed against aliasing, and cut.

    Args:
        pictures: a TensorFlow tensor of whole numbers from 0 to 255, (height, width, channels), or a batch of them.
            Height and width may be unknown while a function is traced.
        resizing: how; its `size` goes before the argument.
        size: height and width of the network's images.

    Returns:
        A tensor of uint8 of that height and width.

    Example:
        >>> import numpy as np
        >>> from keras_resnets.data.resizing import OF_IMAGE_SIZE, resized
        >>> resized(np.zeros((300, 500, 3), "uint8"), OF_IMAGE_SIZE, (224, 224)).shape.as_list()
        [224, 224, 3]
    """
    import tensorflow as tf

    size = resizing.size or size
    picture = tf.cast(tf.shape(pictures)[-3:-1], "float32")
    # As `Resizing.scaled`, whose sizes may be unknown here.
    factor = tf.reduce_max(tf.cast(resizing.enlarged(size), "float32") / picture)
    scaled = size if resizing.stretch else tf.maximum(size, tf.cast(tf.round(picture * factor), "int32"))
    images = tf.image.resize(tf.cast(pictures, "float32"), scaled, resizing.interpolation, antialias=True)
    images = tf.image.resize_with_crop_or_pad(images, *size)
    return tf.cast(tf.clip_by_value(tf.round(images), 0, 255), "uint8")


def raw_images(pictures, preprocessing: Preprocessing, shape: tuple[int | None, ...]):
    """Brings pictures of one size to the raw images of a network, which its `Preprocessing` takes.

    Args:
        pictures: a batch of pictures, as for `resized`.
        preprocessing: the network's, with a `resizing` and a `white`.
        shape: height, width and channels of the network's inputs; height and width may be None where `resizing` says
            them.

    Returns:
        A tensor of float32, (examples, height, width, channels), in which white is the network's.
    """
    import tensorflow as tf

    height, width, channels = shape
    assert preprocessing.resizing is not None
    assert preprocessing.white is not None
    size = preprocessing.resizing.size or (height, width)
    images = in_channels(resized(pictures, preprocessing.resizing, size), channels)  # type: ignore[arg-type]
    return tf.cast(images, "float32") * (preprocessing.white / 255)


def in_channels(images, channels: int):
    """Converts pictures to the channels of a network: colours to grey, by `LUMA`, and grey to colours.

    Args:
        images: a tensor of uint8, (..., channels).
        channels: 1 or 3.

    Raises:
        ArgumentError: the numbers of channels are others.
    """
    import tensorflow as tf

    found = images.shape[-1]
    if found == channels:
        return images
    if (found, channels) == (3, 1):
        grey = tf.reduce_sum(tf.cast(images, "float32") * LUMA, -1, keepdims=True)
        return tf.cast(tf.round(grey), "uint8")
    if (found, channels) == (1, 3):
        return tf.repeat(images, 3, -1)
    raise ArgumentError(
        f"images must have the {channels} channels of the network's inputs, and pictures have 3, or 1 in grey; got "
        f"{found}. Give arrays of {channels} channels."
    )
