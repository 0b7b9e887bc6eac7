"""Networks as files that run without this package, each compared with the network that it came from."""

from keras_resnets.export.cards import describe
from keras_resnets.export.exporting import litert, onnx, saved_model
from keras_resnets.export.sensitivity import sensitivity
