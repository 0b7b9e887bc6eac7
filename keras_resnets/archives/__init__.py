"""Readers of untrusted weight files: named arrays, without executing anything. Keras is not imported."""

from keras_resnets.archives.archive import Archive, Tensor, WeightFileError
from keras_resnets.archives.reading import open_archive

__all__ = ["Archive", "Tensor", "WeightFileError", "open_archive"]
