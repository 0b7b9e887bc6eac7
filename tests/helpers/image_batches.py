"""Digits as they come, and batches as arrays."""

import dataclasses

import numpy as np

import keras_resnets as kr
from keras_resnets.data import sources


def arrays(batches):
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def rows_of(images):
    """Every image as a hashable row, to compare sets of images."""
    return [image.tobytes() for image in np.asarray(images, "float32")]


def streamed(data):
    """The same data, read by tf.data as sets too large for memory are."""
    import tensorflow as tf

    splits = {
        name: sources.Stream(tf.data.Dataset.from_tensor_slices((split.images, split.labels)), split.size)
        for name, split in data._splits.items()
    }
    return dataclasses.replace(data, _splits=splits)


def raw_digits(**options):
    return kr.data.load("digits", **{"normalize": None, "batch_size": 100, **options})
