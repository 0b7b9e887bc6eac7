"""Data sets for image classification and semantic segmentation, ready for `fit`."""

from keras_resnets.data.augmentation import Augmentation, augment
from keras_resnets.data.batching import Batching
from keras_resnets.data.labels import palette
from keras_resnets.data.loading import load
from keras_resnets.data.pipelines import Data
