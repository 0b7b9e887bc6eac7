from . import optimizers, recipes
from .execution import Execution
from .fine_tuning import fine_tune
from .opening import load_model
from .recalibration import recalibrate
from .training import train

__all__ = ["Execution", "fine_tune", "load_model", "optimizers", "recalibrate", "recipes", "train"]
