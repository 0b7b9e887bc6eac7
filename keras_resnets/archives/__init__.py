"""Files of strangers, read into named arrays without running anything in them. Keras is not imported."""

from keras_resnets.archives.archive import Archive, Tensor, WeightFileError
from keras_resnets.archives.reading import open_archive

__all__ = ["Archive", "Tensor", "WeightFileError", "open_archive"]
