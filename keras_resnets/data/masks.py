"""Reads images with a label for each pixel: from tensorflow-datasets or folders of images and masks."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_resnets.data import folders, labels, pictures, sources
from keras_resnets.data.folders import Notes
from keras_resnets.data.indexed import Pictures
from keras_resnets.data.labels import VOC, Labels
from keras_resnets.data.pictures import Picture
from keras_resnets.errors import ArgumentError, listed

# Names of an image and its mask in the builders of tensorflow-datasets.
IMAGES = ("image", "image_left")
MASKS = ("segmentation_mask", "segmentation_label")


def tensorflow_datasets(name: str, data_dir, download: bool):
    """Reads a set of tensorflow-datasets with masks; returns its splits, `Labels`, shape, and nothing to tell."""
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
    return splits, classes, shape, None


def folder(path: Path):
    """Reads a folder of images and masks; returns splits, `Labels`, the images' shape (None if they differ), `Notes`.

    The layout is that of PASCAL VOC, or `train/images`, `train/masks` and so on. Each mask is read once, so that a
    damaged one is refused before training.
    """
    # The files, and the classes.
    notes = Notes(path)
    files, classes = _list_files(path, notes)
    list_of_classes = path / "classes.txt"
    if list_of_classes.is_file():
        classes = Labels(tuple(folders.lines_of(list_of_classes)), test=classes.test)
    names = classes.names
    if not 0 < len(names) < labels.UNKNOWN or len(set(names)) < len(names):
        raise ArgumentError(
            f"{str(list_of_classes)!r} must have from 1 to {labels.UNKNOWN - 1} different names of classes, one per "
            f"line; got {len(names)}, {len(set(names))} of them different."
        )
    if "test" in files:
        classes = dataclasses.replace(classes, test="test")

    # Every image and mask is checked here.
    sizes, shapes = {}, set()
    for split, pairs in files.items():
        sizes[split] = pictures.inspect([image for image, _ in pairs])
        notes.remarks.update(picture.remark for picture in sizes[split] if picture.remark)
        with ThreadPoolExecutor() as pool:
            check = functools.partial(_check_pair, classes=len(names))
            present = set().union(*pool.map(check, pairs, sizes[split]))
        masks_of = [hashlib.blake2b(mask.read_bytes(), digest_size=16).hexdigest() for _, mask in pairs]
        notes.fingerprint(split, [image for image, _ in pairs], masks_of, (picture.digest for picture in sizes[split]))
        shapes |= {picture.size for picture in sizes[split]}
        absent = [f"{number} ({name})" for number, name in enumerate(names) if number not in present]
        if absent and split == "train" and list_of_classes.is_file():
            raise ArgumentError(
                f"{str(list_of_classes)!r} must name classes that have a pixel in the masks of the training split, and "
                f"{listed(absent)} has none; masks hold the numbers of the classes, from 0, and "
                f"{labels.IGNORE} where there is no label."
            )
        if absent:
            notes.remarks[f"classes without a pixel in {split} ({listed(absent)})"] = len(absent)
    shape = (*(shapes.pop() if len(shapes) == 1 else (None, None)), 3)

    splits = {}
    for split, pairs in files.items():
        # Shuffled once, as other folders are, so that the first examples are a random sample.
        order = np.random.default_rng(0).permutation(len(pairs))
        images, masks = zip(*(pairs[i] for i in order), strict=True)

        def get(i, images=images, masks=masks):
            return pictures.decoded(images[i]), read_mask(masks[i])

        splits[split] = sources.in_memory(Pictures(len(pairs), get), shape)
    return splits, classes, shape, notes


def _list_files(path: Path, notes: Notes) -> tuple[dict[str, list[tuple[Path, Path]]], Labels]:
    """Returns image and mask of each example, by split, and the classes to assume without a `classes.txt`."""
    lists = path / "ImageSets" / "Segmentation"
    files = {}
    if lists.is_dir():
        images, masks = (folders.by_stem(path / name, notes) for name in ("JPEGImages", "SegmentationClass"))
        for split, short in (("train", "train"), ("validation", "val"), ("test", "test")):
            names = lists / f"{short}.txt"
            stems = folders.lines_of(names) if names.is_file() else []
            if split == "test" and not any(stem in masks for stem in stems):
                continue
            for stem in stems:
                if stem not in images:
                    raise ArgumentError(
                        f"There is no image {stem!r} in {str(path / 'JPEGImages')!r}, which {str(names)!r} lists."
                    )
            if stems:
                notes.origins[split] = names
                files[split] = _pairs(stems, images, masks, path / "SegmentationClass")
    else:
        roots = folders.splits(path, lambda entry: (entry / "images").is_dir(), notes)
        if not roots:
            roots = {"train": path}
        for split, root in roots.items():
            images, masks = (folders.by_stem(root / name, notes) for name in ("images", "masks"))
            if lonely := masks.keys() - images.keys():
                notes.left_out[f"masks of {split} without an image"] += len(lonely)
            if images:
                notes.origins[split] = root
                files[split] = _pairs(sorted(images), images, masks, root / "masks")
    if "train" not in files:
        raise FileNotFoundError(
            f"There are no images to train on in {str(path)!r}; it needs 'train/images' and 'train/masks', or "
            f"'JPEGImages', 'SegmentationClass' and 'ImageSets/Segmentation/train.txt'."
        )
    return files, VOC if lists.is_dir() else Labels(())


def _pairs(stems: Iterable[str], images: dict[str, Path], masks: dict[str, Path], folder: Path):
    """Returns image and mask of each name; an absent mask by the name that it should have."""
    return [(images[stem], masks.get(stem, folder / f"{stem}.png")) for stem in stems]


def read_mask(file) -> np.ndarray:
    """Reads the numbers in a PNG, (height, width): of a palette PNG its indices, which TensorFlow would convert."""
    from PIL import Image

    with Image.open(file) as mask:
        return np.asarray(mask, "uint8")


def _check_pair(pair: tuple[Path, Path], picture: Picture, classes: int) -> set[int]:
    """Checks a mask against its image; returns the classes in it."""
    from PIL import Image

    image, mask = pair
    if not mask.is_file():
        raise ArgumentError(f"There is no mask {str(mask)!r} for {str(image)!r}; add it, or remove the image.")
    try:
        with Image.open(mask) as opened:
            size, mode = opened.size[::-1], opened.mode
            numbers = np.unique(np.asarray(opened))
    except (OSError, SyntaxError) as error:
        raise ArgumentError(f"{str(mask)!r} is not an image that can be read; repair or remove it.") from error
    if mode not in ("P", "L", "1"):
        raise ArgumentError(f"{str(mask)!r} must hold a number for each pixel, as grey or palette PNGs do; got {mode}.")
    if size != picture.size:
        (height, width), remark = picture.size, f", {picture.remark}" if picture.remark else ""
        raise ArgumentError(
            f"{str(mask)!r} must be as large as its image, {width}x{height}{remark}; got {size[1]}x{size[0]}."
        )
    wrong = numbers[(numbers >= classes) & (numbers != labels.IGNORE)]
    if len(wrong):
        raise ArgumentError(
            f"{str(mask)!r} must have labels from 0 to {classes - 1}, or {labels.IGNORE} for none; got {wrong[0]}."
        )
    return set(numbers.tolist())
