"""Exports networks to files that run without this package, and compares each file with its network."""

from keras_resnets.export.cards import describe
from keras_resnets.export.exporting import litert, onnx, saved_model
from keras_resnets.export.sensitivity import sensitivity
