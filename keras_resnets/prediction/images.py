"""The pictures of a prediction: files, folders and arrays, read as training reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.data import folders, pictures
from keras_resnets.data.resizing import OF_NATIVE_SIZE
from keras_resnets.data.resizing import raw_image as brought
from keras_resnets.errors import ArgumentError, listed, notice


@dataclass(frozen=True)
class Item:
    """A picture to predict.

    Attributes:
        name: its path, or its place among the arrays given.
        picture: a `Path`, or an array of (height, width, channels).
        is_picture: whether its values go from 0 to 255, as in a file, and not to the network's white.
    """

    name: str
    picture: Any
    is_picture: bool = True


def items(images: Any) -> list[Item]:
    """Lists the pictures of a path, of a folder, of arrays, or of several of them.

    Raises:
        ArgumentError: there are none, or what is given is none.
    """
    found = list(_items(images))
    if not found:
        raise ArgumentError("images must be at least one picture; got none.")
    return found


def _items(images: Any) -> Iterator[Item]:
    if isinstance(images, str | os.PathLike):
        path = Path(images)
        if path.is_dir():
            yield from (Item(str(file), file) for file in _below(path))
        elif path.exists():
            yield Item(str(path), path)
        else:
            raise ArgumentError(f"images: there is no file or folder {str(path)!r}.")
    elif _is_pillow(images):
        yield Item("the picture given", _upright(images))
    elif hasattr(images, "shape"):
        array = _checked(np.asarray(images))
        single = array.ndim == 3
        for number, image in enumerate(array[None] if single else array):
            yield Item("the array given" if single else f"images[{number}]", image, False)
    elif isinstance(images, Iterable):
        for number, one in enumerate(images):
            listed = list(_items(one))
            nameless = len(listed) == 1 and not isinstance(one, str | os.PathLike)
            yield from [Item(f"images[{number}]", i.picture, i.is_picture) for i in listed] if nameless else listed
    else:
        raise ArgumentError(
            f"images must be paths of pictures or of folders, arrays of (height, width, channels), or pictures of "
            f"Pillow; got {type(images).__name__}."
        )


def _below(folder: Path) -> Iterator[Path]:
    """Yields the pictures below a folder, by name; tells what is left out."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    notes = folders.Notes(folder)
    for file in files:
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            notes.left_out["hidden files"] += 1
        elif folders.is_image(file, notes):
            yield file
    if notes.left_out:
        left_out = listed((f"{count} {what}" for what, count in notes.left_out.items()), between="; ")
        notice(f"{folder}: left out: {left_out}.")


def _is_pillow(image: Any) -> bool:
    return type(image).__module__.split(".")[0] == "PIL"


def _upright(image: Any) -> np.ndarray:
    """Returns a picture of Pillow as one of a file is read: upright, in RGB."""
    from PIL import ImageOps

    if image.mode not in pictures.MODES:
        raise ArgumentError(f"images must have at most 8 bits a channel; got a picture of the kind {image.mode!r}.")
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _checked(array: np.ndarray) -> np.ndarray:
    """Returns an array as one image of (height, width, channels), or several; a grey image may lack its channel."""
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim not in (3, 4) or array.dtype.kind not in "uif" or not np.isfinite(array).all():
        raise ArgumentError(
            f"images must be finite numbers of shape (height, width, channels), or a batch of them; got shape "
            f"{array.shape} of type {array.dtype}."
        )
    return array


def inspected(listed: Sequence[Item]) -> list[pictures.Picture | ArgumentError | None]:
    """Returns what the header of each file says, or why it cannot be read; None for arrays."""
    files = [item.picture for item in listed if isinstance(item.picture, Path)]
    found = iter(pictures.inspected(files))
    return [next(found) if isinstance(item.picture, Path) else None for item in listed]


def raw_image(
    item: Item, header: pictures.Picture | None, preprocessing: Preprocessing, shape: tuple[int | None, ...]
) -> np.ndarray:
    """Returns the raw pixels of a network's image of a picture, float32 of (height, width, channels).

    Args:
        item: the picture.
        header: what `inspected` says of it.
        preprocessing: the network's.
        shape: height, width and channels of the network's inputs.

    Raises:
        ArgumentError: the picture cannot be read, or it is not known how it becomes an image of the network.
    """
    if header is not None:
        with pictures.unwarned():
            picture = pictures.decoded(item.picture)
    else:
        picture = item.picture
        if not item.is_picture and (preprocessing.white != 255 or picture.dtype != "uint8"):
            return _as_it_is(item.name, picture, preprocessing, shape)
    if preprocessing.white is None:
        raise ArgumentError(
            "preprocessing: the network was trained on inputs that are no pixels, so a picture cannot become one; give "
            "arrays as it was trained on."
        )
    if preprocessing.resizing is None:
        if tuple(picture.shape[:2]) != tuple(shape[:2]):
            raise ArgumentError(
                f"preprocessing: it is not known how pictures of other sizes were brought to the network's "
                f"{tuple(shape[:2])}, and {item.name} has {tuple(picture.shape[:2])}. Say how, such as "
                f"{{'resizing': {{'crop': 0.875}}}} (--preprocessing '{{\"resizing\": {{\"crop\": 0.875}}}}'), or "
                f"resize it."
            )
        preprocessing = Preprocessing(resizing=OF_NATIVE_SIZE, white=preprocessing.white)
    elif None in (preprocessing.resizing.size or shape[:2]):
        raise ArgumentError(
            "preprocessing: the network takes images of any size, and it is not known which it was trained on; give it "
            "in the resizing, such as {'resizing': {'size': [224, 224]}} (--preprocessing)."
        )
    if shape[2] == 1 and picture.shape[2] == 3 and np.ptp(np.asarray(picture), axis=2).any():
        notice("Pictures in colour become grey, for a network of one channel.")
    return brought(picture, preprocessing, shape)


def _as_it_is(name: str, picture: np.ndarray, preprocessing: Preprocessing, shape) -> np.ndarray:
    """Returns an array that has the network's size and its white."""
    if any(side not in (None, found) for side, found in zip(shape, picture.shape, strict=True)):
        raise ArgumentError(
            f"images must have the network's shape {tuple(shape)} unless they are pictures of uint8; {name} has "
            f"{picture.shape} of type {picture.dtype}. Give a picture of Pillow, or a file."
        )
    if preprocessing.white is not None and picture.max() > preprocessing.white:
        raise ArgumentError(
            f"images must go to {preprocessing.white:g}, the white of this network's training images; {name} goes to "
            f"{picture.max():g}. Give a picture of Pillow, or a file, which are scaled, or scale it."
        )
    return picture.astype("float32")
