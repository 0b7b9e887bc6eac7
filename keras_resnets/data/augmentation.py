"""What happens to images: random pads, crops, flips and colours in training, centre crops in tests."""

from __future__ import annotations

from dataclasses import dataclass

from keras_resnets.errors import ArgumentError, one_of


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image, every time it is seen.

    Args:
        pad: pixels added on each side before a random crop back to the old size.
        pad_mode: `"zeros"` (He et al. 2015, after normalisation) or `"reflect"` (Wide ResNets).
        flip: mirror left and right at random.
        resized_crop: cut a random 8-100 % of the area at a ratio of 3/4 to 4/3 and resize it.
        color: strength of random brightness, contrast and saturation; 0 for none.
    """

    pad: int = 0
    pad_mode: str = "zeros"
    flip: bool = False
    resized_crop: bool = False
    color: float = 0.0

    def __post_init__(self) -> None:
        one_of("pad_mode", self.pad_mode, ("zeros", "reflect"))
        if self.pad < 0:
            raise ArgumentError(f"pad must be at least 0 pixels; got {self.pad!r}.")
        if not 0 <= self.color < 1:
            raise ArgumentError(f"color must be a number from 0 up to, not including, 1; got {self.color!r}.")
        if self.color and not self.resized_crop:
            raise ArgumentError(f"color is part of resized_crop; got color {self.color!r} without resized_crop=True.")


def augment(images, augmentation: Augmentation, seed):
    """Pads, crops and flips a batch; the same seed gives the same result.

    Args:
        images: a float batch, (examples, height, width, channels).
        augmentation: what to do.
        seed: a pair of whole numbers.
    """
    import tensorflow as tf

    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    if augmentation.pad:
        pad = augmentation.pad
        mode = "REFLECT" if augmentation.pad_mode == "reflect" else "CONSTANT"
        images = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]], mode)
        corner = tf.random.stateless_uniform([2, count, 1], tf.random.fold_in(seed, 1), 0, 2 * pad + 1, "int32")
        images = tf.gather(images, corner[0] + tf.range(height), axis=1, batch_dims=1)
        images = tf.gather(images, corner[1] + tf.range(width), axis=2, batch_dims=1)
    if augmentation.flip:
        mirrored = tf.random.stateless_uniform([count, 1, 1, 1], tf.random.fold_in(seed, 2)) < 0.5
        images = tf.where(mirrored, tf.reverse(images, [2]), images)
    return images


def center_crop(image, size):
    """Resizes the shorter side to 8/7 of the target and cuts the centre (256 for 224, He et al. 2015)."""
    import tensorflow as tf

    shape = tf.cast(tf.shape(image)[:2], "float32")
    scale = tf.cast(size[0] * 8 // 7, "float32") / tf.reduce_min(shape)
    image = tf.image.resize(tf.cast(image, "float32"), tf.cast(tf.round(shape * scale), "int32"), antialias=True)
    image = tf.image.resize_with_crop_or_pad(image, *size)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), "uint8")


def resized_crop(image, size, augmentation: Augmentation, seed):
    import tensorflow as tf

    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros([0, 0, 4]),
        tf.random.fold_in(seed, 1),
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    channels = image.shape[-1]
    image = tf.image.resize(tf.cast(tf.slice(image, begin, extent), "float32"), size, antialias=True)
    image.set_shape((*size, channels))
    if augmentation.color:
        low, high = 1 - augmentation.color, 1 + augmentation.color
        factor = tf.random.stateless_uniform([3], tf.random.fold_in(seed, 2), low, high)
        image = image * factor[0]
        gray = tf.image.rgb_to_grayscale(image) if channels == 3 else image
        image = (image - tf.reduce_mean(gray)) * factor[1] + tf.reduce_mean(gray)
        image = (image - gray) * factor[2] + gray
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), "uint8")
