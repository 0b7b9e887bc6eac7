"""Applies a recipe to data: the recipe, not the data set, decides on batches, normalisation and augmentation."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from keras_resnets import data as datasets
from keras_resnets.errors import ArgumentError
from keras_resnets.runs import Run
from keras_resnets.training.recipes import Recipe

# Images for segmentation are padded to multiples of the usual output stride.
_PAD_TO = 8
_OF_RECIPE = ("batch_size", "normalize", "augmentation", "drop_remainder")


def data_for(recipe: Recipe, name: str | os.PathLike, task: str = "classification", **options: Any) -> datasets.Data:
    """Loads data with the batching of a recipe.

    Args:
        recipe: the recipe.
        name: as for `keras_resnets.data.load`.
        task: as for `load`.
        **options: further arguments of `load`, except those that the recipe sets.
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
    """Returns data as a training sees them: in the recipe's batches, ordered by the training's seed.

    Arguments given to `keras_resnets.data.load` by name, such as `batch_size=64`, take precedence over the recipe.

    Args:
        data: a `Data`, or the name of a set.
        recipe: the recipe.
        seed: the training's seed.
        task: the task of a set given by name.
        out: the training's run directory, if there is one. Early versions trained a `Data` in batches of its own; a
            training started by one of them resumes with those.
        normalized: whether to keep the data's normalisation, as an already trained network needs it.

    Raises:
        ArgumentError: recipe and data normalise images differently, and the caller has not chosen one.
    """
    if not isinstance(data, datasets.Data):
        return data_for(recipe, data, task, seed=seed)

    # A run of an early version resumes in the batches it was started with.
    if out is not None and (options := _options_of_early_run(out)) is not None:
        batching = datasets.Batching.of(options)
        own = {field: getattr(batching, field) for field in (*_OF_RECIPE, "pad_to") if field not in data.given}
        return data.batched(**own).seeded(data.options["seed"] if "seed" in data.given else options["seed"])

    # Studies of the network use the same `Data`, so training must normalise images as the data do.
    kept = data.given | {"normalize"}
    norm = data.batching.normalize
    if norm != recipe.normalize and not (normalized or "normalize" in data.given or data.prepare):
        raise ArgumentError(
            f"data: {data.name!r} is normalised by {norm!r}, and the recipe {recipe.name!r} has {recipe.normalize!r}. "
            f"Load it with normalize={recipe.normalize!r}; or with normalize={norm!r}, if that is what is wanted."
        )

    # All other fields are the recipe's.
    fields = {field: getattr(recipe, field) for field in _OF_RECIPE if field not in kept}
    if data.task == "segmentation" and "pad_to" not in kept:
        fields["pad_to"] = _PAD_TO
    batched = dataclasses.replace(data.batched(**fields), given=data.given)
    return batched if "seed" in data.given else batched.seeded(seed)


def _options_of_early_run(out: str | os.PathLike) -> dict[str, Any] | None:
    """Returns the data options of an early version's run if its batches differ from its recipe's, else None."""
    try:
        record = Run(out, {}).record or {}
        if "format" in record:
            return None
        asked = record["asked"]
        options, recipe = asked["data"], Recipe.from_dict(asked["recipe"])
        batching = datasets.Batching.of(options)
        same = all(getattr(batching, field) == getattr(recipe, field) for field in _OF_RECIPE)
    except (ArgumentError, KeyError, TypeError):  # no run yet, or one that `Run` itself repairs or refuses
        return None
    return None if same and options["seed"] == asked["seed"] else options


def data_of(source: str | os.PathLike, name: str | None = None, **options: Any) -> datasets.Data:
    """Loads the data a run was trained on, or another set.

    Args:
        source: a run directory, or anything else when `name` is given.
        name: another data set; None takes the run's.
        **options: as for `keras_resnets.data.load`; None takes the run's value.
    """
    options = {key: value for key, value in options.items() if value is not None}
    if name is not None:
        return datasets.load(name, **options)
    asked = (Run(source, {}).record or {}).get("asked", {})
    if not asked.get("data"):
        raise ArgumentError(
            f"There is no run.json in {str(source)!r} that names its data; give a run directory, or name a data set."
        )
    # A run's record never has anything fetched, only its reader.
    used = {key: value for key, value in asked["data"].items() if key != "download"}
    used["augmentation"] = datasets.Augmentation(**used["augmentation"])
    return datasets.load(**{**used, **options})
