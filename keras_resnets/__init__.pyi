from . import data, export, paths, runs, search, segmentation, studies, weights
from .architecture import Preprocessing, Spec, Stage, budget, counting, dilation, list_models, variants
from .instruments import lanes, spectrum, taps, timing
from .models import applications, build
from .models.applications import (
    WRN18W2,
    WRN18W3,
    WRN18W15,
    WRN34W2,
    WRN34W15,
    WRN50_2,
    WRN101_2,
    Plain18,
    Plain34,
    ResNet18,
    ResNet34,
    ResNet38,
    ResNet38A1,
    ResNet38A2,
    ResNet50,
    ResNet50V2,
    ResNet50V15,
    ResNet101,
    ResNet101V2,
    ResNet101V15,
    ResNet152,
    ResNet152V2,
    ResNet152V15,
    ResNet200V2,
    Wu16,
    WuB,
    WuC,
    WuD,
    WuE,
    WuF,
)
from .network import (
    ResidualBlock,
    ResidualNetwork,
    Segment,
    adopt,
    compact,
    delete,
    fold,
    layers,
    macs,
    parameters,
    reorder,
    unskip,
)
from .pages.reporting import report
from .prediction import Prediction, predict
from .pruning import Pruned, prune
from .studies import callbacks, compare, evaluate
from .training import Execution, fine_tune, load_model, optimizers, recalibrate, recipes, train
from .weights import decode_predictions, preprocess_input

__version__: str
