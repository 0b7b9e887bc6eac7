"""Layers computed by NumPy alone."""

import numpy as np


def convolve(x, kernel, stride=1):
    """A convolution with symmetric padding, in float64."""
    size = kernel.shape[0]
    padded = np.pad(x, [(0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwcij,ijcd->nhwd", windows, kernel.astype("float64"))
