"""What TensorBoard shows of a training beside its curves: hyperparameters, texts, and the graph of its network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_resnets.architecture import budget
from keras_resnets.architecture.spec import Spec, Stage
from keras_resnets.data import Data
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.cost import parameters
from keras_resnets.network.graph import shapes
from keras_resnets.network.inside import unfolded
from keras_resnets.reports.events import Events, Node, about, listing
from keras_resnets.training.recipes import Recipe

# Fields that every training has among its hyperparameters; of the others, those that are not at their defaults.
_OF_SPEC = ("placement", "shortcut", "skip", "dropout")
_OF_RECIPE = ("algorithm", "learning_rate", "schedule", "momentum", "weight_decay", "label_smoothing")
# What other hyperparameters say already.
_TOLD = {"name", "stages", "input_shape", "classes", "head", "epochs", "iterations", "batch_size", "boundaries"}
_TOLD |= {"normalize", "augmentation", "width"}
# Settings of layers that are shown with an operation.
_DETAILS: tuple[str, ...] = (
    "filters",
    "units",
    "kernel_size",
    "strides",
    "padding",
    "dilation_rate",
    "groups",
    "pool_size",
    "rate",
)
_DETAILS += ("momentum", "epsilon", "use_bias", "activation", "scale", "offset")


def write(events: Events, trial: str, model: ResidualNetwork, data: Data, recipe: Recipe, asked: Mapping[str, Any]):
    """Writes what is known of a training before its first epoch.

    Args:
        events: those of the training itself, above those of its splits.
        trial: the name of its row of hyperparameters.
        model: the network.
        data: the data, in the recipe's batches.
        recipe: the recipe, with the length of this training.
        asked: the settings of the run.
    """
    events.hyperparameters(hyperparameters(model, data, recipe, asked), trial)
    network = {**(model.spec.to_dict() if model.spec else {"name": model.name}), "parameters": parameters(model)}
    of_data = {"name": data.name, "classes": data.classes, "class names": data.class_names, "examples": data.sizes}
    for name, values in (
        ("network", network),
        ("recipe", recipe.to_dict()),
        ("data", {**of_data, **{name: value for name, value in data.options.items() if name not in of_data}}),
        ("run", {name: asked[name] for name in ("seed", "dtype", "paths", "weights") if asked.get(name) is not None}),
    ):
        events.text(about(name), listing(values))
    events.graph(nodes(model))


def hyperparameters(
    model: ResidualNetwork, data: Data, recipe: Recipe, asked: Mapping[str, Any]
) -> dict[str, float | bool | str]:
    """Returns what trainings can be compared by: numbers and short texts by name, those of networks first."""
    spec = model.spec
    values: dict[str, Any] = {"network": spec.name if spec else model.name}
    if spec is not None:
        values |= {
            "depth": spec.depth,
            "width": spec.stages[-1].widths[-1],
            "blocks": "-".join(str(stage.blocks) for stage in spec.stages),
            "unit": " ".join(dict.fromkeys(unit_of(stage) for stage in spec.stages)),
            **_fields(spec, _OF_SPEC),
        }
    values["parameters"] = parameters(model)
    if spec is not None and None not in spec.input_shape:
        # TensorBoard shows the first few in alphabetical order; of the costs, these come after depth and learning rate.
        costs = budget.costs(spec)
        values |= {"macs": costs["macs"], "memory": costs["activations"]}
    values |= {
        "data": Path(data.name).name,
        "image": "x".join("any" if side is None else str(side) for side in data.input_shape),
        "classes": data.classes,
        "examples": data.sizes["train"],
        "validation": str(data.options["validation"]),
        "recipe": recipe.name,
        "epochs": recipe.total_epochs(data.steps_per_epoch),
        "batch_size": data.options["batch_size"],
        **_fields(recipe, _OF_RECIPE),
        "normalize": _normalisation(data.options["normalize"]),
        "augmentation": _changes(data.options["augmentation"]),
        "precision": asked.get("dtype", "float32"),
        "paths": _policy(asked.get("paths")),
        "weights": _weights(asked.get("weights")),
        "seed": asked.get("seed"),
    }
    return {name: value if isinstance(value, bool | int | float) else str(value) for name, value in values.items()}


def unit_of(stage: Stage) -> str:
    """Returns the unit of a stage, as `budget.with_unit` takes it."""
    widths, kernels = stage.widths, stage.kernels
    if kernels == (1, 3, 1) and widths[-1] == 4 * widths[0]:
        return "bottleneck"
    return "basic" if kernels == (3, 3) else f"B({','.join(map(str, kernels))})"


def _fields(record: Spec | Recipe, always: tuple[str, ...]) -> dict[str, Any]:
    """Returns fields that every training tells, and those others of one value that are not at their defaults."""
    fields = {field.name: field.default for field in dataclasses.fields(record) if field.name not in _TOLD}
    values = {name: getattr(record, name) for name in fields}
    return {
        name: value
        for name, value in values.items()
        if name in always or (value != fields[name] and isinstance(value, bool | int | float | str))
    }


def _normalisation(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else "of weights"


def _changes(augmentation: Mapping[str, Any]) -> str:
    """Returns an augmentation in a few words."""
    used = {name: value for name, value in augmentation.items() if value and name != "pad_mode"}
    return ", ".join(name if value is True else f"{name} {value}" for name, value in used.items()) or "none"


def _policy(asked: Mapping[str, Any] | None) -> str:
    """Returns a path policy in a few words; the policies inside a schedule stand in the text `about/run`."""
    if asked is None:
        return "all"
    settings = {name: value for name, value in asked["config"].items() if name not in ("seed", "rescale")}
    return " ".join([asked["class_name"], *(str(v) for v in settings.values() if isinstance(v, int | float | str))])


def _weights(asked: Mapping[str, Any] | str | None) -> str:
    """Returns which weights a training starts from: the name of a set or a file, or a fingerprint of given ones."""
    if asked is None:
        return "random"
    return f"given, {asked[:8]}" if isinstance(asked, str) else Path(str(asked["name"])).name


def nodes(model: ResidualNetwork) -> Iterator[Node]:
    """Yields the graph of a network: a box for each stage, in it one for each block, in that one for each branch."""
    stages = dict(zip([block.name for block in model.blocks], model.stages, strict=True))
    listed = unfolded(model.chain)
    steps, source = [step for *_, step in listed], model.inputs[0]
    symbolic = keras.KerasTensor(source.shape, source.dtype)
    written = [shape for *_, shape in shapes(steps, steps[-1].outputs[0], symbolic)]

    yield Node("input", "Input", shape=_known(source.shape))
    names, used = {0: "input"}, {"input"}
    for (link, part, step), shape in zip(listed, written, strict=True):
        boxes = [stages.get(link, ""), link, part]
        name = unique = "/".join([*(box for box in boxes if box and box != step.operation.name), step.operation.name])
        again = 1
        while unique in used:  # a layer that is called again
            again += 1
            unique = f"{name}_{again}"
        used.add(unique)
        names |= dict.fromkeys(step.outputs, unique)
        inputs = [names[index] for index in step.reads]
        yield Node(unique, type(step.operation).__name__, inputs, _known(shape), _details(step.operation))


def _known(shape: tuple[int | None, ...]) -> list[int]:
    return [-1 if size is None else int(size) for size in shape]


def _details(operation: Any) -> dict[str, str]:
    """Returns settings of a layer, and how many parameters it has."""
    if not isinstance(operation, keras.Layer):
        return {}
    config = operation.get_config()
    details = {name: str(config[name]) for name in _DETAILS if config.get(name) is not None}
    count = operation.count_params() if operation.built else 0
    return {**details, "parameters": f"{count:,}"} if count else details
