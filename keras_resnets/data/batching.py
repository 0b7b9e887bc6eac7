"""`Batching`: how examples become batches; a recipe decides it, not the data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.data import pairs, sources
from keras_resnets.data.augmentation import Augmentation
from keras_resnets.data.labels import Labels
from keras_resnets.errors import ArgumentError, one_of, whole_number
from keras_resnets.explaining import check_fields, explained, made_of

Splits = dict[str, "sources.Arrays | sources.Pictures | sources.Stream"]


@explained
@dataclass(frozen=True)
class Batching:
    """How examples become batches.

    Args:
        batch_size: examples in a batch.
        normalize: `"channel"`, mean and standard deviation of each channel; `"pixel"`, mean of each pixel and channel,
            divided only by 255 (He et al. 2015, section 3.4); `"unit"`, division by the largest value; None for raw
            values. Statistics are those of the training split. Or a `Preprocessing`, such as `model.preprocessing`, for
            a network that exists.
        augmentation: an `Augmentation` of the training images; None for none.
        drop_remainder: drop the last training batch if it is not full.
        pad_to: for segmentation, pad images that are not cropped, at the right and at the bottom, to multiples of this
            many pixels, with the mean colour and no label.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr
        >>> kr.data.Batching(32, normalize="unit").batch_size
        32
    """

    batch_size: int = 128
    normalize: str | Preprocessing | None = "channel"
    augmentation: Augmentation = field(default_factory=Augmentation)
    drop_remainder: bool = False
    pad_to: int = 1

    def __post_init__(self) -> None:
        whole_number("batch_size", self.batch_size, 1, 2**31 - 1)
        if isinstance(self.normalize, Preprocessing):
            object.__setattr__(self, "normalize", of_pixels(self.normalize))
        else:
            one_of("normalize", self.normalize, ("channel", "pixel", "unit", None))
        one_of("drop_remainder", self.drop_remainder, (True, False))
        whole_number("pad_to", self.pad_to, 1, 2**31 - 1)
        if self.augmentation is None:
            object.__setattr__(self, "augmentation", Augmentation())
        if not isinstance(self.augmentation, Augmentation):
            raise ArgumentError(
                f"augmentation must be a keras_resnets.data.Augmentation or None; got {self.augmentation!r}."
            )

    def check(self, task: str) -> None:
        """Checks that no field of another task is set.

        Raises:
            ArgumentError: one is.
        """
        self.augmentation.check(task)
        if self.pad_to > 1 and task != "segmentation":
            raise ArgumentError(f"pad_to is for segmentation; got {self.pad_to} for {task}, leave it out.")

    def replace(self, **fields: Any) -> Batching:
        """Returns a copy with some fields replaced; an unknown one is an `ArgumentError`."""
        check_fields(Batching, fields, "Batching")
        return dataclasses.replace(self, **fields)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Batching:
        """Returns the batching among the options of a `Data`, also after a round trip through JSON."""
        fields = {f.name: options[f.name] for f in dataclasses.fields(cls) if f.name in options}
        return cls(**with_parts(fields))


def with_parts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns fields of a batching or a recipe with augmentation and normalisation made of theirs, as JSON has them."""
    made = dict(fields)
    if isinstance(made.get("augmentation"), Mapping):
        made["augmentation"] = made_of(Augmentation, made["augmentation"], "augmentation")
    if isinstance(made.get("normalize"), Mapping):
        made["normalize"] = Preprocessing.from_dict(dict(made["normalize"]))
    return made


def of_pixels(preprocessing: Preprocessing) -> Preprocessing:
    """Returns what a preprocessing does to pixels; the rest, such as how pictures are resized, is the data's own."""
    return Preprocessing(preprocessing.mean, preprocessing.std, preprocessing.channels)


def normalisation(value: str | Preprocessing | None) -> str | dict[str, Any] | None:
    """Returns a `normalize` as plain data; of a `Preprocessing`, what it does to pixels."""
    if not isinstance(value, Preprocessing):
        return value
    fields = value.to_dict()
    return {name: fields[name] for name in ("mean", "std", "channels")}


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before it is batched.

    Attributes:
        name: the name given to `load`.
        task: `"classification"` or `"segmentation"`.
        where: the arguments of `load` that determine what is read: `data_dir`, `validation` and `image_size`.
        read: reads the splits, as an augmentation needs them.
        names: names of the classes.
        labels: the meaning of the numbers in masks; None for classification.
        native: shape of the images of a set for segmentation, None where they differ.
        held_out: whether the test split was held out of the training split.
        contents: fingerprint of data that were given as arrays; None for those that are found by name.
        files: fingerprints of a folder's splits, as it divides them; empty for other data.
    """

    name: str
    task: str
    where: dict[str, Any]
    read: Callable[[Augmentation], Splits] = field(repr=False)
    names: tuple[str, ...]
    labels: Labels | None = None
    native: tuple[int | None, ...] = ()
    held_out: bool = False
    contents: str | None = None
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Layout:
    """A source in batches: the part of a `Data` that follows from its `Batching`.

    Attributes:
        splits: the splits.
        mean: subtracted from raw images.
        std: divides what remains.
        shape: shape of a network's input; height and width are None where batches differ in them.
        frame: height and width of evaluated images, for segmentation; None where they differ.
    """

    splits: Splits
    mean: np.ndarray
    std: np.ndarray
    shape: tuple[int | None, int | None, int]
    frame: tuple[int, int] | None = None


def lay_out(
    source: Source,
    batching: Batching,
    splits: Splits | None = None,
    measured: tuple[np.ndarray, np.ndarray] | None = None,
) -> Layout:
    """Batches a source, and measures the statistics that normalise its images.

    Args:
        source: the source.
        batching: how to batch it.
        splits: the source's splits, if they have been read for the same `resized_crop`.
        measured: mean and deviation, if they have been measured for the same `normalize`.

    Raises:
        ArgumentError: the source cannot be batched like this.
    """
    # The splits, once the batching is known to fit the source.
    batching.check(source.task)
    frame = _check_segmentation(source, batching) if source.labels else None
    splits = source.read(batching.augmentation) if splits is None else splits
    if splits["train"].size < (batching.batch_size if batching.drop_remainder else 1):
        raise ArgumentError(
            f"batch_size must be at most the {splits['train'].size} training examples of {source.name!r} when the "
            f"remainder is dropped; got {batching.batch_size}. Give a smaller one, or drop_remainder=False."
        )

    # The statistics, measured on the training split.
    first, _ = next(iter(splits["train"].batches(1).as_numpy_iterator()))
    if isinstance(batching.normalize, Preprocessing) and not batching.normalize.fits(first.shape[-1]):
        raise ArgumentError(
            f"normalize must be for the {first.shape[-1]} channels of {source.name!r}; got {batching.normalize!r}."
        )
    mean, std = measured or statistics(splits["train"], batching.normalize, None not in source.native)

    # The shape that a network's input must have.
    shape, augmentation = tuple(first.shape[1:]), batching.augmentation
    if source.labels is None:
        if augmentation.pad_mode == "reflect" and augmentation.pad >= min(shape[:2]):
            raise ArgumentError(
                f"pad must be less than the image's side of {min(shape[:2])} when it reflects; got {augmentation.pad}."
            )
        return Layout(splits, mean, std, shape)
    # A network must accept training crops as well as whole images.
    size = frame if frame and augmentation.window in (None, frame) else (None, None)
    return Layout(splits, mean, std, (*size, shape[2]), frame)


def _check_segmentation(source: Source, batching: Batching) -> tuple[int, int] | None:
    """Returns height and width of evaluated images, None where they differ; raises if they cannot be batched."""
    frame = _frame(source.native, source.where["image_size"], batching.pad_to)
    if frame is None and not batching.augmentation.window and batching.batch_size > 1:
        raise ArgumentError(
            f"image_size, or an augmentation with a crop, is needed for batches of {source.name!r}, whose images "
            f"differ in size; got neither, and a batch_size of {batching.batch_size}."
        )
    if None in source.native and batching.normalize == "pixel":
        raise ArgumentError(
            f"normalize must be 'channel', 'unit' or None for {source.name!r}, whose images differ in size; got "
            f"'pixel'."
        )
    return frame


def _frame(shape, image_size: int | None, multiple: int) -> tuple[int, int] | None:
    """Returns height and width of evaluated images of a set for segmentation, or None where they differ."""
    if None in shape:
        if image_size is None:
            return None
        height = width = image_size
    elif image_size is None:
        height, width = shape[:2]
    else:
        height, width = pairs.scaled_size(shape, image_size)
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def statistics(split, normalize: str | Preprocessing | None, same_size: bool):
    """Returns mean and scale over the training split; only per channel if images differ in size."""
    if isinstance(normalize, Preprocessing):
        return np.asarray(normalize.mean, "float32"), np.asarray(normalize.std, "float32")
    if normalize is None:
        return np.float32(0), np.float32(1)
    total, squares, largest, count = np.zeros(1), np.zeros(1), 0.0, 0
    first, _ = next(iter(split.batches(1).as_numpy_iterator()))
    # At most a quarter of a gigabyte at a time; images of different sizes one by one.
    size, axes = (max(1, min(1024, 2**25 // first.size)), 0) if same_size else (1, (0, 1, 2))
    for images, _ in split.batches(size).as_numpy_iterator():
        images = images.astype("float64")
        total = total + images.sum(axes)
        squares = squares + (images**2).sum(axes)
        largest, count = max(largest, images.max()), count + images.size // total.size
    scale = white(largest)
    if normalize == "unit":
        return np.float32(0), np.float32(scale)
    if normalize == "pixel":
        return (total / count).astype("float32"), np.float32(scale)
    channels = total.shape[-1]
    mean = (total / count).reshape(-1, channels).mean(0)
    variance = (squares / count).reshape(-1, channels).mean(0) - mean**2
    return mean.astype("float32"), np.sqrt(np.maximum(variance, 1e-12)).astype("float32")


def white(largest: float) -> float:
    """Returns the value of white in raw pixels of which this is the largest: 255, 16 of scikit-learn's digits, or 1."""
    return 255.0 if largest > 16 else max(float(largest), 1.0)
