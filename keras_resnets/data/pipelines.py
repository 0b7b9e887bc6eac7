"""`load` and `Data`: a source, normalised, shuffled and augmented, as seeded `tf.data` pipelines."""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.data import labels, masks, pairs, sources
from keras_resnets.data.augmentation import Augmentation, augment
from keras_resnets.data.scenes import scenes
from keras_resnets.errors import ArgumentError, one_of, whole_number


@dataclass(frozen=True)
class Data:
    """A data set, ready for `fit`: training, validation and test pipelines of (image, label) batches.

    Made by `load`. Images are float32, normalised with statistics of the training split; labels
    are int32 class numbers, one for an image or, for segmentation, (batch, height, width).

    Attributes:
        name: the name given to `load`.
        input_shape: height, width and channels of an image, as a network takes it; height and width are None where
            batches differ in them.
        classes: number of classes.
        class_names: their names.
        sizes: number of examples of each split.
        options: the arguments of `load`, enough to load the same data again.
        task: `"classification"` or `"segmentation"`.
        ignore: the label of pixels that are in no loss and no score, 255; None for classification.
        colors: red, green and blue of each class, for pictures of masks; None for classification.
    """

    name: str
    input_shape: tuple[int | None, int | None, int]
    classes: int
    class_names: tuple[str, ...]
    options: dict[str, Any]
    _splits: dict[str, sources.Arrays | sources.Stream] = dataclasses.field(repr=False)
    _mean: np.ndarray = dataclasses.field(repr=False)
    _std: np.ndarray = dataclasses.field(repr=False)
    _held_out: bool = dataclasses.field(default=False, repr=False)
    _most: int | None = dataclasses.field(default=None, repr=False)
    task: str = "classification"
    ignore: int | None = None
    colors: tuple[labels.Color, ...] | None = dataclasses.field(default=None, repr=False)
    # Height and width of evaluated images, for segmentation; None where they differ.
    _frame: tuple[int, int] | None = dataclasses.field(default=None, repr=False)

    @property
    def sizes(self) -> dict[str, int]:
        return {name: split.size for name, split in self._splits.items()}

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch."""
        size, batch = self.sizes["train"], self.options["batch_size"]
        return size // batch if self.options["drop_remainder"] else -(-size // batch)

    @property
    def train(self):
        """One epoch of training batches; each iteration shuffles and augments anew."""
        import tensorflow as tf

        epochs = tf.data.Dataset.random(self.options["seed"], rerandomize_each_iteration=True).take(1)
        return self._training(epochs, self.steps_per_epoch)

    def epochs(self, first: int, last: int):
        """Training batches of the epochs `first` to `last - 1`, one after the other.

        Order and augmentation are a function of the seed and the number of the epoch alone, so a
        run that resumes at an epoch sees what it would have seen.
        """
        import tensorflow as tf

        return self._training(tf.data.Dataset.range(first, last), (last - first) * self.steps_per_epoch)

    def _training(self, epochs, cardinality: int):
        import tensorflow as tf

        batch, drop, seed = (self.options[k] for k in ("batch_size", "drop_remainder", "seed"))
        augmentation = Augmentation(**self.options["augmentation"])

        def epoch(number):
            key = tf.stack([tf.constant(seed, "int32"), tf.cast(number % (2**31 - 1), "int32")])
            if self.task == "segmentation":
                return self._splits["train"].batches(batch, drop, key, functools.partial(self._pair, augmentation))
            batches = self._splits["train"].batches(batch, drop, key).enumerate()
            return batches.map(
                lambda i, xy: (augment(self._normalize(xy[0]), augmentation, tf.random.fold_in(key, i)), xy[1]),
                tf.data.AUTOTUNE,
            )

        joined = epochs.flat_map(epoch)
        return joined.apply(tf.data.experimental.assert_cardinality(cardinality)).prefetch(tf.data.AUTOTUNE)

    def _normalize(self, images):
        import tensorflow as tf

        return (tf.cast(images, "float32") - self._mean) / self._std

    def _pair(self, augmentation: Augmentation, image, mask, seed):
        """An example of a set for segmentation as a network sees it; in evaluation, without a seed, whole."""
        import tensorflow as tf

        if augmentation.color:
            image = pairs.recolored(image, augmentation, seed)
        image, longer = self._normalize(image), self.options["image_size"]
        image, mask = pairs.window(image, mask, augmentation, longer, seed)
        size = augmentation.window or self._frame
        if not augmentation.window:
            multiple = self.options["pad_to"]
            image, mask = pairs.frame(image, mask, size or -(-tf.shape(mask) // multiple) * multiple)
        image.set_shape((*(size or (None, None)), self.input_shape[2]))
        mask.set_shape(size or (None, None))
        return image, tf.cast(mask, "int32")

    def _evaluation(self, split: str):
        import tensorflow as tf

        if split not in self._splits:
            return None
        segments = self.task == "segmentation"
        size = self.options["batch_size"] if self._frame or not segments else 1
        pair = functools.partial(self._pair, Augmentation()) if segments else None
        batches = self._splits[split].batches(size, example=pair)
        if self._most is not None:
            batches = batches.unbatch().take(self._most).batch(size)
        if segments:
            return batches.prefetch(tf.data.AUTOTUNE)
        return batches.map(lambda x, y: (self._normalize(x), y), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    @property
    def validation(self):
        """Batches held out of the training split, in order; None with `validation=0` or `"test"`."""
        return self._evaluation("validation")

    @property
    def test(self):
        """Batches of the test split, in order."""
        return self._evaluation("test")

    @property
    def watched(self):
        """Batches that a training is measured on after each epoch: `validation`, or `test` where that was asked."""
        return self.test if self.options["validation"] == "test" else self.validation

    def seeded(self, seed: int) -> Data:
        """Returns the same data in the order, and with the augmentation, of another seed."""
        return dataclasses.replace(self, options={**self.options, "seed": seed})

    def first(self, examples: int) -> Data:
        """Returns the same data with no more than so many examples each for validation and test.

        A study of them is as much faster and its intervals are wider. They are those that come first in the order of
        the set, which for CIFAR and for folders, mixed when read, is random.
        """
        whole_number("examples", examples, 1)
        return dataclasses.replace(self, _most=examples)

    def evaluated(self, split: str) -> int:
        """How many examples of a split `validation` or `test` gives, `first` taken into account."""
        return min(self.sizes[split], self._most or self.sizes[split])

    def class_share(self) -> np.ndarray:
        """Returns the share of each class among the training examples or, for segmentation, their labelled pixels.

        Example:
            >>> import keras_resnets as kr
            >>> share = kr.data.load("scenes", task="segmentation").class_share()
            >>> round(float(share[0]), 2)  # of the background
            0.86
        """
        counts = np.zeros(self.classes, "int64")
        for _, batch in self._splits["train"].batches(1):
            found = batch.numpy().ravel()
            counts += np.bincount(found[found != self.ignore], minlength=self.classes)
        return counts / counts.sum()

    @property
    def unseen(self):
        """Batches for a network not trained on this set: its own test split, or all splits if it has none."""
        splits = [self._evaluation(split) for split in self._splits] if self._held_out else [self.test]
        return functools.reduce(lambda one, other: one.concatenate(other), splits)


def load(
    name: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    batch_size: int = 128,
    validation: float | str = 0.1,
    image_size: int | None = None,
    normalize: str | None = "channel",
    augmentation: Augmentation | None = None,
    drop_remainder: bool = False,
    seed: int = 0,
    download: bool = False,
    task: str = "classification",
    pad_to: int = 1,
) -> Data:
    """Loads a data set for image classification, or for semantic segmentation: a class for each pixel.

    Args:
        name: `"digits"` (scikit-learn's 1,797 images of 8x8, embedded), the name of a
            tensorflow-datasets set such as `"cifar10"`, or the path of a folder with one folder
            of images per class, at its top or under `train`, `validation` and `test`. For segmentation,
            `"scenes"` (1,100 scenes of 64x64, those digits before textures, drawn when loaded), or a
            tensorflow-datasets set such as `"camvid"`.
        data_dir: where tensorflow-datasets keeps its prepared sets; None for its default.
        batch_size: examples in a batch.
        validation: share of the training split held out, the same examples for every seed; or
            `"test"`, to hold nothing out and follow the test split while training, for curves such
            as those of He et al. 2015, Fig. 6. Nothing may then be chosen by them.
        image_size: side to which images are brought; None keeps sets of one size as they are. For segmentation,
            the length of their longer side; sets of several sizes are filled up to squares of it, with the mean
            colour and no label. Without it, these are evaluated one by one.
        normalize: `"channel"`, mean and standard deviation of each channel; `"pixel"`, mean of
            each pixel and channel, no division but by 255 (He et al. 2015, section 3.4);
            `"unit"`, division by the largest value; None for raw values.
        augmentation: an `Augmentation` of the training images; None for none.
        drop_remainder: leave out the last training batch when it is not full.
        seed: of shuffling and augmentation, from 0 to 2**31 - 1.
        download: let tensorflow-datasets fetch a set that is not there.
        task: `"classification"` or `"segmentation"`.
        pad_to: for segmentation, images that are not cropped are filled up at the right and at the bottom to
            multiples of so many pixels, with the mean colour and no label.

    Returns:
        A `Data`.

    Raises:
        ArgumentError: an argument breaks its rule.
        FileNotFoundError: the set is not on this machine.

    Example:
        >>> import keras_resnets as kr
        >>> data = kr.data.load("digits", batch_size=32)
        >>> data.input_shape, data.classes, data.sizes["test"]
        ((8, 8, 1), 10, 397)
        >>> data = kr.data.load("scenes", task="segmentation", batch_size=32)
        >>> data.input_shape, data.classes, data.sizes["test"]
        ((64, 64, 3), 11, 200)
    """
    one_of("task", task, ("classification", "segmentation"))
    one_of("normalize", normalize, ("channel", "pixel", "unit", None))
    whole_number("batch_size", batch_size, 1, 2**31 - 1)
    whole_number("seed", seed, 0, 2**31 - 1)
    whole_number("image_size", 1 if image_size is None else image_size, 1, 2**31 - 1)
    if not isinstance(name, str | os.PathLike):
        raise ArgumentError(f"data must be the name of a set or the path of a folder; got {name!r}.")
    share = 0 if validation == "test" else validation
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise ArgumentError(
            f"validation must be a share from 0 up to, not including, 1, or 'test'; got {validation!r}."
        )
    augmentation = Augmentation() if augmentation is None else augmentation
    if not isinstance(augmentation, Augmentation):
        raise ArgumentError(f"augmentation must be a keras_resnets.data.Augmentation or None; got {augmentation!r}.")
    augmentation.check(task)
    whole_number("pad_to", pad_to, 1, 2**31 - 1)
    if pad_to > 1 and task != "segmentation":
        raise ArgumentError(f"pad_to is for segmentation; got {pad_to} for {task}, leave it out.")
    options: dict[str, Any] = {
        "data_dir": data_dir and str(data_dir),
        "batch_size": batch_size,
        "validation": validation,
        "image_size": image_size,
        "normalize": normalize,
        "augmentation": dataclasses.asdict(augmentation),
        "drop_remainder": drop_remainder,
        "seed": seed,
    }
    if task == "segmentation":
        options |= {"task": task, "pad_to": pad_to}
    folder, known = Path(name), None
    if task == "segmentation":
        splits, known = _segmented(name, data_dir, image_size, download)
        names = known.names
    elif name == "scenes":
        raise ArgumentError("data: 'scenes' has a label for each pixel; give task='segmentation', or 'digits'.")
    elif name == "digits":
        splits, names = sources.digits(image_size, augmentation)
    elif folder.is_dir():
        splits, names = sources.folder(folder, image_size, augmentation)
    elif os.sep in str(name) or isinstance(name, os.PathLike):
        raise FileNotFoundError(f"There is no folder {str(name)!r}; give a folder with one folder of images per class.")
    else:
        splits, names = sources.tensorflow_datasets(str(name), data_dir, image_size, augmentation, download)
    held_out = "test" not in splits
    if held_out:
        splits["train"], splits["test"] = sources.hold_out(splits["train"], 0.2)
    if share and "validation" not in splits:
        splits["train"], splits["validation"] = sources.hold_out(splits["train"], share)
    if not share:
        splits.pop("validation", None)
    if splits["train"].size < (batch_size if drop_remainder else 1):
        raise ArgumentError(
            f"batch_size must be at most the {splits['train'].size} training examples of {str(name)!r} when the "
            f"remainder is dropped; got {batch_size}."
        )
    with sources.naming_damaged_files(folder):
        first, _ = next(iter(splits["train"].batches(1)))
        mean, std = _statistics(splits["train"], normalize)
    shape = tuple(first.shape[1:])
    if known is not None:
        size = _frame(splits, shape, image_size, pad_to)
        if size is None and not augmentation.window and batch_size > 1:
            raise ArgumentError(
                f"image_size, or an augmentation with a crop, is needed for batches of {str(name)!r}, whose images "
                f"differ in size; got neither, and a batch_size of {batch_size}."
            )
        taken = size if size and augmentation.window in (None, size) else (None, None)
        colors = known.colors or labels.palette(len(names))
        return Data(
            str(name), (*taken, shape[2]), len(names), tuple(names), options, splits, mean, std, held_out, None, task,
            labels.IGNORE, colors, size,
        )  # fmt: skip
    if augmentation.pad_mode == "reflect" and augmentation.pad >= min(shape[:2]):
        raise ArgumentError(
            f"pad must be less than the image's side of {min(shape[:2])} when it reflects; got {augmentation.pad}."
        )
    return Data(str(name), shape, len(names), tuple(names), options, splits, mean, std, held_out)


def _segmented(name: str | os.PathLike, data_dir, image_size: int | None, download: bool):
    """Splits of a set for segmentation, and its `Labels`."""
    if name == "scenes":
        return scenes(image_size)
    if name == "digits":
        raise ArgumentError("data: 'digits' has no label for each pixel; give 'scenes', which is made of them.")
    splits, known = masks.tensorflow_datasets(str(name), data_dir, download)
    if known.test == "validation" and "validation" in splits:
        splits["test"] = splits.pop("validation")
    return splits, known


def _frame(splits, shape, image_size: int | None, multiple: int) -> tuple[int, int] | None:
    """Height and width of evaluated images of a set for segmentation, or None where they differ."""
    height, width = shape[:2]
    if not all(isinstance(split, sources.Arrays) for split in splits.values()):
        if image_size is None:
            return None
        height = width = image_size
    elif image_size is not None:
        height, width = pairs.scaled_size(shape, image_size).numpy().tolist()
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def _statistics(split, normalize: str | None):
    """Mean and scale over the training split."""
    if normalize is None:
        return np.float32(0), np.float32(1)
    total, squares, largest, count = np.zeros(1), np.zeros(1), 0.0, 0
    for images, _ in split.batches(1024):
        images = images.numpy().astype("float64")
        total = total + images.sum(0)
        squares = squares + (images**2).sum(0)
        largest, count = max(largest, images.max()), count + len(images)
    scale = 255.0 if largest > 16 else max(largest, 1.0)
    if normalize == "unit":
        return np.float32(0), np.float32(scale)
    if normalize == "pixel":
        return (total / count).astype("float32"), np.float32(scale)
    mean = (total / count).mean((0, 1))
    variance = (squares / count).mean((0, 1)) - mean**2
    return mean.astype("float32"), np.sqrt(np.maximum(variance, 1e-12)).astype("float32")
