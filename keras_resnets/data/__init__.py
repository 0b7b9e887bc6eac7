"""Data sets for image classification, ready for `fit`."""

from keras_resnets.data.augmentation import Augmentation, augment
from keras_resnets.data.pipelines import Data, load
