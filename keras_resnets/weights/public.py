"""The table of public weights, a row of `sets.csv` for each set: where it is, what it is of, and how well it does."""

from __future__ import annotations

import csv
import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture.preprocessing import Preprocessing, Resizing
from keras_resnets.errors import ArgumentError, nearest
from keras_resnets.explaining import explained
from keras_resnets.weights import classes

if TYPE_CHECKING:
    import pandas as pd

HUB = "hf:"
# The publisher of the networks that come with this package, as whole files that this package saved.
OWN = "keras_resnets/"
_TABLE = Path(__file__).with_name("sets.csv")
_NUMBERS = ("megabytes", "top1", "top5", "crop", "scale")


@dataclass(frozen=True)
class PublicSet:
    """A set of public weights. What its publisher does not state is empty, or None.

    Attributes:
        name: its full name, PUBLISHER/NETWORK, or hf:OWNER/REPOSITORY on the Hugging Face hub.
        variant: the network, as for `keras_resnets.build`; `"ResNet50V2"` and the like are functions of this package.
        fields: fields of the variant's spec that differ in its network, as in "shortcut=B".
        data: what it was trained on: `"imagenet"`, `"cifar10"` or `"cifar100"`; `""` if it is not known.
        address: where it is fetched from; `""` if it is no longer served, or comes with this package.
        file: the file's name.
        sha256: its SHA-256, or the beginning that the publisher states.
        md5: its MD5.
        megabytes: its size in units of 2^20 bytes, as the publisher states it.
        licence: an SPDX name.
        size: height and width of the images; None if any.
        preprocessing: what the network's images go through, with how pictures are resized; None where the file says so
            itself, and where it is not known.
        top1: share of the images of the test set (ImageNet: validation set) classified right, in per cent.
        top5: the same for the right class among the first five.
        measured: the size of the images, and how they were cut, for these accuracies.
        source: where the accuracies are stated.
        labels: names of the classes, where they are not those of `data`.
    """

    name: str
    variant: str
    data: str
    fields: str = ""
    address: str = ""
    file: str = ""
    sha256: str = ""
    md5: str = ""
    megabytes: float | None = None
    licence: str = ""
    size: int | None = None
    preprocessing: Preprocessing | None = None
    top1: float | None = None
    top5: float | None = None
    measured: str = ""
    source: str = ""
    labels: tuple[str, ...] | None = None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of its classes; None if they are not known."""
        return self.labels or (classes.names(self.data) if self.data else None)

    @property
    def overrides(self) -> dict[str, str]:
        """The fields of the variant's spec that differ."""
        return dict(field.split("=") for field in self.fields.split())

    @property
    def has_classifier(self) -> bool:
        """Whether the file has a classifier."""
        return not self.name.endswith("_notop")

    @property
    def on_hub(self) -> bool:
        """Whether it is fetched from the Hugging Face hub."""
        return self.name.startswith(HUB)

    @property
    def is_own(self) -> bool:
        """Whether it comes with this package, as a file that this package saved: a whole network."""
        return self.name.startswith(OWN)

    @property
    def stored(self) -> str:
        """The file's name in this package's folder."""
        if not self.on_hub:
            return self.file
        return self.name.removeprefix(HUB).replace("/", "--") + Path(self.file).suffix


@functools.cache
def table() -> tuple[PublicSet, ...]:
    """Returns all sets; the first of a variant and a data set is the one that `weights="imagenet"` means."""
    with _TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(_set_of(row) for row in csv.DictReader(file))


def _set_of(row: dict[str, str]) -> PublicSet:
    values: dict[str, Any] = dict(row)
    values |= {key: float(row[key]) if row[key] else None for key in _NUMBERS}
    # Publishers state means of pixels from 0 to 255 or from 0 to 1; `scale` says which.
    scale = values["scale"] or 1.0
    mean, std = (tuple(scale * float(number) for number in row[key].split()) for key in ("mean", "std"))
    # Sets of images of one size, CIFAR's, were not resized: other pictures are, as in our own trainings on such sets.
    resizing = Resizing(values["crop"], row["interpolation"]) if row["crop"] else None
    values["preprocessing"] = Preprocessing(mean, std, row["channels"], resizing) if mean else None
    values["size"] = int(row["size"])
    names = {field.name for field in dataclasses.fields(PublicSet)}
    return PublicSet(**{key: value for key, value in values.items() if key in names})


@explained
def available(variant: str | None = None) -> pd.DataFrame:
    """Returns a table of the public weights that `weights=` takes by name, without fetching any.

    Args:
        variant: only those of one network, such as `"resnet50_v15"`; None gives all.

    Raises:
        ArgumentError: there are none of this variant; the message names the nearest that have some.

    Example:
        >>> import keras_resnets as kr
        >>> kr.weights.available("resnet18")["name"].tolist()[:2]
        ['torchvision/resnet18-f37072fd', 'hf:timm/resnet18.a1_in1k']
    """
    import pandas as pd

    columns = [f.name for f in dataclasses.fields(PublicSet) if f.name not in ("preprocessing", "labels")]
    rows = [{column: getattr(known, column) for column in columns} for known in sets_of(variant)]
    return pd.DataFrame(rows, columns=columns)


def sets_of(variant: str | None = None) -> list[PublicSet]:
    """Returns the sets of one network, or all."""
    variants = dict.fromkeys(known.variant for known in table())
    if variant is not None and variant not in variants:
        raise ArgumentError(
            f"variant: there are no public weights of {variant!r}; the nearest networks that have some are: "
            f"{nearest(str(variant), variants)}. keras_resnets.weights.available() lists all."
        )
    return [known for known in table() if variant in (None, known.variant)]


def find(name: object, variant: str | None = None, *, include_top: bool = True) -> PublicSet | None:
    """Returns the set of a name; None for what is no name, such as a file's path or None.

    Args:
        name: a full name, or that of a data set, such as `"imagenet"`. What lies at a path goes before a full name.
        variant: the network, for the name of a data set.
        include_top: whether the classifier is needed; without it, Keras' smaller files will do.

    Raises:
        ArgumentError: no set has this name; or the network has none trained on this data.
    """
    if not isinstance(name, str):
        return None
    if name in {known.data for known in table()}:
        return _default(name, variant, include_top)
    publisher = name.partition("/")[0]
    if Path(name).exists() or not (name.startswith(HUB) or publisher in _publishers()):
        return None
    listed = {known.name: known for known in table()}
    if name in listed:
        return listed[name]
    if name.startswith(HUB) and name.count("/") == 1 and not name.endswith("/"):
        return PublicSet(name, "", "", address=f"https://huggingface.co/{name.removeprefix(HUB).partition('@')[0]}")
    raise ArgumentError(
        f"weights: there are no public weights {name!r}; the nearest are: {nearest(name, listed)}. "
        f"keras_resnets.weights.available() lists all."
    )


def _publishers() -> set[str]:
    return {known.name.partition("/")[0] for known in table()}


def _default(data: str, variant: str | None, include_top: bool) -> PublicSet:
    """Returns the first set of a network for some data, with a file that has no classifier first if none is needed."""
    if variant is None:
        raise ArgumentError(
            f"weights: {data!r} names no network; give a full name of keras_resnets.weights.available(), or "
            f"keras_resnets.build(VARIANT, weights={data!r})."
        )
    rows = [known for known in table() if (known.variant, known.data) == (variant, data)]
    if not rows:
        others = dict.fromkeys(known.data for known in table() if known.variant == variant)
        there = f"there are {' and '.join(map(repr, others))}" if others else "there are none of this network"
        raise ArgumentError(
            f"weights: there are no public weights {data!r} of {variant!r}; {there}. "
            f"keras_resnets.weights.available() lists all; or give a .keras file, a run directory, or None."
        )
    bare = [known for known in rows if not known.has_classifier]
    return bare[0] if bare and not include_top else rows[0]


def default_weights(variant: str, data: str = "imagenet") -> str | None:
    """Returns `data` if the network has public weights of it that can be fetched, else None."""
    return data if any((s.variant, s.data) == (variant, data) and s.address for s in table()) else None


def check_use(known: PublicSet, variant: str, *, classes: int | None, channels: int | None, include_top: bool) -> None:
    """Raises `ArgumentError` if a network cannot take a set's weights; before anything is fetched.

    Args:
        known: the set.
        variant: the network's variant.
        classes: the number of classes that was given, if any.
        channels: the number of channels of the images that was given, if any.
        include_top: whether the network has a classifier.
    """
    if known.variant and known.variant != variant:
        raise ArgumentError(
            f"weights: {known.name!r} is of {known.variant!r}, not of {variant!r}; "
            f"keras_resnets.weights.network({known.name!r}) builds its network."
        )
    count = len(known.class_names or ())
    if include_top and classes is not None and count and classes != count:
        raise ArgumentError(
            f"classes must be {count} with the weights {known.name!r} and include_top=True; got {classes}. Give "
            f"include_top=False and add a classifier, or weights=None."
        )
    if channels is not None and channels != 3:
        raise ArgumentError(
            f"input_shape must have 3 channels with the weights {known.name!r}; got {channels}. Give images with 3 "
            f"channels, or weights=None."
        )


@explained
def preprocess_input(images, network):
    """Returns the input of a network for raw images, as the function of this name of `keras.applications` does.

    `model.preprocessing(images)` does the same for a network that has its weights. Images are not resized.

    Args:
        images: raw images, values from 0 to 255, RGB, channels last: an array or a tensor. They are left as they are.
        network: a network; a variant, such as `"resnet50"`, for its ImageNet weights; or the full name of a set.

    Raises:
        ArgumentError: the network's preprocessing is not known.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> kr.preprocess_input(np.zeros((1, 1, 3), "uint8"), "resnet50")
        array([[[-103.939, -116.779, -123.68 ]]], dtype=float32)
    """
    if isinstance(network, str):
        known = find(network) if "/" in network else _default("imagenet", network, True)
        preparation = known.preprocessing if known else None
    else:
        preparation = getattr(network, "preprocessing", None)
    if not isinstance(preparation, Preprocessing):
        shown = repr(network) if isinstance(network, str) else repr(getattr(network, "name", type(network).__name__))
        raise ArgumentError(
            f"network must be one whose preprocessing is known, a variant that has public weights, or the full name of "
            f"a set; got {shown}. Set model.preprocessing = keras_resnets.Preprocessing(mean, std)."
        )
    return preparation(images)
