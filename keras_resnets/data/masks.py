"""Reads images with a label for each pixel: from tensorflow-datasets or folders of images and masks."""

from __future__ import annotations

import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_resnets.data import labels, sources
from keras_resnets.data.labels import VOC, Labels
from keras_resnets.errors import ArgumentError

# Names of an image and its mask in the builders of tensorflow-datasets.
IMAGES = ("image", "image_left")
MASKS = ("segmentation_mask", "segmentation_label")


def tensorflow_datasets(name: str, data_dir, download: bool):
    """Reads a set of tensorflow-datasets with masks; returns its splits, its `Labels` and the shape of its images."""
    # Where the set has images and masks, and what the masks' numbers mean.
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
    classes = labels.KNOWN.get(builder.name) or Labels(tuple(getattr(features[mask], "names", ())))
    if not classes.names:
        raise ArgumentError(
            f"The data set {name!r} does not say how many classes its masks have; write it as a folder of images and "
            f"masks with a classes.txt."
        )
    lookup = tf.constant(classes.lookup())
    refusal = f"The data set {name!r} has pixels whose number is none of its classes; repair it."

    def decode(picture, numbers):
        pixels = tf.gather(lookup, tf.cast(features[mask].decode_example(numbers)[..., 0], "int32"))
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(pixels != labels.UNKNOWN), [refusal])]):
            return features[image].decode_example(picture), tf.identity(pixels)

    # Examples are decoded after shuffling, so that the shuffle buffer holds files instead of pixels.
    raw = {key: tfds.decode.SkipDecoding() for key in (image, mask)}
    sets = builder.as_dataset(shuffle_files=False, decoders=tfds.decode.PartialDecoding(dict.fromkeys(raw, True), raw))
    shape = features[image].shape
    if "train" not in sets:
        raise ArgumentError(f"The data set {name!r} has no training split; it has {sorted(sets)}.")

    # Each split, in memory if it fits.
    splits = {}
    for split in (split for split in ("train", "validation", "test") if split in sets):
        files = sets[split].map(lambda item: (item[image], item[mask]))
        stream = sources.Stream(files, builder.info.splits[split].num_examples, decode)
        try:
            splits[split] = sources.in_memory(stream, shape)
        except tf.errors.InvalidArgumentError as error:
            # TensorFlow escapes the quotation marks of the message.
            if refusal in error.message.replace("\\", ""):
                raise ArgumentError(refusal) from error
            raise
    return splits, classes, shape


def folder(path: Path):
    """Reads a folder of images and masks; returns splits, `Labels` and the images' shape, None where they differ.

    The layout is that of PASCAL VOC, or `train/images`, `train/masks` and so on. Each mask is read once, so that a
    damaged one is refused before training.
    """
    import tensorflow as tf

    # The files, and the classes.
    files, classes = _list_files(path)
    list_of_classes = path / "classes.txt"
    if list_of_classes.is_file():
        names = tuple(line.strip() for line in list_of_classes.read_text().splitlines() if line.strip())
        classes = Labels(names, test=classes.test)
    if not 0 < len(classes.names) < labels.UNKNOWN:
        raise ArgumentError(
            f"{str(list_of_classes)!r} must have from 1 to {labels.UNKNOWN - 1} names of classes, one per line; got "
            f"{len(classes.names)}."
        )
    if "test" in files:
        classes = dataclasses.replace(classes, test="test")

    def read(image, mask):
        pixels = tf.numpy_function(read_mask, [mask], "uint8", stateful=False)
        pixels.set_shape((None, None))
        return sources.decode(image), pixels

    # Every mask is checked here.
    with ThreadPoolExecutor() as pool:
        check = functools.partial(_check_pair, classes=len(classes.names))
        sizes = {size for pairs in files.values() for size in pool.map(check, pairs)}
    shape = (*(sizes.pop() if len(sizes) == 1 else (None, None)), 3)

    splits = {}
    for split, pairs in files.items():
        # Shuffled once, as other folders are, so that the first examples are a random sample.
        mixed = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
        dataset = tf.data.Dataset.from_tensor_slices(
            tuple(list(map(str, column)) for column in zip(*mixed, strict=True))
        )
        splits[split] = sources.in_memory(sources.Stream(dataset, len(pairs), read), shape)
    return splits, classes, shape


def _list_files(path: Path) -> tuple[dict[str, list[tuple[Path, Path]]], Labels]:
    """Returns image and mask of each example, by split, and the classes to assume without a `classes.txt`."""
    lists = path / "ImageSets" / "Segmentation"
    files = {}
    for split, short in (("train", "train"), ("validation", "val"), ("test", "test")):
        if lists.is_dir():
            images, masks, names = path / "JPEGImages", path / "SegmentationClass", lists / f"{short}.txt"
            stems = names.read_text().split() if names.is_file() else []
            if split == "test" and not any((masks / f"{stem}.png").is_file() for stem in stems):
                continue
        else:
            root = next((path / name for name in (split, short) if (path / name).is_dir()), path)
            images, masks = root / "images", root / "masks"
            stems = [] if root == path and split != "train" else sorted(_images(images))
        if stems:
            by_stem = _images(images)
            for stem in stems:
                if stem not in by_stem:
                    raise ArgumentError(f"There is no image {stem!r} in {str(images)!r}, which {str(names)!r} lists.")
            files[split] = [(by_stem[stem], masks / f"{stem}.png") for stem in stems]
    if "train" not in files:
        raise FileNotFoundError(
            f"There are no images to train on in {str(path)!r}; it needs 'train/images' and 'train/masks', or "
            f"'JPEGImages', 'SegmentationClass' and 'ImageSets/Segmentation/train.txt'."
        )
    return files, VOC if lists.is_dir() else Labels(())


def _images(path: Path) -> dict[str, Path]:
    """Returns the images of a folder, by their names without suffix."""
    return {file.stem: file for file in path.glob("*") if file.suffix.lower() in sources.IMAGE_SUFFIXES}


def read_mask(file) -> np.ndarray:
    """Reads the numbers in a PNG, (height, width): of a palette PNG its indices, which TensorFlow would convert."""
    from PIL import Image

    with Image.open(file) as mask:
        return np.asarray(mask, "uint8")


def _check_pair(pair: tuple[Path, Path], classes: int) -> tuple[int, int]:
    """Checks an image and its mask; returns their height and width."""
    from PIL import Image

    image, mask = pair
    if not mask.is_file():
        raise ArgumentError(f"There is no mask {str(mask)!r} for {str(image)!r}; add it, or remove the image.")
    for file in pair:
        try:
            with Image.open(file) as opened:
                size, mode = opened.size, opened.mode
                # Of an image only the header is read; a mask is read completely.
                numbers = np.unique(np.asarray(opened)) if file == mask else np.empty(0)
        except (OSError, SyntaxError) as error:
            raise ArgumentError(f"{str(file)!r} is not an image that can be read; repair or remove it.") from error
        if file == image:
            image_size = size
    if mode not in ("P", "L", "1"):
        raise ArgumentError(f"{str(mask)!r} must hold a number for each pixel, as grey or palette PNGs do; got {mode}.")
    if size != image_size:
        raise ArgumentError(
            f"{str(mask)!r} must be as large as its image, {image_size[0]}x{image_size[1]}; got {size[0]}x{size[1]}."
        )
    wrong = numbers[(numbers >= classes) & (numbers != labels.IGNORE)]
    if len(wrong):
        raise ArgumentError(
            f"{str(mask)!r} must have labels from 0 to {classes - 1}, or {labels.IGNORE} for none; got {wrong[0]}."
        )
    return size[::-1]
