"""`Preprocessing` turns raw pixels into a network's input, `Resizing` pictures into its images. Without Keras."""

from __future__ import annotations

import base64
import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnets.errors import ArgumentError, number, one_of, whole_number
from keras_resnets.explaining import explained, made_of


@dataclass(frozen=True)
class Resizing:
    """How a picture of any size becomes an image of a network's size: scaled, smoothed against aliasing, and cut.

    Args:
        crop: side of the network's image as a share of the scaled picture's shorter side, whose centre is kept: 0.875
            is 256 pixels for 224 (He et al. 2015, section 3.4). 1 keeps the whole of a square picture.
        interpolation: `"bilinear"` or `"bicubic"`.
        stretch: whether the picture is scaled to the network's height and width, whatever its own ratio; nothing is cut
            then.
        size: height and width of the image, where the network takes images of any size; None for the network's.

    `keras_resnets.data.resizing.resized` does it.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> from keras_resnets.architecture.preprocessing import Resizing
        >>> Resizing().scaled((500, 375), (224, 224))
        (341, 256)
    """

    crop: float = 0.875
    interpolation: str = "bilinear"
    stretch: bool = False
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        one_of("interpolation", self.interpolation, ("bilinear", "bicubic"))
        one_of("stretch", self.stretch, (True, False))
        if not isinstance(self.crop, int | float) or not 0 < self.crop <= 1:
            raise ArgumentError(f"crop must be a share above 0 and at most 1; got {self.crop!r}.")
        if isinstance(self.size, list):
            object.__setattr__(self, "size", tuple(self.size))  # JSON turns tuples into lists
        if self.size is not None:
            if not isinstance(self.size, tuple) or len(self.size) != 2:
                raise ArgumentError(f"size must be a height and a width, or None; got {self.size!r}.")
            for side in self.size:
                whole_number("size", side, 1)

    def scaled(self, picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
        """Returns the height and width to which a picture is scaled, of which the centre of `size` is then kept.

        Args:
            picture: height and width of the picture.
            size: height and width of the network's images.
        """
        if self.stretch:
            return size
        # In single precision, as pipelines and exported files compute it, to the same pixel.
        factors = np.array(self.enlarged(size), "float32") / np.array(picture, "float32")
        height, width = np.maximum(size, np.round(np.array(picture, "float32") * factors.max())).astype(int).tolist()
        return height, width

    def enlarged(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the height and width that a scaled picture has at least, of which `size` is the share `crop`."""
        height, width = (math.floor(side / self.crop) for side in size)
        return height, width


@explained
@dataclass(frozen=True)
class Preprocessing:
    """Turns raw pixels into a network's input: `(pixels - mean) / std`, channel by channel.

    A network whose weights came from a file, or that `keras_resnets.train` trained, has its own as
    `model.preprocessing`; call it to prepare images for that network.

    Args:
        mean: mean in the units of the raw pixels: one number for each channel, or one for all; or a mean image, nested
            tuples of (height, width, channels), which He et al. 2015 subtract in section 4.2.
        std: standard deviation, likewise.
        channels: order of the network's channels, `"rgb"` or `"bgr"`; images are RGB in either case. `mean` and `std`
            are in the network's order.
        resizing: how pictures of other sizes were brought to the network's; None if it is not known. A call does not
            resize.
        white: the value of white in the raw pixels: 255 in pictures, 16 in scikit-learn's digits, 1 in arrays from 0
            to 1; None if they are no pixels. A call does not scale.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> caffe = kr.Preprocessing((103.939, 116.779, 123.68), (1.0,), "bgr")
        >>> caffe(np.full((1, 1, 3), 255, "uint8")).round(3)
        array([[[151.061, 138.221, 131.32 ]]], dtype=float32)
    """

    mean: tuple[Any, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: str = "rgb"
    resizing: Resizing | None = None
    white: float | None = 255.0

    def __post_init__(self) -> None:
        one_of("channels", self.channels, ("rgb", "bgr"))
        for field in ("mean", "std"):
            values = getattr(self, field)
            ranks = (1, 3) if field == "mean" else (1,)
            if not isinstance(values, tuple) or not values or not _are_numbers(values, ranks):
                raise ArgumentError(f"{field} must be a tuple of numbers, one for each channel or one; got {values!r}.")
        if min(self.std) <= 0:
            raise ArgumentError(f"std must be positive; got {self.std!r}.")
        if self.resizing is not None and not isinstance(self.resizing, Resizing):
            raise ArgumentError(f"resizing must be a Resizing or None; got {self.resizing!r}.")
        if self.white is not None:
            number("white", self.white, above=0)

    def __repr__(self) -> str:
        shape = self.image_shape
        mean = repr(self.mean) if shape is None else f"<image of {'x'.join(map(str, shape))}>"
        parts = [f"mean={mean}", f"std={self.std!r}", f"channels={self.channels!r}"]
        parts += [f"resizing={self.resizing!r}"] if self.resizing is not None else []
        parts += [f"white={self.white!r}"] if self.white != 255 else []
        return f"Preprocessing({', '.join(parts)})"

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of the mean image; None where the mean is one of channels."""
        shape = np.shape(self.mean)
        return (shape[0], shape[1], shape[2]) if len(shape) == 3 else None

    def __call__(self, images):
        """Returns the network's input.

        Args:
            images: raw images, channels last: a NumPy array, a tensor of the backend, or a Keras tensor.

        Raises:
            ArgumentError: they are no numbers, or have another number of channels.
        """
        if not hasattr(images, "shape") or isinstance(images, np.ndarray | np.generic):
            images = _numbers(images)
        channels = images.shape[-1] if len(images.shape) else None
        if not len(images.shape) or not self.fits(channels):
            wanted = 3 if self.channels == "bgr" else max(np.shape(self.mean)[-1], len(self.std))
            raise ArgumentError(
                f"images must have the {wanted} channels that this preprocessing is for, as their last axis; got shape "
                f"{tuple(images.shape)}."
            )
        mean, shape = self.image_shape, tuple(images.shape)[-3:]
        if mean is not None and (len(shape) < 3 or any(s not in (None, m) for s, m in zip(shape, mean, strict=True))):
            raise ArgumentError(
                f"images must be of the size of the mean image that this preprocessing subtracts, {mean}; got shape "
                f"{tuple(images.shape)}."
            )
        if isinstance(images, np.ndarray):
            return self._normalize(images.astype("float32"))
        from keras import ops

        return self._normalize(ops.cast(images, "float32"))

    def same_pixels(self, other: Preprocessing | None) -> bool:
        """Whether another one does the same to pixels, but for the rounding of its numbers."""
        if other is None or self.channels != other.channels:
            return False
        pairs = [(np.asarray(getattr(self, part)), np.asarray(getattr(other, part))) for part in ("mean", "std")]
        return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)

    def fits(self, channels: int | None) -> bool:
        """Returns whether it is for images of so many channels; None is a number that is not known."""
        counts = {np.shape(self.mean)[-1], len(self.std)} | ({3} if self.channels == "bgr" else set())
        return channels is None or counts <= {1, channels}

    def _normalize(self, images):
        images = images[..., ::-1] if self.channels == "bgr" else images
        return (images - np.asarray(self.mean, "float32")) / np.asarray(self.std, "float32")

    def to_dict(self) -> dict[str, Any]:
        """Returns plain lists, numbers and strings, ready for JSON; a mean image as its float32 in base64."""
        mean: Any = list(self.mean)
        if self.image_shape is not None:
            content = np.asarray(self.mean, "<f4").tobytes()
            mean = {"shape": list(self.image_shape), "float32": base64.b64encode(content).decode()}
        return {**dataclasses.asdict(self), "mean": mean, "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Inverse of `to_dict`."""
        resizing = values.get("resizing")  # not in what early versions saved, nor is `white`
        missing = [name for name in ("mean", "std", "channels") if name not in values]
        if missing:
            raise ArgumentError(f"preprocessing must have the field {missing[0]!r}; got {', '.join(values) or 'none'}.")
        mean = values["mean"]
        if isinstance(mean, dict):
            content = np.frombuffer(base64.b64decode(mean["float32"]), "<f4")
            mean = content.astype("float64").reshape(mean["shape"]).tolist()
        return cls(
            _nested(mean),
            tuple(values["std"]),
            values["channels"],
            made_of(Resizing, resizing, "resizing") if resizing else None,
            values.get("white", 255.0),
        )


def _are_numbers(values: tuple, ranks: tuple[int, ...]) -> bool:
    """Returns whether nested tuples hold finite numbers, and are as deep as one of the ranks."""
    try:
        array = np.array(values, "float64")
    except (TypeError, ValueError):
        return False
    return array.ndim in ranks and bool(np.isfinite(array).all())


def _nested(values: Any) -> Any:
    return tuple(_nested(value) for value in values) if isinstance(values, list | tuple) else values


def _numbers(images: Any) -> np.ndarray:
    """Returns images that are no tensor as an array of numbers."""
    try:
        array = np.asarray(images)
        if array.dtype.kind in "biuf" or array.dtype.name == "bfloat16":
            return array
        found: Any = array.dtype
    except ValueError:
        found = "parts of several shapes"
    raise ArgumentError(f"images must be an array of numbers; got {type(images).__name__} of {found}.")
