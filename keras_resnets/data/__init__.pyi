from . import (
    arrays,
    augmentation,
    batches,
    batching,
    folders,
    indexed,
    labels,
    loading,
    masks,
    moments,
    pairs,
    pictures,
    pipelines,
    resizing,
    scenes,
    sources,
)
from .augmentation import Augmentation, augment
from .batching import Batching
from .labels import palette
from .loading import load
from .pipelines import Data

__all__ = [
    "Augmentation",
    "Batching",
    "Data",
    "arrays",
    "augment",
    "augmentation",
    "batches",
    "batching",
    "folders",
    "indexed",
    "labels",
    "load",
    "loading",
    "masks",
    "moments",
    "pairs",
    "palette",
    "pictures",
    "pipelines",
    "resizing",
    "scenes",
    "sources",
]
