"""What the configuration of a saved network may name: a closed table, looked up before anything is made of it.

Keras' safe mode refuses Python lambdas, but it looks up any public name of Keras, functions that write files or change
settings among them. A file of a stranger that names one of those as a step of a `Graph` would have it called.
"""

from __future__ import annotations

import inspect
import json
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras

from keras_resnets.archives import hdf5_file
from keras_resnets.archives.reading import open_archive
from keras_resnets.errors import ArgumentError
from keras_resnets.registered import resolved

# The configuration of resnet1202 has about 4 MB.
MOST_BYTES = 1 << 26
# Keras' wrappers of plain values.
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__"}
# Layers that run code, or files, that their configuration brings along.
_FORBIDDEN = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_CLASSES = (
    keras.Operation,  # layers, models, and the operations of keras.ops
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.dtype_policies.DTypePolicy,
    keras.random.SeedGenerator,
)
# Where files in HDF5 have their names from, which they give without a module.
_UNNAMED = (
    keras.layers,
    keras.models,
    keras.initializers,
    keras.regularizers,
    keras.constraints,
    keras.optimizers,
    keras.optimizers.schedules,
    keras.losses,
    keras.metrics,
    keras.dtype_policies,
    keras.mixed_precision,
)
# Functions of Keras that compute with what they are given, and do nothing else.
_FUNCTIONS = ("keras.activations", "keras.losses", "keras.metrics", "keras.ops")


def check(config: Any, where: str, *, legacy: bool = False) -> None:
    """Demands that a configuration names nothing but layers, operations and the like.

    Args:
        config: the configuration, as plain data.
        where: what a message calls it.
        legacy: whether names may stand without a module, as in HDF5.

    Raises:
        ArgumentError: it names something else.

    Example:
        >>> import keras
        >>> from keras_resnets.network.trusted import check
        >>> check(keras.saving.serialize_keras_object(keras.layers.ReLU()), "the layer")
    """
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "class_name" in item and "config" in item:
                _check_named(item, where, legacy)
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)


def check_operations(steps: Any, where: str) -> None:
    """Demands that what a `Graph` calls are layers and operations of `keras.ops`, and their arguments plain values.

    Raises:
        ArgumentError: a step names something else.
    """
    check(steps, where)
    for step in steps:
        operation = step["operation"]
        found = resolve(operation) if isinstance(operation, dict) else None
        if not (inspect.isclass(found) and issubclass(found, keras.Operation)):
            raise ArgumentError(
                f"{where} names {_name(operation)} as a step, which is neither a layer nor an operation of keras.ops; "
                f"do not use a file that you do not trust."
            )


def check_file(file: Path) -> None:
    """Demands of a `.keras` or whole `.h5` file what `check` demands; one that is no such file is left to Keras.

    Raises:
        ArgumentError: its configuration is too large, or names something else; or it is HDF5 of weights alone.
    """
    with file.open("rb") as start:
        if start.read(len(hdf5_file.MAGIC)) == hdf5_file.MAGIC:
            _check_hdf5(file)
            return
    try:
        with zipfile.ZipFile(file) as archive, archive.open("config.json") as member:
            text = member.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ArgumentError(f"{str(file)!r} has a configuration of more than {MOST_BYTES:,} bytes; it is refused.")
        check(json.loads(text), repr(str(file)))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        if isinstance(error, ArgumentError):
            raise
        if isinstance(error, RecursionError):
            raise ArgumentError(f"{str(file)!r} has a configuration nested deeper than any network's.") from error


def _check_hdf5(file: Path) -> None:
    with open_archive(file) as archive:
        texts = [archive.metadata.get(key) for key in ("model_config", "training_config")]
    if texts[0] is None:
        raise ArgumentError(
            f"{str(file)!r} holds weights alone, and not their network; build that, and give the file as weights: "
            f"keras_resnets.build(name, weights=file)."
        )
    try:
        for text in filter(None, texts):
            check(json.loads(text), repr(str(file)), legacy=True)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"{str(file)!r} is damaged: its configuration is not JSON; save it again.") from error


def _check_named(item: dict[str, Any], where: str, legacy: bool) -> None:
    name = item["class_name"]
    for key in ("class_name", "module", "registered_name"):
        if not isinstance(item.get(key), str | None):
            raise ArgumentError(f"{where} is damaged: {key!r} of a part must be a name; got {str(item[key])[:80]}.")
    if name in _VALUES:
        return
    legacy = legacy and item.get("module") is None
    found = _resolve_unnamed(item) if legacy else resolve(item)
    if name in _FORBIDDEN or getattr(found, "__name__", None) in _FORBIDDEN:
        raise ArgumentError(
            f"{where} has a layer {name}, which runs code that a file brings along, and is refused. If you trust who "
            f"made it, open it with keras.saving.load_model and give the network to keras_resnets.adopt."
        )
    if found is None and not legacy:
        return  # Keras says what it does not find.
    registered = found is not None and _registered(item) is found
    if name == "function":
        module = str(item.get("module"))
        allowed = registered or module in _FUNCTIONS
    else:
        allowed = inspect.isclass(found) and (registered or issubclass(found, _CLASSES))
    if not allowed:
        raise ArgumentError(
            f"{where} names {_name(item)}, which is no layer and no operation, loss, metric or optimiser; do not use a "
            f"file that you do not trust."
        )


def _target(item: dict[str, Any]) -> Any:
    """The name that is looked up: a function's stands in its configuration."""
    return item.get("config") if item.get("class_name") == "function" else item.get("class_name")


def _registered(item: dict[str, Any]) -> Any:
    """The object that somebody registered under the item's name, ours among them, or None."""
    names = [name for name in (item.get("registered_name"), _target(item)) if isinstance(name, str)]
    known = (resolved(keras.saving.get_registered_object(name)) for name in names)
    return next((item for item in known if item is not None), None)


def resolve(item: dict[str, Any]) -> Any:
    """Returns the object that Keras would look up for an item of a configuration, or None."""
    name = _target(item)
    if not isinstance(name, str):
        return None
    if (registered := _registered(item)) is not None:
        return registered
    module = item.get("module")
    if not isinstance(module, str):
        return None
    found = sys.modules.get(module)
    if found is None:
        found = keras
        for part in module.split(".")[1:]:
            found = getattr(found, part, None)
    return getattr(found, name, None)


def _resolve_unnamed(item: dict[str, Any]) -> Any:
    """The class that Keras would look up for a name without a module, or None."""
    name = _target(item)
    if not isinstance(name, str):
        return None
    if (registered := _registered(item)) is not None:
        return registered
    if name == "Functional":
        return keras.Model
    own = resolved(keras.saving.get_registered_object(f"keras_resnets>{name}"))
    return next((getattr(module, name) for module in _UNNAMED if hasattr(module, name)), own)


def _name(item: Any) -> str:
    if not isinstance(item, dict):
        return repr(item)[:80]
    return f"{item.get('module')}.{_target(item)}"[:80]
