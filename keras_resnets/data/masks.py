"""Where images with a label for each pixel come from: tensorflow-datasets, folders of images and masks."""

from __future__ import annotations

import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_resnets.data import labels, sources
from keras_resnets.data.labels import VOC, Labels
from keras_resnets.errors import ArgumentError

# What the builders of tensorflow-datasets call an image and its mask.
IMAGES = ("image", "image_left")
MASKS = ("segmentation_mask", "segmentation_label")


def tensorflow_datasets(name: str, data_dir, download: bool):
    """A set of tensorflow-datasets with masks; returns its splits, its `Labels` and the shape of its images."""
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
    known = labels.KNOWN.get(builder.name) or Labels(tuple(getattr(features[mask], "names", ())))
    if not known.names:
        raise ArgumentError(
            f"The data set {name!r} does not say how many classes its masks have; write it as a folder of images and "
            f"masks with a classes.txt."
        )
    lookup = tf.constant(known.lookup())
    refusal = f"The data set {name!r} has pixels with a number that is none of its classes; repair it."

    def decode(picture, numbers):
        pixels = tf.gather(lookup, tf.cast(features[mask].decode_example(numbers)[..., 0], "int32"))
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(pixels != labels.UNKNOWN), [refusal])]):
            return features[image].decode_example(picture), tf.identity(pixels)

    # Decoded after shuffling, so that its buffer holds files and not pictures.
    raw = {key: tfds.decode.SkipDecoding() for key in (image, mask)}
    sets = builder.as_dataset(shuffle_files=False, decoders=tfds.decode.PartialDecoding(dict.fromkeys(raw, True), raw))
    shape = features[image].shape
    splits = {}
    if "train" not in sets:
        raise ArgumentError(f"The data set {name!r} has no training split; it has {sorted(sets)}.")
    for split in (split for split in ("train", "validation", "test") if split in sets):
        files = sets[split].map(lambda item: (item[image], item[mask]))
        stream = sources.Stream(files, builder.info.splits[split].num_examples, decode)
        try:
            splits[split] = sources.in_memory(stream, shape)
        except tf.errors.InvalidArgumentError as error:
            # TensorFlow puts backslashes before the quotation marks of its sentence.
            if refusal in error.message.replace("\\", ""):
                raise ArgumentError(refusal) from error
            raise
    return splits, known, shape


def folder(path: Path):
    """A folder of images and masks; returns its splits, `Labels` and the shape of its images, None where they differ.

    It is laid out as PASCAL VOC is, or as `train/images` and `train/masks` and so on. Each mask is read once, to
    refuse what would stop a training half way.
    """
    import tensorflow as tf

    files, known = _listed(path)
    own = path / "classes.txt"
    if own.is_file():
        names = tuple(line.strip() for line in own.read_text().splitlines() if line.strip())
        known = Labels(names, test=known.test)
    if not 0 < len(known.names) < labels.UNKNOWN:
        raise ArgumentError(
            f"{str(own)!r} must have from 1 to {labels.UNKNOWN - 1} names of classes, one a line; got "
            f"{len(known.names)}."
        )
    if "test" in files:
        known = dataclasses.replace(known, test="test")

    def read(image, mask):
        pixels = tf.numpy_function(read_mask, [mask], "uint8", stateful=False)
        pixels.set_shape((None, None))
        return sources.decode(image), pixels

    with ThreadPoolExecutor() as pool:
        checked = functools.partial(_checked, classes=len(known.names))
        sizes = {size for pairs in files.values() for size in pool.map(checked, pairs)}
    shape = (*(sizes.pop() if len(sizes) == 1 else (None, None)), 3)
    splits = {}
    for split, pairs in files.items():
        # Mixed once, as other folders are, so that the first examples are any.
        mixed = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
        dataset = tf.data.Dataset.from_tensor_slices(
            tuple(list(map(str, column)) for column in zip(*mixed, strict=True))
        )
        splits[split] = sources.in_memory(sources.Stream(dataset, len(pairs), read), shape)
    return splits, known, shape


def _listed(path: Path) -> tuple[dict[str, list[tuple[Path, Path]]], Labels]:
    """The image and the mask of each example, by split, and what the masks mean if there is no `classes.txt`."""
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
            found = _images(images)
            for stem in stems:
                if stem not in found:
                    raise ArgumentError(f"There is no image {stem!r} in {str(images)!r}, which {str(names)!r} lists.")
            files[split] = [(found[stem], masks / f"{stem}.png") for stem in stems]
    if "train" not in files:
        raise FileNotFoundError(
            f"There are no images to train on in {str(path)!r}; it needs 'train/images' and 'train/masks', or "
            f"'JPEGImages', 'SegmentationClass' and 'ImageSets/Segmentation/train.txt'."
        )
    return files, VOC if lists.is_dir() else Labels(())


def _images(path: Path) -> dict[str, Path]:
    """The images of a folder, by their names without ending."""
    return {file.stem: file for file in path.glob("*") if file.suffix.lower() in sources.IMAGE_SUFFIXES}


def read_mask(file) -> np.ndarray:
    """The numbers in a PNG, (height, width); of one with a palette its indices, which TensorFlow would turn to grey."""
    from PIL import Image

    with Image.open(file) as mask:
        return np.asarray(mask, "uint8")


def _checked(pair: tuple[Path, Path], classes: int) -> tuple[int, int]:
    """Height and width of an example, or what is wrong with it."""
    from PIL import Image

    image, mask = pair
    if not mask.is_file():
        raise ArgumentError(f"There is no mask {str(mask)!r} for {str(image)!r}; add it, or remove the image.")
    for file in pair:
        try:
            with Image.open(file) as opened:
                size, mode = opened.size, opened.mode
                # Of an image the first bytes tell its size; a mask is read to its end.
                numbers = np.unique(np.asarray(opened)) if file == mask else np.empty(0)
        except (OSError, SyntaxError) as error:
            raise ArgumentError(f"{str(file)!r} is not an image that can be read; repair or remove it.") from error
        if file == image:
            wanted = size
    if mode not in ("P", "L", "1"):
        raise ArgumentError(f"{str(mask)!r} must hold a number for each pixel, as grey or palette PNGs do; got {mode}.")
    if size != wanted:
        raise ArgumentError(
            f"{str(mask)!r} must be as large as its image, {wanted[0]}x{wanted[1]}; got {size[0]}x{size[1]}."
        )
    wrong = numbers[(numbers >= classes) & (numbers != labels.IGNORE)]
    if len(wrong):
        raise ArgumentError(
            f"{str(mask)!r} must have labels from 0 to {classes - 1}, or {labels.IGNORE} for none; got {wrong[0]}."
        )
    return size[::-1]
