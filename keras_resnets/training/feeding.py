"""Data as a recipe has it: a set is one thing, how it is batched, normalised and augmented another."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from keras_resnets import data as datasets
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Run
from keras_resnets.training.recipes import Recipe

# Images for segmentation are filled up to multiples of the usual output stride.
_PAD_TO = 8
_OF_RECIPE = ("batch_size", "normalize", "augmentation", "drop_remainder")


def data_for(recipe: Recipe, name: str | os.PathLike, task: str = "classification", **options: Any) -> datasets.Data:
    """Loads data as a recipe has it.

    Args:
        recipe: the recipe.
        name: as for `keras_resnets.data.load`.
        task: as for `load`.
        **options: as for `load`, but for what the recipe says.
    """
    if task == "segmentation":
        options = {"pad_to": _PAD_TO, **options}
    return datasets.load(name, task=task, **options, **{field: getattr(recipe, field) for field in _OF_RECIPE})


def fed(
    data: str | os.PathLike | datasets.Data,
    recipe: Recipe,
    seed: int,
    *,
    task: str = "classification",
    out: str | os.PathLike | None = None,
    normalized: bool = False,
) -> datasets.Data:
    """Returns data as a training sees them: in the recipe's batches, in the order of the training's seed.

    What was given to `keras_resnets.data.load` by name, such as `batch_size=64`, goes before the recipe.

    Args:
        data: a `Data`, or the name of a set.
        recipe: the recipe.
        seed: the training's.
        task: of a set given by name.
        out: the training's run directory, if there is one. Early versions trained a `Data` in batches of its own; a
            training that was started so goes on so.
        normalized: whether images stay normalised as the data have it, as a network wants them that has been trained.

    Raises:
        ArgumentError: the recipe normalises images otherwise than the data do, and nobody has said which is wanted.
    """
    if not isinstance(data, datasets.Data):
        return data_for(recipe, data, task, seed=seed)
    if out is not None and (started := _started(out)) is not None:
        batching = datasets.Batching.of(started)
        own = {field: getattr(batching, field) for field in (*_OF_RECIPE, "pad_to") if field not in data.given}
        return data.batched(**own).seeded(data.options["seed"] if "seed" in data.given else started["seed"])
    # A study of the network takes the same `Data`, so its images must be normalised as those that it learnt from.
    kept = data.given | {"normalize"}
    norm = data.batching.normalize
    if norm != recipe.normalize and not (normalized or "normalize" in data.given or data.prepare):
        raise ArgumentError(
            f"data: {data.name!r} is normalised by {norm!r}, and the recipe {recipe.name!r} has {recipe.normalize!r}. "
            f"Load it with normalize={recipe.normalize!r}; or with normalize={norm!r}, if that is what is wanted."
        )
    wanted = {field: getattr(recipe, field) for field in _OF_RECIPE if field not in kept}
    if data.task == "segmentation" and "pad_to" not in kept:
        wanted["pad_to"] = _PAD_TO
    batched = dataclasses.replace(data.batched(**wanted), given=data.given)
    return batched if "seed" in data.given else batched.seeded(seed)


def _started(out: str | os.PathLike) -> dict[str, Any] | None:
    """The data options of a run of an early version that does not batch as its recipe says; else None."""
    try:
        record = Run(out, {}).record or {}
        if "format" in record:
            return None
        asked = record["asked"]
        options, recipe = asked["data"], Recipe.from_dict(asked["recipe"])
        batching = datasets.Batching.of(options)
        alike = all(getattr(batching, field) == getattr(recipe, field) for field in _OF_RECIPE)
    except (ArgumentError, KeyError, TypeError):  # no run yet, or one that the run itself mends or refuses
        return None
    return None if alike and options["seed"] == asked["seed"] else options


def data_of(source: str | os.PathLike, name: str | None = None, **options: Any) -> datasets.Data:
    """Loads the data a run was trained on, or another set.

    Args:
        source: a run directory, or anything else when `name` is given.
        name: another data set; None takes the run's.
        **options: as for `keras_resnets.data.load`; those that are None are left to the run.
    """
    options = {key: value for key, value in options.items() if value is not None}
    if name is not None:
        return datasets.load(name, **options)
    asked = (Run(source, {}).record or {}).get("asked", {})
    if not asked.get("data"):
        raise ArgumentError(
            f"There is no run.json in {str(source)!r} that names its data; give a run directory, or name a data set."
        )
    used = dict(asked["data"])
    used["augmentation"] = datasets.Augmentation(**used["augmentation"])
    return datasets.load(**{**used, **options})
