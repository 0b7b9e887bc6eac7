"""Applies a recipe to data: the recipe, not the data set, decides on batches, normalisation and augmentation."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_resnets import data as datasets
from keras_resnets.architecture import variants
from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.architecture.spec import Spec
from keras_resnets.data import arrays
from keras_resnets.data.batching import of_pixels
from keras_resnets.data.needs import rebatched
from keras_resnets.errors import ArgumentError, listed, notice
from keras_resnets.runs import Run
from keras_resnets.training import places, recipes, telling
from keras_resnets.training.recipes import Recipe

# Images for segmentation are padded to multiples of the usual output stride.
_PAD_TO = 8
_OF_RECIPE = ("batch_size", "normalize", "augmentation", "drop_remainder")


def data_for(recipe: Recipe, name: Any, task: str = "classification", **options: Any) -> datasets.Data:
    """Loads data with the batching of a recipe; another recipe may batch them anew.

    Args:
        recipe: the recipe.
        name: as for `keras_resnets.data.load`.
        task: as for `load`.
        **options: further arguments of `load`, except those that the recipe sets.
    """
    if task == "segmentation":
        options = {"pad_to": _PAD_TO, **options}
    data = datasets.load(name, task=task, **options, **{field: getattr(recipe, field) for field in _OF_RECIPE})
    return dataclasses.replace(data, given=data.given & options.keys())


def loaded(
    network: str | Spec,
    data: Any,
    recipe: str | Recipe | None,
    task: str = "classification",
    out: str | os.PathLike | None = None,
    *,
    tuned: bool = False,
    **options: Any,
) -> tuple[datasets.Data, Recipe]:
    """Loads the data of a training, and finds its recipe.

    Args:
        network: a variant's name or a spec. Images of a folder get its size, unless another is given.
        data: as for `keras_resnets.train`.
        recipe: a recipe or its name; None for the one that fits network and data.
        task: the task of data that are no `Data`.
        out: a run directory; what was begun there without a recipe goes on with the same.
        tuned: whether the training starts from existing weights.
        **options: further arguments of `load`, for data that are no `Data`.
    """
    spec = variants.spec(network)
    is_loaded = isinstance(data, datasets.Data)
    task = data.task if is_loaded else task
    if not is_loaded and task == "classification" and _is_folder(data) and options.get("image_size") is None:
        options["image_size"] = max((side for side in spec.input_shape[:2] if side), default=None)
    if recipe is None:
        recipe = _recipe_of(out)
    if recipe is not None:
        recipe = recipes.get(recipe)
        return data if is_loaded else data_for(recipe, data, task, **options), recipe

    # The recipe by default depends on the number of images.
    name = data.name if is_loaded else str(data) if isinstance(data, str | os.PathLike) else arrays.NAME
    if not is_loaded and task == "classification":
        # Without a pass over all of the images for statistics that the recipe may not want.
        data = dataclasses.replace(datasets.load(data, normalize=None, **options), given=frozenset())
        is_loaded = True
    examples = data.sizes["train"] if is_loaded else None
    recipe = recipes.get(recipes.default(spec.name, name, task, examples, tuned))
    if not is_loaded:
        return data_for(recipe, data, task, **options), recipe
    if "normalize" not in data.given and not data.prepare:
        data = rebatched(data, normalize=recipe.normalize)
    return data, recipe


def _is_folder(data: Any) -> bool:
    return isinstance(data, str | os.PathLike) and Path(data).is_dir()


def _recipe_of(out: str | os.PathLike | None) -> Recipe | None:
    """Returns the recipe by the name of that which a run was begun with, if there is one."""
    try:
        record = Run(out, {}).record if out is not None and Path(out).is_dir() else None
        name = (record or {})["asked"]["recipe"]["name"]
    except (ArgumentError, KeyError, TypeError):
        return None
    return recipes.RECIPES.get(name)


def normalized_for(
    preprocessing: Preprocessing | None, recipe: Recipe, data: datasets.Data
) -> tuple[Recipe, datasets.Data, str]:
    """Returns recipe and data with images normalised as existing weights need it, and what there is to tell.

    Data that were loaded with a `normalize` keep it. Weights that do not say what they need leave it to the recipe.
    """
    if data.prepare is not None or "normalize" in data.given:
        own = data.batching.normalize
        used = "by a function of the data's own" if data.prepare else f"by {telling.normalised(own)}"
        needed = f", where the weights need {telling.normalised(preprocessing)}" if preprocessing else ""
        return recipe, data, f"images are normalised {used}, as they were loaded{needed}"
    if preprocessing is None:
        return recipe, data, f"they do not say how images are normalised, so by {recipe.normalize!r}, the recipe's"
    norm = of_pixels(preprocessing)
    data = rebatched(data, normalize=norm)
    said = f"images are normalised as these need it, {telling.normalised(norm)}"
    instead = "" if recipe.normalize == norm else f", and not by {recipe.normalize!r}, the recipe's"
    return recipe.replace(normalize=norm), data, said + instead


def fed(
    data: Any,
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
        data: a `Data`, or what `keras_resnets.data.load` makes one of.
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
    batched = rebatched(data, **fields)
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
    """Loads the data a run was trained on, wherever they lie now, or another set as the run had its own.

    Args:
        source: a run directory, or anything else when `name` is given.
        name: another data set, or where the run's own is now; None takes the run's.
        **options: as for `keras_resnets.data.load`; None takes the run's value.

    Raises:
        ArgumentError: there is no run, or its data are not where they were.
    """
    options = {key: value for key, value in options.items() if value is not None}
    path = Path(source)
    record = (Run(path, {}).record if name is None or (path / "run.json").exists() else None) or {}
    used = record.get("asked", {}).get("data")
    if not isinstance(used, dict) or "name" not in used:
        if name is not None:
            return datasets.load(name, **options)
        raise ArgumentError(
            f"There is no run.json in {str(source)!r} that names its data; give a run directory, or name a data set."
        )
    # A run's record never has anything fetched, only its reader.
    used = {key: value for key, value in used.items() if key != "download"}
    used["augmentation"] = datasets.Augmentation(**used["augmentation"])
    used["normalize"] = datasets.Batching.of(used).normalize
    contents = used.pop("contents", None)  # of arrays
    if name is not None:
        used |= {"name": name, "data_dir": None}
        contents = None
    elif "data_dir" in options:
        used |= places.found(path, {**record, "asked": {"data": {**used, "data_dir": None}}})
    else:
        used |= places.found(path, record)
    if contents is not None and not Path(used["name"]).is_file():
        raise ArgumentError(
            f"The run in {str(source)!r} was trained on arrays, which are not stored in it; give the data again, or "
            f"save them as an .npz file (x_train, y_train, x_test, y_test) and name it (--data)."
        )
    try:
        data = datasets.load(**{**used, **options})
    except FileNotFoundError as error:
        if name is not None:
            raise
        raise ArgumentError(f"The data of the run in {str(path)!r} are not there: {error}") from error
    if contents is not None and data.options.get("contents") != contents:
        raise ArgumentError(
            f"data: {used['name']!r} holds other arrays than those that the run in {str(source)!r} was trained on; "
            f"give that file, or another set by its name."
        )
    if name is not None:
        tell_changed(path, record, name, data)
    elif "validation" not in options and (what := places.differs(record, data)):
        said = (
            f"The data of the run in {str(path)!r} are not what it was trained on: {what}. Images that it was trained "
            f"on may be among those to test on now; put the data back as they were, or name a set of new images "
            f"(--data)."
        )
        if data.files:
            raise ArgumentError(said)
        notice(said)  # a set that was cut in Python has the name of the whole
    names, _ = places.carried(record)
    if name is not None and names is not None and names != data.class_names and len(names) == data.classes:
        notice(
            f"The classes of {name!r} are {listed(data.class_names)}, and those of the run in {str(path)!r} "
            f"{listed(names)}: labels are taken by their number."
        )
    return data


def tell_changed(path: str | os.PathLike, record: dict[str, Any], name: str | os.PathLike, data: datasets.Data) -> None:
    """Tells where data that are given by name are those of a run, and no longer as they were.

    Args:
        path: the run directory.
        record: its `run.json`.
        name: the data's name.
        data: the data.
    """
    if os.path.realpath(name) == places.recorded(record, "name") and (what := places.differs(record, data)):
        notice(
            f"{str(name)!r} is what the run in {str(path)!r} was trained on, and no longer as it was: {what}. Images "
            f"that it was trained on may be among those to test on."
        )


def in_size_of(
    model: keras.Model, name: str | os.PathLike, load: Callable[..., datasets.Data], side: int | None = None
) -> datasets.Data:
    """Loads data in the size of a network's images; a set that has it already is not resized.

    Args:
        model: the network.
        name: the set or folder.
        load: loads it, given `image_size`.
        side: the size of images that are resized; None for that of the network's.
    """
    size = tuple(model.input_shape[1:3])
    if not Path(name).is_dir():
        with contextlib.suppress(ArgumentError):  # of sets that need a size, as their images have several
            data = load(image_size=None)
            if None in size or data.input_shape[:2] == size:
                return data
    return load(image_size=side or size[0])
