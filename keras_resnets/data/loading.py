"""`load`: finds a set, splits it, and measures what its images are normalised with."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.data import labels, masks, pairs, sources
from keras_resnets.data.augmentation import Augmentation
from keras_resnets.data.pipelines import Data
from keras_resnets.data.scenes import scenes
from keras_resnets.errors import ArgumentError, one_of, whole_number


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
            `"scenes"` (1,100 scenes of 128x128, those digits before textures, drawn when loaded), a
            tensorflow-datasets set such as `"camvid"`, or the path of a folder laid out as PASCAL VOC is (`JPEGImages`,
            `SegmentationClass`, `ImageSets/Segmentation`), or with `images` and `masks` at its top or under `train`,
            `validation` and `test`, and a `classes.txt` with a name a line. A mask is a PNG of the same name, of
            numbers from 0, and 255 for no class.
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
        >>> data = kr.data.load("scenes", task="segmentation", image_size=64)
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
    folder, known, native, frame = Path(name), None, (), None
    if task == "segmentation":
        options |= {"task": task, "pad_to": pad_to}
        splits, known, native = _segmented(name, data_dir, image_size, download)
        names, frame = known.names, _frame(native, image_size, pad_to)
        if frame is None and not augmentation.window and batch_size > 1:
            raise ArgumentError(
                f"image_size, or an augmentation with a crop, is needed for batches of {str(name)!r}, whose images "
                f"differ in size; got neither, and a batch_size of {batch_size}."
            )
        if None in native and normalize == "pixel":
            raise ArgumentError(
                f"normalize must be 'channel', 'unit' or None for {str(name)!r}, whose images differ in size; got "
                f"'pixel'."
            )
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
        mean, std = _statistics(splits["train"], normalize, None not in native)
    shape = tuple(first.shape[1:])
    if known is None:
        if augmentation.pad_mode == "reflect" and augmentation.pad >= min(shape[:2]):
            raise ArgumentError(
                f"pad must be less than the image's side of {min(shape[:2])} when it reflects; got {augmentation.pad}."
            )
        return Data(str(name), shape, len(names), tuple(names), options, splits, mean, std, held_out)
    # A network must take the crops that it is trained on as well as whole images.
    taken = frame if frame and augmentation.window in (None, frame) else (None, None)
    return Data(
        str(name),
        (*taken, shape[2]),
        len(names),
        names,
        options,
        splits,
        mean,
        std,
        held_out,
        task=task,
        ignore=labels.IGNORE,
        colors=known.colors or labels.palette(len(names)),
        _frame=frame,
    )


def _segmented(name: str | os.PathLike, data_dir, image_size: int | None, download: bool):
    """Splits of a set for segmentation, its `Labels`, and the shape of its images, None where they differ."""
    if name == "scenes":
        return scenes(image_size)
    if name == "digits":
        raise ArgumentError("data: 'digits' has no label for each pixel; give 'scenes', which is made of them.")
    if Path(name).is_dir():
        splits, known, shape = masks.folder(Path(name))
    elif os.sep in str(name) or isinstance(name, os.PathLike):
        raise FileNotFoundError(f"There is no folder {str(name)!r}; give a folder of images and masks.")
    else:
        splits, known, shape = masks.tensorflow_datasets(str(name), data_dir, download)
    if known.test == "validation" and "validation" in splits:
        splits["test"] = splits.pop("validation")
    return splits, known, shape


def _frame(shape, image_size: int | None, multiple: int) -> tuple[int, int] | None:
    """Height and width of evaluated images of a set for segmentation, or None where they differ."""
    if None in shape:
        if image_size is None:
            return None
        height = width = image_size
    elif image_size is None:
        height, width = shape[:2]
    else:
        height, width = pairs.scaled_size(shape, image_size).numpy().tolist()
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def _statistics(split, normalize: str | None, alike: bool):
    """Mean and scale over the training split; where images are not alike in size, of channels alone."""
    if normalize is None:
        return np.float32(0), np.float32(1)
    total, squares, largest, count = np.zeros(1), np.zeros(1), 0.0, 0
    first, _ = next(iter(split.batches(1)))
    # At most a quarter of a gigabyte at a time; what differs in size, image by image.
    size, axes = (max(1, min(1024, 2**25 // first.numpy().size)), 0) if alike else (1, (0, 1, 2))
    for images, _ in split.batches(size):
        images = images.numpy().astype("float64")
        total = total + images.sum(axes)
        squares = squares + (images**2).sum(axes)
        largest, count = max(largest, images.max()), count + images.size // total.size
    scale = 255.0 if largest > 16 else max(largest, 1.0)
    if normalize == "unit":
        return np.float32(0), np.float32(scale)
    if normalize == "pixel":
        return (total / count).astype("float32"), np.float32(scale)
    channels = total.shape[-1]
    mean = (total / count).reshape(-1, channels).mean(0)
    variance = (squares / count).reshape(-1, channels).mean(0) - mean**2
    return mean.astype("float32"), np.sqrt(np.maximum(variance, 1e-12)).astype("float32")
