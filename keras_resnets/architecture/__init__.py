"""Networks as plain data: specs, the table of variants, and their costs. Keras is not imported."""

from keras_resnets.architecture import budget, counting, dilation, shown, unit, variants
from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.spec import Spec, Stage
from keras_resnets.architecture.variants import list_models

__all__ = [
    "Preprocessing",
    "Spec",
    "Stage",
    "budget",
    "counting",
    "dilation",
    "list_models",
    "unit",
    "variants",
]
