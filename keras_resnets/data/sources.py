"""Reads images with a class each: scikit-learn's digits, tensorflow-datasets, folders of images, arrays."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.data import arrays, folders, pictures
from keras_resnets.data.augmentation import Augmentation, resized_crop
from keras_resnets.data.pictures import decode
from keras_resnets.data.resizing import OF_IMAGE_SIZE, resized
from keras_resnets.errors import ArgumentError
from keras_resnets.quiet import quiet

IN_MEMORY_BYTES = 2**30


class Arrays:
    """A split held in memory; shuffled by a stateless permutation of its indices."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        import tensorflow as tf

        self.size = len(images)
        with tf.device("CPU"):
            # Masks stay bytes, a quarter of the memory.
            self.images, self.labels = tf.constant(images), tf.constant(labels, None if labels.ndim > 1 else "int32")

    def batches(self, batch: int, drop: bool = False, seed=None, example=None):
        """Returns batches in stored order, or shuffled by a seed; `example(image, label, seed)` maps each example."""
        import tensorflow as tf

        def gather(index):
            if seed is not None:
                index = tf.random.experimental.index_shuffle(index, seed, self.size - 1)
            return tf.gather(self.images, index), tf.gather(self.labels, index)

        def one(index):
            return example(*gather(index), None if seed is None else tf.random.fold_in(seed, index))

        numbers = tf.data.Dataset.range(self.size)
        if example is None:
            return numbers.batch(batch, drop_remainder=drop).map(gather)
        return numbers.map(one, tf.data.AUTOTUNE).batch(batch, drop_remainder=drop)

    def take(self, index: np.ndarray) -> Arrays:
        return Arrays(self.images.numpy()[index], self.labels.numpy()[index])


class Stream:
    """A split read from disk; shuffled through a buffer, with a different seed in every epoch."""

    def __init__(self, dataset, size: int, evaluate, train=None):
        self.dataset, self.size, self.evaluate, self.train = dataset, size, evaluate, train

    def batches(self, batch: int, drop: bool = False, seed=None, example=None):
        """As `Arrays.batches`."""
        import tensorflow as tf

        def finish(pair, seed=None):
            return pair if example is None else example(*pair, seed)

        if seed is None:
            items = self.dataset.map(lambda *item: finish(self.evaluate(*item)), tf.data.AUTOTUNE)
            return items.batch(batch, drop_remainder=drop)
        # `shuffle` also uses the global seed, and fails if that is 0. This sets it only in the graph being traced.
        if not tf.executing_eagerly():
            tf.compat.v1.set_random_seed(1)
        mixed = tf.bitcast(tf.random.fold_in(seed, 0)[0], "uint32")
        shuffled = self.dataset.shuffle(10_000, seed=tf.cast(mixed, "int64"), reshuffle_each_iteration=False)

        def augment(i, item):
            key = tf.random.fold_in(seed, i)
            return finish(self.train(item, key) if self.train else self.evaluate(*item), key)

        return shuffled.enumerate().map(augment, tf.data.AUTOTUNE).batch(batch, drop_remainder=drop)


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
    import tensorflow as tf

    sets = {
        split: (tf.data.Dataset.from_tensor_slices((images, labels)), len(labels))
        for split, (images, labels) in digit_images().items()
    }
    return _read("digits", sets, (8, 8, 1), image_size, augmentation), [str(i) for i in range(10)], None


def prepared(name: str, data_dir, download: bool):
    """Returns the builder of a prepared set of tensorflow-datasets; without `download`, refuses an absent set."""
    os.environ.setdefault("TFDS_LOG_LEVEL", "error")
    import tensorflow_datasets as tfds

    where = str(data_dir) if data_dir else "~/tensorflow_datasets"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, tfds.core.registered.DatasetNotFoundError) as error:
        raise ArgumentError(
            f"There is no data set {name!r}; give 'digits', a name that tensorflow-datasets knows, or a folder "
            f"of images."
        ) from error
    if not download and not Path(builder.data_dir).is_dir():
        raise FileNotFoundError(
            f"The data set {name!r} is not in {where!r}. Give the data_dir that holds it, copy "
            f"'{name}/{builder.version}' there from another machine, or ask for a download (download=True, --download)."
        )
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
    return _read(name, splits, feature["image"].shape, image_size, augmentation), feature["label"].names, None


def folder(name: str, data_dir, image_size: int | None, download: bool, augmentation: Augmentation):
    """Reads a folder with one folder per class, at its top or under train, validation and test.

    Returns its splits, its class names, and what to tell of it.
    """
    import tensorflow as tf

    path = Path(name)
    if image_size is None:
        raise ArgumentError("image_size is needed for a folder of images, whose sizes may differ; got None.")
    files, names, notes = folders.classified(path)

    sets = {}
    for split, pairs in files.items():
        # Shuffled once, so that a shuffle buffer smaller than the set still holds every class.
        pairs = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
        paths, labels = (list(column) for column in zip(*pairs, strict=True))
        found = pictures.inspect(paths)
        notes.remarks.update(picture.remark for picture in found if picture.remark)
        notes.fingerprint(split, paths, labels, (picture.digest for picture in found))
        dataset, read = pictures.dataset(paths, found, labels)
        sets[split] = (dataset.map(read, tf.data.AUTOTUNE), len(pairs))
    with naming_damaged_files(path):
        return _read(str(path), sets, (None, None, 3), image_size, augmentation), names, notes


@contextlib.contextmanager
def naming_damaged_files(path: Path) -> Iterator[None]:
    """Raises an error that names the file below a folder that cannot be decoded; TensorFlow's own does not."""
    import tensorflow as tf

    failure = None
    # What the decoders say on standard error adds nothing to the sentence.
    with quiet() if path.is_dir() else contextlib.nullcontext():
        try:
            yield
        except tf.errors.OpError as error:
            failure = error
        if failure is not None and path.is_dir():
            damaged = [file for file in sorted(path.rglob("*")) if _is_damaged(file)]
    if failure is not None:
        if path.is_dir() and damaged:
            raise ArgumentError(
                f"{str(damaged[0])!r} is not an image that can be read; repair or remove it."
            ) from failure
        raise failure


def _is_damaged(file: Path) -> bool:
    """Returns whether a file with the name of an image cannot be decoded."""
    import tensorflow as tf

    if file.suffix.lower() not in pictures.SUFFIXES or not file.is_file():
        return False
    try:
        decode(file)
    except (tf.errors.OpError, ArgumentError):
        return True
    return False


def _read(name: str, sets: dict[str, tuple], shape, image_size: int | None, augmentation: Augmentation):
    """Gives images one size, and reads splits into memory unless they are too large or cropped at random."""
    if "train" not in sets:
        raise ArgumentError(f"The data set {name!r} has no training split; it has {sorted(sets)}.")
    if image_size is None and None in shape:
        raise ArgumentError(f"image_size is needed for {name!r}, whose images differ in size; got None.")
    size = (image_size, image_size) if image_size else shape[:2]

    import tensorflow as tf

    def evaluate(image, label):
        return resized(image, OF_IMAGE_SIZE, size) if image_size else image, tf.cast(label, "int32")

    def train(item, seed):
        return resized_crop(item[0], size, augmentation, seed), tf.cast(item[1], "int32")

    splits: dict[str, Arrays | Stream] = {}
    for split, (dataset, count) in sets.items():
        stream = Stream(dataset, count, evaluate, train if augmentation.resized_crop else None)
        cropped = augmentation.resized_crop and split == "train"
        splits[split] = stream if cropped else in_memory(stream, (*size, shape[2]))
    return splits


def in_memory(stream: Stream, shape: tuple[int | None, ...]) -> Arrays | Stream:
    """Reads a split into memory if its images have one shape and fit; returns any other unchanged."""
    if None in shape or stream.size * math.prod(shape) > IN_MEMORY_BYTES:  # type: ignore[arg-type]
        return stream
    return Arrays(*next(stream.batches(stream.size).as_numpy_iterator()))


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
    labels = split.labels.numpy()
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
    """Splits `count` examples off a stream, evenly spread over its stored order."""

    def is_held_out(i):
        return (i + 1) * count // split.size > i * count // split.size

    numbered = split.dataset.enumerate()
    kept = numbered.filter(lambda i, _: ~is_held_out(i)).map(lambda _, item: item)
    held = numbered.filter(lambda i, _: is_held_out(i)).map(lambda _, item: item)
    return Stream(kept, split.size - count, split.evaluate, split.train), Stream(held, count, split.evaluate)


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
        tuple[dict[str, Arrays | Stream], Sequence[str], folders.Notes | arrays.Told | None],
    ]


def in_memory_arrays(held: arrays.Held, data_dir, image_size: int | None, download: bool, augmentation: Augmentation):
    """Returns arrays as a set: its splits and class names, and what to tell."""
    import tensorflow as tf

    if not image_size and not augmentation.resized_crop:
        return {split: Arrays(*pair) for split, pair in held.splits.items()}, held.names, held.notes
    asked = "image_size" if image_size else "resized_crop of the augmentation"
    for split, (images, _) in held.splits.items():
        if images.dtype != np.uint8:
            raise ArgumentError(
                f"{asked} needs pixels as whole numbers from 0 to 255; the images in {split} of {held.name!r} are from "
                f"{images.min():.4g} to {images.max():.4g}. Give such pixels, or leave it out."
            )
    sets = {split: (tf.data.Dataset.from_tensor_slices(pair), len(pair[1])) for split, pair in held.splits.items()}
    shape = held.splits["train"][0].shape[1:]
    return _read(held.name, sets, shape, image_size, augmentation), held.names, held.notes


# The first that has a name reads it; a name that none has is one of tensorflow-datasets. A new source is an entry here.
SETS = ImageSource(lambda name: True, tensorflow_datasets)
SOURCES = (
    ImageSource(lambda name: isinstance(name, arrays.Held), in_memory_arrays),
    ImageSource(lambda name: name == "digits", digits),
    ImageSource(lambda name: Path(name).is_dir(), folder),
)
