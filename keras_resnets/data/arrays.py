"""Images and labels that are in memory already: NumPy arrays, `tf.data`, and `.npz` files of arrays."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.data.batches import as_array, batches
from keras_resnets.data.folders import SPLITS
from keras_resnets.errors import ArgumentError, listed
from keras_resnets.runs import fingerprint

# The name of data without one.
NAME = "arrays"
# tf.data are read once and kept; what is larger is better read from disk anew in each epoch.
MOST_BYTES = 8 * 2**30

_FORMS = (
    "(x, y) arrays, ((x, y), (x_validation, y_validation)) with a third pair to test on, a dictionary of them by "
    "'train', 'validation' and 'test', or batched tf.data in place of each pair"
)
# Names of arrays in .npz files: of keras.datasets, of MedMNIST, and of a single set.
_IMAGES, _LABELS = ("x_{}", "{}_images", "{}_x"), ("y_{}", "{}_labels", "{}_y")


class Told:
    """What there is to tell of arrays, as `folders.Notes` of a folder."""

    def __init__(self, name: str, given: set[str], remarks: list[str]):
        self.name, self.given, self.remarks = name, given, remarks

    def lines(self, names, sizes: dict[str, int]):
        """Yields the sentences: classes, sizes of the splits and where they came from, and what was changed."""
        where = {split: "as given" if split in self.given else "held out of train" for split in SPLITS}
        parts = [f"{split} {sizes[split]} images {where[split]}" for split in SPLITS if split in sizes]
        parts += [f"{split} unused, as the argument validation asks" for split in sorted(self.given - sizes.keys())]
        yield f"{self.name}: {len(names)} classes ({listed(names)}); {', '.join(parts)}."
        if self.remarks:
            yield f"{self.name}: note: {'; '.join(self.remarks)}."


@dataclass(frozen=True, eq=False)
class Held:
    """Images and labels in memory.

    Attributes:
        name: the path of their file, or `NAME`.
        splits: images and labels of each split.
        names: names of the classes.
        notes: what there is to tell.
        contents: their fingerprint.
    """

    name: str
    splits: dict[str, tuple[np.ndarray, np.ndarray]]
    names: tuple[str, ...]
    notes: Told
    contents: str


def is_in_memory(data: Any) -> bool:
    """Whether data are given as what they are, and not by a name."""
    return isinstance(data, tuple | list | Mapping) or hasattr(data, "element_spec")


def is_file(name: Any) -> bool:
    """Whether a name is that of an `.npz` file."""
    return str(name).lower().endswith(".npz") and Path(name).is_file()


def read(data: Any) -> Held:
    """Reads the splits of data in memory or of an `.npz` file.

    Images become uint8 where that changes nothing, else float32, with an axis of channels; labels become numbers of
    classes, which are counted from 0, or texts in the order of their names. Examples of `tf.data` are put in an order
    that depends on their contents alone, so that a set that shuffles itself is the same one each time.

    Raises:
        ArgumentError: they are not images with a class each.
    """
    name = NAME if is_in_memory(data) else str(data)
    pairs = _split(data) if is_in_memory(data) else _file(Path(data))
    remarks: list[str] = []
    found = {split: _pair(part, f"{name}: {split}") for split, part in pairs.items()}
    for split, (x, y) in found.items():
        if not y.ndim:
            raise ArgumentError(f"{name}: {split}: labels must be one for each image; got {y.tolist()!r}.")
        if x.ndim and len(x) != len(y):  # before all of either is looked at
            raise ArgumentError(
                f"data must have a label for every image; got {len(x)} images and {len(y)} labels in {split}."
            )
    images = {split: _images(x, f"{name}: {split}", remarks) for split, (x, _) in found.items()}
    shapes = {x.shape[1:] for x in images.values()}
    if len(shapes) > 1:
        raise ArgumentError(f"data: the images of all splits must be of one shape; got {_listed(shapes)}.")
    labels, names = _labels({split: y for split, (_, y) in found.items()}, name, remarks)
    given = getattr(pairs["train"], "class_names", None)  # of keras.utils.image_dataset_from_directory
    if given is not None and len(given) >= len(names):
        names = tuple(str(name) for name in given)
    contents = fingerprint(array for split in labels for array in (images[split], labels[split]))
    splits = {split: (images[split], labels[split]) for split in labels}
    return Held(name, splits, names, Told(name, set(splits), list(dict.fromkeys(remarks))), contents)


def _split(data: Any) -> dict[str, Any]:
    """Names the splits of data in memory."""
    if isinstance(data, Mapping):
        if "train" not in data or data.keys() - set(SPLITS):
            raise ArgumentError(
                f"data: a dictionary must have 'train', and may have 'validation' and 'test'; got {_listed(data)}."
            )
        return {split: data[split] for split in SPLITS if split in data}
    if hasattr(data, "element_spec"):
        return {"train": data}
    if len(data) == 2 and not all(map(_is_split, data)):
        return {"train": tuple(data)}
    if not 1 <= len(data) <= 3:
        raise ArgumentError(f"data in memory must be {_FORMS}; got {len(data)} parts.")
    return dict(zip(SPLITS, data, strict=False))


def _is_split(part: Any) -> bool:
    """Whether a part of data is a pair itself or `tf.data`, and not images or labels."""
    return (isinstance(part, tuple | list) and len(part) == 2) or hasattr(part, "element_spec")


def _file(file: Path) -> dict[str, Any]:
    """Reads the arrays of an `.npz` file, without unpickling anything."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ArgumentError(f"{str(file)!r} cannot be read as an .npz file of arrays: {error}.") from error
    splits = {}
    for split, spellings in SPLITS.items():
        for spelling in spellings:
            pair = [
                next((a for f in forms if (a := f.format(spelling)) in arrays), None) for forms in (_IMAGES, _LABELS)
            ]
            if None not in pair:
                splits[split] = tuple(arrays[str(part)] for part in pair)
    if not splits and {"x", "y"} <= arrays.keys():
        splits["train"] = arrays["x"], arrays["y"]
    if "train" not in splits:
        raise ArgumentError(
            f"{str(file)!r} must hold images and labels to train on as 'x_train' and 'y_train', or 'train_images' and "
            f"'train_labels'; it holds {_listed(arrays)}."
        )
    return splits


def _listed(things) -> str:
    return ", ".join(sorted(map(str, things))) or "nothing"


def _pair(part: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels of a split as arrays."""
    if hasattr(part, "element_spec"):
        return _drained(part, where)
    if not isinstance(part, tuple | list) or len(part) != 2:
        raise ArgumentError(f"data in memory must be {_FORMS}; got {type(part).__name__} as {where.split()[-1]}.")
    return as_array(part[0], f"{where}: images"), as_array(part[1], f"{where}: labels")


def _drained(dataset: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads batched `tf.data` into arrays."""
    images, labels, size = [], [], 0
    for x, y in batches(dataset, 1024, argument=where):
        if y is None:
            raise ArgumentError(f"{where} must be batches of (images, labels); got images alone.")
        if x.ndim < 3:
            raise ArgumentError(
                f"{where} must be batches of images; got arrays of {x.shape}. Batch it: data.batch(32)."
            )
        images.append(_compact(x))
        labels.append(y)
        size += images[-1].nbytes
        if size > MOST_BYTES:
            raise ArgumentError(
                f"{where} is kept in memory and must be of at most {MOST_BYTES / 2**30:.0f} GiB; got more. Give a "
                f"folder of images or a set of tensorflow-datasets, which are read from disk."
            )
    x, y = np.concatenate(images), np.concatenate(labels)
    digests = [hashlib.blake2b(image.tobytes() + label.tobytes()).digest() for image, label in zip(x, y, strict=True)]
    order = sorted(range(len(digests)), key=digests.__getitem__)
    return x[order], y[order]


def _compact(x: np.ndarray) -> np.ndarray:
    """Returns images as uint8 if they hold whole numbers from 0 to 255, else as float32."""
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind in "biu" or (x.size and x.max() > 1 and (x == np.floor(x)).all()):
        return x.astype("uint8") if x.size and x.min() >= 0 and x.max() <= 255 else x.astype("float32")
    return x.astype("float32")


def _images(x: np.ndarray, where: str, remarks: list[str]) -> np.ndarray:
    """Returns the images of a split, checked, with an axis of channels."""
    if x.dtype.kind not in "biuf" and x.dtype.name != "bfloat16":
        raise ArgumentError(f"{where}: images must be numbers; got type {x.dtype}.")
    if x.ndim == 3:
        x = x[..., None]
        remarks.append("images without an axis of channels have one channel")
    if x.ndim != 4 or not x.size:
        raise ArgumentError(f"{where}: images must be of shape (examples, height, width, channels); got {x.shape}.")
    if x.shape[-1] > 4 and x.shape[1] in (1, 3):
        raise ArgumentError(f"{where}: the channels of images come last; got {x.shape}. Give np.moveaxis(x, 1, -1).")
    if x.dtype.kind not in "biu" and not np.isfinite(x.astype("float32")).all():
        raise ArgumentError(f"{where}: images must be finite; got NaN or infinity.")
    return _compact(x)


def _labels(
    labels: dict[str, np.ndarray], name: str, remarks: list[str]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the numbers of the classes, and their names."""
    flat = {split: _flat(y, f"{name}: {split}") for split, y in labels.items()}
    texts = {split: y for split, y in flat.items() if y.dtype.kind in "US"}
    if texts:
        if len(texts) < len(flat):
            raise ArgumentError("data: labels must be texts in all splits, or numbers in all; got both.")
        flat = {split: y.astype("U") for split, y in flat.items()}
        names = sorted(set(flat["train"].tolist()))
        unknown = {label for y in flat.values() for label in y.tolist()} - set(names)
        if unknown:
            raise ArgumentError(f"data: each class must have images to train on; {_listed(unknown)} has none.")
        numbers = {split: np.searchsorted(names, y).astype("int32") for split, y in flat.items()}
    else:
        for split, y in flat.items():
            # What is no number, or too large for one, is in no range.
            right = (y >= 0) & (y < 2**31 - 1) & (y == np.floor(y))
            if not right.all():
                raise ArgumentError(f"{name}: {split}: labels must be whole numbers from 0; got {y[~right][0]}.")
        numbers = {split: y.astype("int32") for split, y in flat.items()}
        count = 1 + max(int(y.max()) for y in numbers.values())
        absent = sorted(set(range(count)) - set(np.unique(numbers["train"]).tolist()))
        if absent and (len(absent) > count // 2 or count > 100_000):
            raise ArgumentError(
                f"{name}: labels must be numbers of classes, from 0 to their number less 1; the largest is "
                f"{count - 1}, and {len(absent)} of those below it have no image to train on."
            )
        remarks += [f"no image to train on of the classes {listed(map(str, absent))}"] if absent else []
        names = [str(number) for number in range(count)]
    if len(names) < 2:
        raise ArgumentError(f"{name}: there must be at least 2 classes; got only {names[0]!r}.")
    return numbers, tuple(names)


def _flat(y: np.ndarray, where: str) -> np.ndarray:
    """Returns a label for each image; one-hot rows become numbers."""
    if y.dtype.kind == "O" and all(isinstance(label, str) for label in y.ravel().tolist()):
        y = y.astype("U")
    if y.dtype.kind not in "biufUS" or not y.ndim or not y.size:
        raise ArgumentError(
            f"{where}: labels must be numbers or texts, one for each image; got {y.shape} of {y.dtype}."
        )
    if y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0]
    if y.ndim == 2 and y.dtype.kind in "biuf":
        one_hot = ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()
        if one_hot:
            return y.argmax(1)
    if y.ndim != 1:
        raise ArgumentError(f"{where}: labels must be one for each image, or one-hot rows; got shape {y.shape}.")
    return y
