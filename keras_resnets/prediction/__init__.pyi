from .predicting import Prediction, predict

__all__ = ["Prediction", "predict"]
