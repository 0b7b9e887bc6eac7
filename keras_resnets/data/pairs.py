"""What happens to an image and the mask of its pixels together: scale, flip, crop, a border."""

from __future__ import annotations

from keras_resnets.data.augmentation import Augmentation, jitter
from keras_resnets.data.labels import IGNORE


def resize(image, mask, size):
    """Brings both to a size: the image averaged where it shrinks, else by straight lines; the mask by nearest pixel.

    Args:
        image: (height, width, channels), float.
        mask: (height, width), whole numbers.
        size: height and width wanted.
    """
    import tensorflow as tf

    image = tf.image.resize(image, size, antialias=True)
    return image, tf.image.resize(mask[..., None], size, "nearest")[..., 0]


def scaled_size(shape, longer):
    """Height and width of an image when its longer side has been brought to a length."""
    import tensorflow as tf

    sides = tf.cast(shape[:2], "float32")
    return tf.maximum(tf.cast(tf.round(sides * (longer / tf.reduce_max(sides))), "int32"), 1)


def frame(image, mask, size, corner=(0, 0)):
    """Puts both into a larger frame of zeros, and of pixels that are ignored.

    Args:
        image: (height, width, channels), normalised, so that zero is the mean.
        mask: (height, width).
        size: height and width of the frame, at least the image's.
        corner: row and column of the frame where the image begins.
    """
    import tensorflow as tf

    after = tf.stack(size) - tf.shape(mask) - corner
    edges = tf.stack([tf.stack(corner), after], axis=1)
    return tf.pad(image, tf.pad(edges, [[0, 1], [0, 0]])), tf.pad(mask, edges, constant_values=IGNORE)


def recolored(image, augmentation: Augmentation, seed):
    """A raw image in random brightness, contrast and saturation."""
    import tensorflow as tf

    return tf.clip_by_value(jitter(tf.cast(image, "float32"), augmentation.color, tf.random.fold_in(seed, 1)), 0, 255)


def window(image, mask, augmentation: Augmentation, longer, seed):
    """Scales, mirrors and crops both alike; the same seed gives the same result.

    Args:
        image: (height, width, channels), normalised, so that zero is the mean.
        mask: (height, width).
        augmentation: what to do.
        longer: the length that the image's longer side is brought to, before random scaling; None for its own.
        seed: a pair of whole numbers.
    """
    import tensorflow as tf

    if longer is not None or augmentation.scale:
        length = tf.cast(tf.reduce_max(tf.shape(mask)) if longer is None else longer, "float32")
        if augmentation.scale:
            length *= tf.random.stateless_uniform([], tf.random.fold_in(seed, 2), *augmentation.scale)
        image, mask = resize(image, mask, scaled_size(tf.shape(mask), length))
    if augmentation.flip:
        mirrored = tf.random.stateless_uniform([], tf.random.fold_in(seed, 3)) < 0.5
        image = tf.where(mirrored, tf.reverse(image, [1]), image)
        mask = tf.where(mirrored, tf.reverse(mask, [1]), mask)
    if augmentation.window:
        # Where the image is larger than the crop, a random part of it; where smaller, at a random place within.
        spare = tf.shape(mask) - augmentation.window
        drawn = tf.random.stateless_uniform([2], tf.random.fold_in(seed, 4))
        shift = tf.cast(tf.floor(drawn * tf.cast(tf.abs(spare) + 1, "float32")), "int32")
        start, extent = tf.where(spare > 0, shift, 0), tf.minimum(tf.shape(mask), augmentation.window)
        image = tf.slice(image, tf.pad(start, [[0, 1]]), tf.pad(extent, [[0, 1]], constant_values=-1))
        mask = tf.slice(mask, start, extent)
        image, mask = frame(image, mask, augmentation.window, tf.where(spare < 0, shift, 0))
    return image, mask
