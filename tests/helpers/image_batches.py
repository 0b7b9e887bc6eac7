"""Digits as they come, and batches as arrays."""

import numpy as np

import keras_resnets as kr


def arrays(batches):
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def rows_of(images):
    """Every image as a hashable row, to compare sets of images."""
    return [image.tobytes() for image in np.asarray(images, "float32")]


def raw_digits(**options):
    return kr.data.load("digits", **{"normalize": None, "batch_size": 100, **options})
