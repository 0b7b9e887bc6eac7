"""Where images with a label for each pixel come from: tensorflow-datasets, folders of images and masks."""

from __future__ import annotations

from keras_resnets.data import labels, sources
from keras_resnets.errors import ArgumentError

# What the builders of tensorflow-datasets call an image and its mask.
IMAGES = ("image", "image_left")
MASKS = ("segmentation_mask", "segmentation_label")


def tensorflow_datasets(name: str, data_dir, download: bool):
    """A set of tensorflow-datasets with a mask for each image; returns its splits and its `Labels`."""
    builder = sources.prepared(name, data_dir, download)
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = builder.info.features
    image, mask = (next((key for key in keys if key in features), None) for keys in (IMAGES, MASKS))
    if image is None or mask is None or features[mask].shape[-1] != 1:
        raise ArgumentError(
            f"The data set {name!r} has no images with a label for each pixel; its features are {sorted(features)}. "
            f"Give one with {' or '.join(map(repr, IMAGES))} and {' or '.join(map(repr, MASKS))}."
        )
    known = labels.KNOWN.get(builder.name) or labels.Labels(tuple(getattr(features[mask], "names", ())))
    if not known.names:
        raise ArgumentError(
            f"The data set {name!r} does not say how many classes its masks have; write it as a folder of images and "
            f"masks with a classes.txt."
        )
    lookup = tf.constant(known.lookup())

    def decode(item):
        pixels = tf.cast(features[mask].decode_example(item[mask])[..., 0], "int32")
        return features[image].decode_example(item[image]), tf.gather(lookup, pixels)

    # Decoded after shuffling, so that its buffer holds files and not pictures.
    raw = {key: tfds.decode.SkipDecoding() for key in (image, mask)}
    sets = builder.as_dataset(shuffle_files=False, decoders=tfds.decode.PartialDecoding(dict.fromkeys(raw, True), raw))
    shape = features[image].shape
    splits = {}
    for split in ("train", "validation", "test"):
        if split in sets:
            count = builder.info.splits[split].num_examples
            splits[split] = checked(name, sources.in_memory(sources.Stream(sets[split], count, decode), shape))
    return splits, known


def checked(name: str, split):
    """Refuses a split in memory with a label that is none of the set's; a stream is checked as it is read."""
    if isinstance(split, sources.Arrays) and (split.labels.numpy() == labels.UNKNOWN).any():
        raise ArgumentError(f"The data set {name!r} has pixels with a number that is none of its classes; repair it.")
    return split
