"""Changes an image together with its mask: scaling, flips, crops and padding."""

from __future__ import annotations

from keras_resnets.data.augmentation import Augmentation, jitter
from keras_resnets.data.labels import IGNORE


def resize(image, mask, size):
    """Resizes both: the image bilinearly, with antialiasing where it shrinks, the mask by nearest neighbour.

    Args:
        image: (height, width, channels), float.
        mask: (height, width), whole numbers.
        size: the new height and width.
    """
    import tensorflow as tf

    image = tf.image.resize(image, size, antialias=True)
    return image, tf.image.resize(mask[..., None], size, "nearest")[..., 0]


def scaled_size(shape, longer):
    """Returns height and width of an image whose longer side is scaled to a length."""
    import tensorflow as tf

    sides = tf.cast(shape[:2], "float32")
    return tf.maximum(tf.cast(tf.round(sides * (longer / tf.reduce_max(sides))), "int32"), 1)


def frame(image, mask, size, corner=(0, 0)):
    """Pads both to a larger frame: the image with zeros, the mask with the ignored label.

    Args:
        image: (height, width, channels), normalised, so that zero is the mean.
        mask: (height, width).
        size: height and width of the frame, at least the image's.
        corner: row and column of the image's corner in the frame.
    """
    import tensorflow as tf

    after = tf.stack(size) - tf.shape(mask) - corner
    edges = tf.stack([tf.stack(corner), after], axis=1)
    return tf.pad(image, tf.pad(edges, [[0, 1], [0, 0]])), tf.pad(mask, edges, constant_values=IGNORE)


def recolored(image, augmentation: Augmentation, seed):
    """Changes brightness, contrast and saturation of a raw image at random."""
    import tensorflow as tf

    return tf.clip_by_value(jitter(tf.cast(image, "float32"), augmentation.color, tf.random.fold_in(seed, 1)), 0, 255)


def window(image, mask, augmentation: Augmentation, longer, seed):
    """Scales, flips and crops both in the same way; the same seed gives the same result.

    Args:
        image: (height, width, channels), normalised, so that zero is the mean.
        mask: (height, width).
        augmentation: the changes to make.
        longer: the length to which the image's longer side is scaled before random scaling; None for its own.
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
        # An image larger than the crop is cut at random; a smaller one is placed in it at random.
        spare = tf.shape(mask) - augmentation.window
        drawn = tf.random.stateless_uniform([2], tf.random.fold_in(seed, 4))
        shift = tf.cast(tf.floor(drawn * tf.cast(tf.abs(spare) + 1, "float32")), "int32")
        start, extent = tf.where(spare > 0, shift, 0), tf.minimum(tf.shape(mask), augmentation.window)
        image = tf.slice(image, tf.pad(start, [[0, 1]]), tf.pad(extent, [[0, 1]], constant_values=-1))
        mask = tf.slice(mask, start, extent)
        image, mask = frame(image, mask, augmentation.window, tf.where(spare < 0, shift, 0))
    return image, mask
