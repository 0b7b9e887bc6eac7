"""What measures a network and leaves it as it was: lesions in lanes, inner outputs, gradients by path, time."""

from keras_resnets.instruments import lanes, spectrum, taps, timing

__all__ = ["lanes", "spectrum", "taps", "timing"]
