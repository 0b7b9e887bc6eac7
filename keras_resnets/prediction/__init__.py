"""Class names and probabilities for pictures, by a network in memory or in a file of any kind."""

from keras_resnets.prediction.predicting import Prediction, predict

__all__ = ["Prediction", "predict"]
