"""`Preprocessing` turns raw pixels into a network's input, `Resizing` pictures into its images. Without Keras."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnets.errors import ArgumentError, one_of, whole_number


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
        factor = max(math.floor(side / self.crop) / of for side, of in zip(size, picture, strict=True))
        height, width = (max(side, round(of * factor)) for side, of in zip(size, picture, strict=True))
        return height, width


@dataclass(frozen=True)
class Preprocessing:
    """Turns raw pixels into a network's input: `(pixels - mean) / std`, channel by channel.

    A network whose weights came from a file, or that `keras_resnets.train` trained, has its own as
    `model.preprocessing`; call it to prepare images for that network.

    Args:
        mean: mean in the units of the raw pixels, one number for each channel, or one for all.
        std: standard deviation, likewise.
        channels: order of the network's channels, `"rgb"` or `"bgr"`; images are RGB in either case. `mean` and `std`
            are in the network's order.
        resizing: how pictures of other sizes were brought to the network's; None if it is not known. A call does not
            resize.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> caffe = kr.Preprocessing((103.939, 116.779, 123.68), (1.0,), "bgr")
        >>> caffe(np.full((1, 1, 3), 255, "uint8")).round(3)
        array([[[151.061, 138.221, 131.32 ]]], dtype=float32)
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels: str = "rgb"
    resizing: Resizing | None = None

    def __post_init__(self) -> None:
        one_of("channels", self.channels, ("rgb", "bgr"))
        for field in ("mean", "std"):
            values = getattr(self, field)
            if not isinstance(values, tuple) or not values or not all(np.isfinite(values)):
                raise ArgumentError(f"{field} must be a tuple of numbers, one for each channel or one; got {values!r}.")
        if min(self.std) <= 0:
            raise ArgumentError(f"std must be positive; got {self.std!r}.")

    def __call__(self, images):
        """Returns the network's input.

        Args:
            images: raw images, channels last: a NumPy array, a tensor of the backend, or a Keras tensor.

        Raises:
            ArgumentError: they have another number of channels.
        """
        channels = images.shape[-1] if len(images.shape) else None
        if not self.fits(channels):
            wanted = 3 if self.channels == "bgr" else max(len(self.mean), len(self.std))
            raise ArgumentError(
                f"images must have the {wanted} channels that this preprocessing is for, as their last axis; got shape "
                f"{tuple(images.shape)}."
            )
        if isinstance(images, np.ndarray):
            return self._normalize(images.astype("float32"))
        from keras import ops

        return self._normalize(ops.cast(images, "float32"))

    def fits(self, channels: int | None) -> bool:
        """Returns whether it is for images of so many channels; None is a number that is not known."""
        counts = {len(self.mean), len(self.std)} | ({3} if self.channels == "bgr" else set())
        return channels is None or counts <= {1, channels}

    def _normalize(self, images):
        images = images[..., ::-1] if self.channels == "bgr" else images
        return (images - np.asarray(self.mean, "float32")) / np.asarray(self.std, "float32")

    def to_dict(self) -> dict[str, Any]:
        """Returns plain lists, numbers and strings, ready for JSON."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Inverse of `to_dict`."""
        resizing = values.get("resizing")  # not in what early versions saved
        return cls(
            tuple(values["mean"]), tuple(values["std"]), values["channels"], Resizing(**resizing) if resizing else None
        )
