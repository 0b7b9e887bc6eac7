"""Signatures of a SavedModel that take pictures of any size, so that a server needs no code of its own for images."""

from __future__ import annotations

from typing import Any

from keras_resnets.architecture.preprocessing import Preprocessing, Resizing
from keras_resnets.data.resizing import LUMA
from keras_resnets.export.carried import Carried
from keras_resnets.export.inference import Inference

# The name of each signature, and that of its input.
PICTURES, FILES = ("serving_pictures", "pictures"), ("serving_files", "image_bytes")


def from_pictures(served: Inference, serve) -> dict[str, Any]:
    """Returns the signatures of a classifier that take pictures: none if it is not known how these become its inputs.

    `serving_pictures` takes a batch of pictures of one size as `pictures`, uint8 in (examples, height, width, 3).
    `serving_files` takes the contents of PNG, JPEG, BMP or GIF files as `image_bytes`, each of a size of its own, as
    TensorFlow decodes them: without turning them as EXIF data say. Both return `probabilities`, the number of the most
    probable `class`, and its `name` if names are known.

    Args:
        served: the network.
        serve: its TensorFlow function, which both call.
    """
    import tensorflow as tf

    carried, (_, shape, dtype) = Carried.of(served), served.input
    steps = carried.preprocessing
    outputs = served.network.output_shape
    if steps is None or steps.resizing is None or steps.white is None or len(shape) != 3 or shape[2] not in (1, 3):
        return {}
    size = (*(steps.resizing.size or shape[:2]), shape[2])
    if None in size or len(outputs) != 2:
        return {}
    if carried.end not in ("softmax", "linear", "sigmoid") or (outputs[1] == 1 and carried.end != "sigmoid"):
        return {}

    def answer(raw):
        scores = serve(tf.cast(raw if carried.inside else steps(raw), dtype))
        if carried.end == "sigmoid" and outputs[1] == 1:
            scores = tf.concat([1 - scores, scores], 1)
        probabilities = tf.nn.softmax(scores) if carried.end == "linear" else scores
        answers = {"probabilities": probabilities, "class": tf.argmax(probabilities, 1)}
        if carried.class_names is not None:
            answers["name"] = tf.gather(tf.constant(carried.class_names), answers["class"])
        return answers

    def decoded(content):
        # Both of the other ways that TensorFlow decodes a JPEG give other pixels than Pillow, which training uses.
        picture = tf.cond(
            tf.io.is_jpeg(content),
            lambda: tf.io.decode_jpeg(content, 3, dct_method="INTEGER_ACCURATE"),
            lambda: tf.io.decode_image(content, 3, expand_animations=False),
        )
        return raw_images(tf.ensure_shape(picture, (None, None, 3))[None], steps, shape)[0]

    def files(image_bytes):
        return answer(tf.map_fn(decoded, image_bytes, fn_output_signature=tf.TensorSpec(size, "float32")))

    pictures = tf.TensorSpec((None, None, None, 3), "uint8", PICTURES[1])
    return {
        PICTURES[0]: tf.function(lambda pictures: answer(raw_images(pictures, steps, shape)), [pictures]),
        FILES[0]: tf.function(files, [tf.TensorSpec((None,), "string", FILES[1])]),
    }


def raw_images(pictures, preprocessing: Preprocessing, shape: tuple[int | None, ...]):
    """As `keras_resnets.data.resizing.raw_image`, of a batch of pictures of one size, which a graph may not know."""
    import tensorflow as tf

    height, width, channels = shape
    assert preprocessing.resizing is not None
    assert preprocessing.white is not None
    size = preprocessing.resizing.size or (height, width)
    images = resized(pictures, preprocessing.resizing, size)  # type: ignore[arg-type]
    if (images.shape[-1], channels) == (3, 1):
        grey = tf.reduce_sum(tf.cast(images, "float32") * LUMA, -1, keepdims=True)
        images = tf.cast(tf.round(grey), "uint8")
    return tf.cast(images, "float32") * (preprocessing.white / 255)


def resized(pictures, resizing: Resizing, size: tuple[int, int]):
    """As `keras_resnets.data.resizing.resized`, of a batch of pictures of one size."""
    import tensorflow as tf

    size = resizing.size or size
    picture = tf.cast(tf.shape(pictures)[-3:-1], "float32")
    # As `Resizing.scaled`.
    factor = tf.reduce_max(tf.cast(resizing.enlarged(size), "float32") / picture)
    scaled = size if resizing.stretch else tf.maximum(size, tf.cast(tf.round(picture * factor), "int32"))
    images = tf.image.resize(tf.cast(pictures, "float32"), scaled, resizing.interpolation, antialias=True)
    images = tf.image.resize_with_crop_or_pad(images, *size)
    return tf.cast(tf.clip_by_value(tf.round(images), 0, 255), "uint8")
