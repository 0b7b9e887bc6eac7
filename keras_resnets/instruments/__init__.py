"""Measures networks without changing them: lesions in lanes, inner outputs, gradients by path length, time."""

from keras_resnets.instruments import lanes, spectrum, taps, timing

__all__ = ["lanes", "spectrum", "taps", "timing"]
