"""Training by a recipe, in a run directory from which an interrupted training resumes bit for bit."""

from keras_resnets.training import optimizers, recipes
from keras_resnets.training.execution import Execution
from keras_resnets.training.fine_tuning import fine_tune
from keras_resnets.training.opening import load_model
from keras_resnets.training.recalibration import recalibrate
from keras_resnets.training.training import train

__all__ = ["Execution", "fine_tune", "load_model", "optimizers", "recalibrate", "recipes", "train"]
