"""`Preprocessing`: what happens to raw pixels in front of a network. Standard library and NumPy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnets.errors import ArgumentError, one_of


@dataclass(frozen=True)
class Preprocessing:
    """The step from raw pixels to a network's input: `(pixels - mean) / std`, channel by channel.

    A network whose weights came from a file, or that was trained by `keras_resnets.train`, carries its own as
    `model.preprocessing`; calling it prepares images for that network.

    Args:
        mean: in the units of the raw pixels, one number for each channel, or one for all.
        std: what is divided by, likewise.
        channels: order of the network's channels, `"rgb"` or `"bgr"`; images are given as RGB in either case.
            Mean and deviation are in the network's order.

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
        """Returns what the network takes.

        Args:
            images: raw images, channels last: an array of NumPy, or a tensor of the backend or of Keras.
        """
        if isinstance(images, np.ndarray):
            return self._apply(images.astype("float32"))
        from keras import ops

        return self._apply(ops.cast(images, "float32"))

    def _apply(self, images):
        images = images[..., ::-1] if self.channels == "bgr" else images
        return (images - np.asarray(self.mean, "float32")) / np.asarray(self.std, "float32")

    def to_dict(self) -> dict[str, Any]:
        """Returns plain lists, numbers and strings, ready for JSON."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Inverse of `to_dict`."""
        return cls(tuple(values["mean"]), tuple(values["std"]), values["channels"])
