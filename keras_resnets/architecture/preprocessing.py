"""`Preprocessing`: turns raw pixels into a network's input. Standard library and NumPy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnets.errors import ArgumentError, one_of


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
        return cls(tuple(values["mean"]), tuple(values["std"]), values["channels"])
