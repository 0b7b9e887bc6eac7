"""What happens when Keras is imported: it gets to know the classes that saved networks name, each imported when used.

Keras looks a name up in its table of registered classes, and imports no package to find it. So it would open our files
only once the modules that register our classes were imported, which takes seconds.
"""

from __future__ import annotations

import importlib
import sys

# The import of `typing` would take as long as that of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

PACKAGE = "keras_resnets"
# What Keras can compute with here, as its setting and imports name it; the first that is installed is recommended.
BACKENDS = {"jax": "JAX", "torch": "torch", "tensorflow": "TensorFlow"}
# The module of each class, as `keras.saving.register_keras_serializable` registers it there.
CLASSES = {
    "network.layers": ("BatchNorm", "MaxPool", "PadChannels", "TakeChannels"),
    "network.blocks": ("ResidualBlock", "Segment"),
    "network.chain": ("ResidualNetwork",),
    "network.graph": ("Graph",),
    "paths.kinds": ("FixedSize", "StochasticDepth", "Bernoulli", "Weighted", "DropPath"),
    "paths.schedule": ("Schedule",),
    "segmentation.losses": ("PixelLoss",),
    "segmentation.metrics": ("MeanIoU", "PixelAccuracy"),
    "training.losses": ("SmoothedCrossentropy",),
    "training.optimizers": ("SGD", "AdamW"),
    "training.schedules": ("Held", "WarmedUp"),
}


class _StandIn(type):
    """A class that stands for one of ours in Keras' table, until the import of its module registers the class itself.

    What it is asked for, such as `from_config`, it takes from that class.
    """

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):  # what Python asks of any class
            raise AttributeError(name)
        return getattr(resolved(cls), name)

    def __call__(cls, *args, **kwargs):
        return resolved(cls)(*args, **kwargs)


def resolved(known: Any) -> Any:
    """Returns what Keras has under a name, or, of a class that stands for one of ours, that class."""
    if not isinstance(known, _StandIn):
        return known
    return getattr(importlib.import_module(known.__module__), known.__name__)


def introduce(keras: ModuleType) -> None:
    """Enters our classes into the table of Keras, without those that are there."""
    known = keras.saving.get_custom_objects()
    for module, names in CLASSES.items():
        for name in names:
            stand_in = _StandIn(name, (), {"__module__": f"{PACKAGE}.{module}"})
            known.setdefault(f"{PACKAGE}>{name}", stand_in)


def _without(error: ModuleNotFoundError) -> ImportError:
    """Returns a sentence in place of Keras' error that the library it is to compute with is not installed."""
    if error.name not in BACKENDS:
        return error
    from importlib.util import find_spec

    name, there = BACKENDS[error.name], [library for library in BACKENDS if find_spec(library)]
    remedy = f"Set the environment variable KERAS_BACKEND={there[0]}, or install {name}" if there else f"Install {name}"
    return ImportError(f"Keras is to compute with {name}, which is not installed. {remedy}.")


class _UponKeras:
    """A finder of modules that calls `introduce` when Keras was imported, and finds nothing itself."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next((spec for finder in others if (spec := finder.find_spec(name, path, target))), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            try:
                execute(module)
            except ModuleNotFoundError as error:
                raise _without(error) from error
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            introduce(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Has Keras know our classes: now if it is imported, else as soon as it is."""
    if "keras" in sys.modules:
        introduce(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _UponKeras())
