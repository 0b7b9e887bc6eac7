"""`load`: finds a data set and splits it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_resnets.data import arrays, masks, sources
from keras_resnets.data.augmentation import Augmentation
from keras_resnets.data.batching import Batching, Source, Splits, lay_out
from keras_resnets.data.pipelines import Data
from keras_resnets.data.scenes import scenes
from keras_resnets.errors import ArgumentError, number, one_of, whole_number
from keras_resnets.explaining import explained


@explained
def load(
    name: Any,
    *,
    data_dir: str | os.PathLike | None = None,
    validation: float | str = 0.1,
    image_size: int | None = None,
    seed: int | None = None,
    download: bool = False,
    task: str = "classification",
    tell: Callable[[str], None] | None = None,
    **batching: Any,
) -> Data:
    """Loads a data set for image classification, or for semantic segmentation: a class for each pixel.

    Batching is not part of a data set: `keras_resnets.train` batches, normalises and augments as its recipe says. For
    other uses of the pipelines, set it here.

    Args:
        name: `"digits"` (scikit-learn's 1,797 images of 8x8, embedded), the name of a
            tensorflow-datasets set such as `"cifar10"`, or the path of a folder with one folder
            of images per class, at its top or under `train`, `validation` and `test` (also `training`, `val`, `valid`,
            `dev` and `testing`, in any case). Images are PNG, JPEG, BMP, GIF, WebP or TIFF of up to 8 bits a channel,
            and are turned as their EXIF data say. For segmentation,
            `"scenes"` (1,100 scenes of 128x128, those digits before textures, drawn when loaded), a
            tensorflow-datasets set such as `"camvid"`, or the path of a folder with the layout of PASCAL VOC
            (`JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation`), or with `images` and `masks` at its top or
            under `train`, `validation` and `test`, and a `classes.txt` with one name per line. A mask is a PNG of the
            same name, with class numbers from 0, and 255 for no class.
            Or images and labels themselves, for classification: arrays `(x, y)`, or `((x, y), (x_validation,
            y_validation))` with a third pair to test on, or a dictionary of pairs by `"train"`, `"validation"` and
            `"test"`; batched `tf.data` in place of a pair, which are read once and kept in memory; or the path of an
            `.npz` file with `x_train`, `y_train` and so on, as `keras.datasets` has them. Labels are class numbers,
            one-hot rows or texts.
        data_dir: where tensorflow-datasets keeps its prepared sets; None for its default.
        validation: share of the training split held out, the same examples for every seed; or
            `"test"`, to hold nothing out and evaluate the test split during training, for curves such
            as those of He et al. 2015, Fig. 6. Nothing may then be selected by them.
        image_size: side to which images are resized; None keeps sets of one size unchanged. For segmentation,
            the length of their longer side; sets of several sizes are padded to squares of it, with the mean
            colour and no label. Without it, these are evaluated one by one.
        seed: seed of shuffling and augmentation, from 0 to 2**31 - 1; None means the training's seed, else 0.
        download: whether tensorflow-datasets may download an absent set.
        task: `"classification"` or `"segmentation"`.
        tell: called with each line of what there is to tell of a folder: its classes, the sizes of its splits and
            where they came from, what was left out and why. None writes each line to standard error, once a process.
        **batching: fields of `Batching`, such as `batch_size=32`. In a training they take precedence over its recipe.

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
    check(
        name,
        data_dir=data_dir,
        validation=validation,
        image_size=image_size,
        seed=seed,
        download=download,
        task=task,
    )
    is_held = arrays.is_in_memory(name)
    batches = Batching().replace(**batching)
    batches.check(task)

    # The set, and its batches.
    where = {"data_dir": data_dir and str(data_dir), "validation": validation, "image_size": image_size}
    find = _find_segmentation if task == "segmentation" else _find_classification
    found = arrays.read(name) if is_held or arrays.is_file(name) else str(name)
    source, splits, notes = find(found, where, download, batches.augmentation)
    given = frozenset(batching) | (frozenset() if seed is None else {"seed"})
    data = Data.of(source, batches, lay_out(source, batches, splits), seed or 0, given)
    for line in () if notes is None else notes.lines(data.class_names, data.sizes):
        (tell or _tell_once)(line)
    return data


def check(
    name: Any,
    *,
    data_dir: str | os.PathLike | None = None,
    validation: float | str = 0.1,
    image_size: int | None = None,
    seed: int | None = None,
    download: bool = False,
    task: str = "classification",
) -> None:
    """Raises what can be said against the arguments of `load` before anything of a set is read, and without Keras.

    Args:
        name: as for `load`, like all others.

    Raises:
        ArgumentError: an argument breaks its rule, or there is no such set.
        FileNotFoundError: the set is not on this machine.
    """
    one_of("task", task, ("classification", "segmentation"))
    whole_number("seed", 0 if seed is None else seed, 0, 2**31 - 1)
    whole_number("image_size", 1 if image_size is None else image_size, 1, 2**31 - 1)
    is_held = arrays.is_in_memory(name)
    if not isinstance(name, str | os.PathLike) and not is_held:
        raise ArgumentError(
            f"data must be the name of a set, the path of a folder or an .npz file, arrays or tf.data; got {name!r}."
        )
    dense = task == "segmentation"
    if (is_held or arrays.is_file(name)) and dense:
        raise ArgumentError("data: arrays are for classification; give a folder of images and masks for segmentation.")
    share = 0 if validation == "test" else validation
    number("validation", share, least=0, below=1, rule="a share from 0 up to, not including, 1, or 'test'")
    if is_held or arrays.is_file(name):
        return

    # Where it is.
    text = str(name)
    if text == "scenes" and not dense:
        raise ArgumentError("data: 'scenes' has a label for each pixel; give task='segmentation', or 'digits'.")
    if text == "digits" and dense:
        raise ArgumentError("data: 'digits' has no label for each pixel; give 'scenes', which is made of them.")
    if text == "scenes" or Path(text).is_dir() or any(source.has(text) for source in sources.SOURCES):
        return
    if os.sep in text or isinstance(name, os.PathLike) or (text.endswith(".npz") and not dense):
        raise FileNotFoundError(
            f"There is no folder {text!r}; give a folder of images and masks."
            if dense
            else f"There is no folder or .npz file {text!r}; give a folder with one folder of images per class, or a "
            f"file of arrays."
        )
    sources.builder_of(text, data_dir, download)


@functools.cache
def _tell_once(line: str) -> None:
    """Writes a line to standard error, the first time it is told."""
    print(line.encode(errors="backslashreplace").decode(), file=sys.stderr)


def _find_classification(name: Any, where: dict[str, Any], download: bool, augmentation: Augmentation):
    """Finds a set with a class for each image; returns it as a `Source`, its splits, and what to tell."""
    found = next((source for source in sources.SOURCES if source.has(name)), sources.SETS)
    read_splits = functools.partial(found.read, name, where["data_dir"], where["image_size"], download)

    splits, names, notes = read_splits(augmentation)
    held_out = "test" not in splits

    def read(augmentation: Augmentation) -> Splits:
        return _hold_out(read_splits(augmentation)[0], where["validation"])

    contents = None
    if isinstance(name, arrays.Held):
        name, contents = name.name, name.contents
    files = getattr(notes, "contents", {})
    source = Source(name, "classification", where, read, tuple(names), None, (), held_out, contents, files)
    return source, _hold_out(splits, where["validation"]), notes


def _find_segmentation(name: Any, where: dict[str, Any], download: bool, augmentation: Augmentation):
    """Finds a set with a class for each pixel; returns it as a `Source`, its splits, and what to tell."""
    splits, labels, native, notes = _read_segmentation(name, where, download)
    held_out = "test" not in splits
    splits = _hold_out(splits, where["validation"])
    files = getattr(notes, "contents", {})
    source = Source(name, "segmentation", where, lambda _: splits, labels.names, labels, native, held_out, None, files)
    return source, splits, notes


def _hold_out(splits: Splits, validation: Any) -> Splits:
    """Holds out a test split and a validation split of the training split, if the set lacks them."""
    share = 0 if validation == "test" else validation
    if "test" not in splits:
        splits["train"], splits["test"] = sources.hold_out(splits["train"], 0.2)
    if share and "validation" not in splits:
        splits["train"], splits["validation"] = sources.hold_out(splits["train"], share)
    if not share:
        splits.pop("validation", None)
    return splits


def _read_segmentation(name: str, where: dict[str, Any], download: bool):
    """Reads a set for segmentation; returns splits, `Labels`, the images' shape (None if they differ) and `Notes`."""
    if name == "scenes":
        return scenes(where["image_size"])
    if Path(name).is_dir():
        splits, labels, shape, notes = masks.folder(Path(name))
    else:
        splits, labels, shape, notes = masks.tensorflow_datasets(name, where["data_dir"], download)
    if labels.test == "validation" and "validation" in splits:
        splits["test"] = splits.pop("validation")
        if notes is not None:
            notes.origins["test"] = notes.origins.pop("validation")
    return splits, labels, shape, notes
