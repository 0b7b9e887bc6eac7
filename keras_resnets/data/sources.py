"""Reads images with a class each: scikit-learn's digits, tensorflow-datasets, folders of images, arrays."""

from __future__ import annotations

import copy
import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.data import arrays, folders, pictures
from keras_resnets.data.augmentation import Augmentation, resized_crop
from keras_resnets.data.indexed import Arrays, Example, Pictures, draws, fitted
from keras_resnets.data.pictures import decoded
from keras_resnets.data.resizing import OF_IMAGE_SIZE, resized
from keras_resnets.errors import ArgumentError, needs

IN_MEMORY_BYTES = 2**30
WITHOUT_TENSORFLOW = (
    "Install it (pip install tensorflow tensorflow-datasets), or give 'digits', a folder of images, arrays or an .npz "
    "file, which do without."
)


class Stream:
    """A split read from disk by `tf.data`; shuffled through a buffer, with a different seed in every epoch.

    Args:
        dataset: images and labels.
        size: their number.
        decode: makes them of the data set's items, in TensorFlow; None if they are so already.
        evaluated: as of `Pictures`.
        trained: as of `Pictures`.
        shape: of the images that these two give.
    """

    def __init__(self, dataset, size: int, decode=None, evaluated=None, trained=None, shape=None):
        self.dataset, self.size, self.decode = dataset, size, decode
        self.evaluated, self.trained, self.shape = evaluated, trained, shape

    def batches(self, size: int, example: Example | None = None, frame=(None, None), drop: bool = False, draw=None):
        """Returns batches as `tf.data`: in stored order or, given a `draw`, shuffled.

        Args:
            size: examples in a batch.
            example: as of `Indexed.read`, for segmentation.
            frame: height and width of the images it gives.
            drop: whether to drop a last batch that is not full.
            draw: the seed, and a tensor of the epoch.
        """
        import tensorflow as tf

        def one(number, epoch, image, label):
            random = None if draw is None else draws(draw[0], int(epoch), 1, int(number))
            image = fitted(image, random, self.evaluated, self.trained)
            return (image, label) if example is None else example(image, label, random)

        def prepare(number, item):
            image, label = item if self.decode is None else self.decode(*item)
            if example is None:
                label = tf.cast(label, "int32")
                if self.shape is None:
                    return image, label
            types = (
                (image.dtype if self.shape is None else "uint8", label.dtype) if not example else ("float32", "int32")
            )
            given = [number, 0 if draw is None else draw[1], image, label]
            found = tf.numpy_function(one, given, types, stateful=False)
            shapes = ((*frame, image.shape[-1]), frame) if example else (self.shape, ())
            return tuple(tf.ensure_shape(part, shape) for part, shape in zip(found, shapes, strict=True))

        dataset = self.dataset
        if draw is not None:
            # `shuffle` also uses the global seed, and fails if that is 0. This sets it only in the graph being traced.
            if not tf.executing_eagerly():
                tf.compat.v1.set_random_seed(1)
            key = tf.random.fold_in(tf.stack([tf.constant(draw[0], "int32"), tf.cast(draw[1], "int32")]), 0)
            mixed = tf.cast(tf.bitcast(key[0], "uint32"), "int64")
            dataset = dataset.shuffle(10_000, seed=mixed, reshuffle_each_iteration=False)
        items = dataset.enumerate().map(lambda number, item: prepare(number, item), tf.data.AUTOTUNE)
        return items.batch(size, drop_remainder=drop)


def digit_images() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns scikit-learn's 1,797 handwritten digits of 8x8 pixels, 397 of them for testing."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images[..., None].astype("uint8")
    x, x_test, y, y_test = train_test_split(
        images, digits.target, test_size=397, stratify=digits.target, random_state=0
    )
    return {"train": (x, y), "test": (x_test, y_test)}


def digits(name: str, data_dir, image_size: int | None, download: bool, augmentation: Augmentation):
    """Returns `digit_images` as a set for classification: its splits and class names, and nothing to tell."""
    splits = {split: Arrays(*pair) for split, pair in digit_images().items()}
    return _brought("digits", splits, image_size, augmentation), [str(i) for i in range(10)], None


def builder_of(name: str, data_dir, download: bool):
    """Returns the builder of a set of tensorflow-datasets; without `download`, refuses an absent set.

    Neither TensorFlow nor Keras are imported.
    """
    for library in ("tensorflow", "tensorflow_datasets"):
        needs(library, f"data: {name!r}, as a set of tensorflow-datasets,", WITHOUT_TENSORFLOW)
    os.environ.setdefault("TFDS_LOG_LEVEL", "error")
    import tensorflow_datasets as tfds

    where = str(data_dir) if data_dir else "~/tensorflow_datasets"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except ValueError as error:  # nothing of the name, or no name at all
        raise ArgumentError(
            f"There is no data set {name!r}; give 'digits', a name that tensorflow-datasets knows, or a folder "
            f"of images."
        ) from error
    if not download and not Path(builder.data_dir).is_dir():
        raise FileNotFoundError(
            f"The data set {name!r} is not in {where!r}. Give the data_dir that holds it, copy "
            f"'{name}/{builder.version}' there from another machine, or ask for a download (download=True, --download)."
        )
    return builder


def prepared(name: str, data_dir, download: bool):
    """Returns the builder of a prepared set of tensorflow-datasets, as `builder_of` finds it."""
    builder = builder_of(name, data_dir, download)
    if download:
        builder.download_and_prepare()
    return builder


def tensorflow_datasets(name: str, data_dir, image_size: int | None, download: bool, augmentation: Augmentation):
    """Reads a set of tensorflow-datasets; returns its splits and class names, and nothing to tell."""
    builder = prepared(name, data_dir, download)
    feature = builder.info.features
    if builder.info.supervised_keys is None or "label" not in feature or "image" not in feature:
        raise ArgumentError(
            f"The data set {name!r} has no images with class labels; give one for image classification, or "
            f"task='segmentation' for one with a label for each pixel."
        )
    sets = builder.as_dataset(as_supervised=True, shuffle_files=False)
    splits = {}
    for split, dataset in sets.items():
        key = {"train": "train", "validation": "validation", "test": "test"}.get(split)
        if key:
            splits[key] = (dataset, builder.info.splits[split].num_examples)
    return _streamed(name, splits, feature["image"].shape, image_size, augmentation), feature["label"].names, None


def folder(name: str, data_dir, image_size: int | None, download: bool, augmentation: Augmentation):
    """Reads a folder with one folder per class, at its top or under train, validation and test.

    Returns its splits, its class names, and what to tell of it.
    """
    path = Path(name)
    if image_size is None:
        raise ArgumentError("image_size is needed for a folder of images, whose sizes may differ; got None.")
    files, names, notes = folders.classified(path)

    splits: dict[str, Pictures] = {}
    for split, pairs in files.items():
        # Shuffled once, so that the first examples are a random sample.
        pairs = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
        paths, labels = (list(column) for column in zip(*pairs, strict=True))
        found = pictures.inspect(paths)
        notes.remarks.update(picture.remark for picture in found if picture.remark)
        notes.fingerprint(split, paths, labels, (picture.digest for picture in found))
        splits[split] = Pictures(len(pairs), functools.partial(_picture, pairs), np.array(labels))
    return _brought(str(path), splits, image_size, augmentation, 3), names, notes


def _picture(pairs: Sequence[tuple[Path, int]], number: int) -> tuple[np.ndarray, int]:
    """Reads a picture and its class."""
    file, label = pairs[number]
    return decoded(file), label


def _brought(
    name: str,
    splits: Mapping[str, Any],
    image_size: int | None,
    augmentation: Augmentation,
    channels: int | None = None,
) -> dict[str, Any]:
    """Gives the images of splits one size, in memory unless they are too large; training images may be cropped anew.

    Args:
        name: of the set, for messages.
        splits: the splits.
        image_size: as for `load`; None keeps the size of images in memory.
        augmentation: as for `load`.
        channels: of images that are not in memory.
    """
    if "train" not in splits:
        raise ArgumentError(f"The data set {name!r} has no training split; it has {sorted(splits)}.")
    brought: dict[str, Any] = {}
    for split, found in splits.items():
        cropped = augmentation.resized_crop and split == "train"
        if not cropped and not image_size:
            brought[split] = found
            continue
        shape = found.images.shape[1:] if isinstance(found, Arrays) else (None, None, channels)
        size = (image_size, image_size) if image_size else shape[:2]
        get = (lambda i, held=found: (held.images[i], held.labels[i])) if isinstance(found, Arrays) else found.get
        pictured = Pictures(found.size, get, found.labels, *_fitting(size, image_size, augmentation, cropped))
        brought[split] = pictured if cropped else in_memory(pictured, (*size, shape[2]))
    return brought


def _fitting(size, image_size: int | None, augmentation: Augmentation, cropped: bool):
    """Returns what brings a picture to its size in evaluation, and in training."""
    evaluated = (lambda picture: resized(picture, OF_IMAGE_SIZE, size)) if image_size else None
    trained = (lambda picture, random: resized_crop(picture, size, augmentation, random)) if cropped else None
    return evaluated, trained


def _streamed(name: str, sets: dict[str, tuple], shape, image_size: int | None, augmentation: Augmentation):
    """Gives images one size, and reads splits into memory unless they are too large or cropped at random."""
    if "train" not in sets:
        raise ArgumentError(f"The data set {name!r} has no training split; it has {sorted(sets)}.")
    if image_size is None and None in shape:
        raise ArgumentError(f"image_size is needed for {name!r}, whose images differ in size; got None.")
    size = (image_size, image_size) if image_size else shape[:2]
    whole, splits = (*size, shape[2]), {}
    for split, (dataset, count) in sets.items():
        cropped = augmentation.resized_crop and split == "train"
        evaluated, trained = _fitting(size, image_size, augmentation, cropped)
        stream = Stream(dataset, count, None, evaluated, trained, whole if evaluated or trained else None)
        splits[split] = stream if cropped else in_memory(stream, whole)
    return splits


def in_memory(split: Any, shape: tuple[int | None, ...]) -> Any:
    """Reads a split into memory if its images have one shape and fit; returns any other unchanged."""
    if None in shape or split.size * math.prod(shape) > IN_MEMORY_BYTES:  # type: ignore[arg-type]
        return split
    with pictures.unwarned():
        return Arrays(*next(iter(split.batches(split.size).as_numpy_iterator())))


def hold_out(split, share: float):
    """Splits off a share, the same for every seed; stratified if the split is in memory with one class per image."""
    from sklearn.model_selection import train_test_split

    count = math.ceil(split.size * share)
    if count >= split.size:
        raise ArgumentError(
            f"A share of {share} of {split.size} training examples held out leaves none to train on; "
            f"give more examples, or a smaller validation."
        )
    if isinstance(split, Stream):
        return _hold_out_of_stream(split, count)
    if isinstance(split, Pictures):
        is_held = np.array([_is_held_out(i, count, split.size) for i in range(split.size)])
        held_pictures = split.take(np.flatnonzero(is_held))
        held_pictures.trained = None
        return split.take(np.flatnonzero(~is_held)), held_pictures
    labels = split.labels
    stratified = labels.ndim == 1
    if stratified:
        sizes = np.bincount(labels)[np.unique(labels)]
        # With fewer examples than classes on one side, each class cannot be on both.
        stratified = min(sizes) >= 2 and min(count, split.size - count) >= len(sizes)
    train, held = train_test_split(
        np.arange(split.size), test_size=count, stratify=labels if stratified else None, random_state=0
    )
    return split.take(np.sort(train)), split.take(np.sort(held))


def _hold_out_of_stream(split: Stream, count: int) -> tuple[Stream, Stream]:
    """Splits `count` examples off a stream."""

    def part(of_held: bool) -> Stream:
        found = copy.copy(split)
        found.size = count if of_held else split.size - count
        numbered = split.dataset.enumerate()
        chosen = numbered.filter(lambda i, _: _is_held_out(i, count, split.size) == of_held)
        found.dataset = chosen.map(lambda _, item: item)
        return found

    train, held = part(False), part(True)
    held.trained = None
    return train, held


def _is_held_out(i, count: int, size: int):
    """Returns whether an example is held out, so that those that are lie evenly spread over the stored order."""
    return (i + 1) * count // size > i * count // size


@dataclass(frozen=True)
class ImageSource:
    """Where sets with a class for each image come from.

    Attributes:
        has: whether a name given to `load` is of this source.
        read: gives the splits, the class names, and the `Notes` of what to tell, or None, by the name, `data_dir`,
            `image_size` and `download` of `load` and the augmentation, which may crop training images before they are
            brought to one size.
    """

    has: Callable[[Any], bool]
    read: Callable[
        [Any, Any, int | None, bool, Augmentation],
        tuple[dict[str, Arrays | Pictures | Stream], Sequence[str], folders.Notes | arrays.Told | None],
    ]


def in_memory_arrays(held: arrays.Held, data_dir, image_size: int | None, download: bool, augmentation: Augmentation):
    """Returns arrays as a set: its splits and class names, and what to tell."""
    asked = "image_size" if image_size else "resized_crop of the augmentation" if augmentation.resized_crop else None
    for split, (images, _) in held.splits.items():
        if asked and images.dtype != np.uint8:
            raise ArgumentError(
                f"{asked} needs pixels as whole numbers from 0 to 255; the images in {split} of {held.name!r} are from "
                f"{images.min():.4g} to {images.max():.4g}. Give such pixels, or leave it out."
            )
    splits = {split: Arrays(*pair) for split, pair in held.splits.items()}
    return _brought(held.name, splits, image_size, augmentation), held.names, held.notes


# The first that has a name reads it; a name that none has is one of tensorflow-datasets. A new source is an entry here.
SETS = ImageSource(lambda name: True, tensorflow_datasets)
SOURCES = (
    ImageSource(lambda name: isinstance(name, arrays.Held), in_memory_arrays),
    ImageSource(lambda name: name == "digits", digits),
    ImageSource(lambda name: Path(name).is_dir(), folder),
)
