from . import (
    applications,
    budget,
    callbacks,
    counting,
    data,
    dilation,
    export,
    lanes,
    layers,
    optimizers,
    paths,
    recipes,
    runs,
    search,
    segmentation,
    spectrum,
    studies,
    taps,
    timing,
    variants,
    weights,
)
from .adopt import adopt
from .applications import (
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
from .blocks import ResidualBlock, Segment
from .building import build, load_model
from .cost import macs, parameters
from .fine_tuning import fine_tune
from .network import ResidualNetwork
from .preprocessing import Preprocessing
from .pruning import Pruned, prune
from .recalibration import recalibrate
from .spec import Spec, Stage
from .surgery import compact, delete, reorder, unskip
from .training import train
from .variants import list_models
