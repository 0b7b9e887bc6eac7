"""Training by a recipe in a run directory, resumable bit for bit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_resnets import data as datasets
from keras_resnets import paths as policies
from keras_resnets import segmentation
from keras_resnets.architecture import variants
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError, one_of, whole_number
from keras_resnets.network.assembly import assemble
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.runs import Run, sound
from keras_resnets.showing import counted
from keras_resnets.training import feeding, places, recipes, starting, telling
from keras_resnets.training.checkpoints import check_callbacks
from keras_resnets.training.devices import Team
from keras_resnets.training.execution import Execution, check_precision
from keras_resnets.training.fitting import check_recipe, fit
from keras_resnets.training.opening import load_model
from keras_resnets.training.workers import check as check_workers
from keras_resnets.training.workers import run_ranks


def train(
    network: str | Spec,
    data: str | os.PathLike | datasets.Data | Any = "digits",
    recipe: str | recipes.Recipe | None = None,
    *,
    task: str = "classification",
    out: str | os.PathLike,
    epochs: int | None = None,
    until: int | None = None,
    paths: str | policies.Policy | None = None,
    weights: str | os.PathLike | None = None,
    new_head: bool | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
    tell: telling.Tell | None = None,
    execution: Execution | None = None,
    **overrides: Any,
) -> ResidualNetwork:
    """Trains a network in a run directory, or resumes a training that was interrupted.

    An interrupted training that is started again with the same arguments ends with the same
    weights, bit for bit on the same machine, as an uninterrupted one: weights, optimiser, random
    state, data order, augmentation and the plain state of callbacks are restored from the last
    whole epoch. A finished run is not repeated; its network is opened and returned.

    Args:
        network: a variant's name or a spec; input shape and classes are set from the data. A
            spec's own weight decay replaces the recipe's. With data for segmentation, a spec without a head for it
            gets the default one of `keras_resnets.segmentation.dense`.
        data: anything that `keras_resnets.data.load` takes: the name of a set, a folder, an `.npz` file, arrays
            `(x, y)` or `((x, y), (x_validation, y_validation))`, batched `tf.data`. Or what `load` gave: its arguments
            set where the data are stored, the image size and what is held out. Batches and augmentation are the
            recipe's, except for what was given to `load` by name; a normalisation other than the recipe's must be given
            there.
        recipe: a recipe or its name; None for the one that fits network and data (`keras_resnets.recipes.default`). How
            to train is all there: `kr.recipes.get("small").replace(batch_size=16, patience=5)`.
        task: task of a set given by name, `"classification"` or `"segmentation"`; a `Data` has its own.
        out: the run directory. Gets `run.json`, `history.csv`, `checkpoints/`, `logs/` for
            TensorBoard, `model.keras` (last epoch) and `best.keras` (best validation accuracy, or mean
            intersection over union; of training, where nothing is held out). A training that is stopped leaves
            `best.keras` of its epochs so far.
        epochs: length of the training, to which the schedule is scaled; None takes the recipe's. Fewer than those that
            the unfinished run in `out` was begun with finish it there, by the schedule it was begun with.
        until: stop after this many of these epochs, and leave the run unfinished; the same call with a
            larger number, or with None for the whole length, resumes as if it had never stopped.
        paths: which blocks take part in a step: a policy of `keras_resnets.paths`, or a text for its
            `get`, such as `"fixed:23"`; None for all. A policy without a seed gets this one.
        weights: weights to start from, as for `keras_resnets.build`; None for random ones. Images are then normalised
            as these weights need it, whatever the recipe has, unless the data were loaded with a `normalize`.
        new_head: whether weights get a new classifier (True) or keep their own (False). None keeps it if it has as many
            classes as the data and, where it knows their names, the same ones.
        seed: seed of initial weights, data order, augmentation, dropout and paths.
        callbacks: further Keras callbacks. One that sets the learning rate needs a recipe with a constant one.
        verbose: as for `fit`; `"auto"` draws a progress bar on a terminal or in a notebook, else prints a line per
            epoch.
        tell: called with each line of what is trained on what, how and how long; None prints them, unless `verbose` is
            0.
        execution: precision, compilation and devices, a `keras_resnets.Execution`; None for Keras' settings and one
            device. A run goes on in the precision it was begun in; what else is changed is told.
        **overrides: fields of `Spec` to replace.

    Returns:
        The network after the last epoch trained; with a recipe that has `patience`, that of the best one.

    Raises:
        ArgumentError: an argument breaks its rule, or `out` holds a run with other arguments.
        OSError: `out` cannot be written, or another process works in it.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> model = kr.train("resnet8", "digits", out=tempfile.mkdtemp(), epochs=1, verbose=0)
        >>> model.name
        'resnet8'
    """
    team = Team.of(execution)
    with team.scope():
        left = _train(
            network,
            data,
            recipe,
            team=team,
            task=task,
            out=out,
            epochs=epochs,
            until=until,
            paths=paths,
            weights=weights,
            new_head=new_head,
            seed=seed,
            callbacks=callbacks,
            verbose=verbose,
            tell=tell,
            overrides=overrides,
        )
    return load_model(out) if left is None else team.released(left)


def _train(
    network: str | Spec,
    data: Any,
    recipe: str | recipes.Recipe | None,
    *,
    team: Team,
    task: str,
    out: str | os.PathLike,
    epochs: int | None,
    until: int | None,
    paths: str | policies.Policy | None,
    weights: str | os.PathLike | None,
    new_head: bool | None,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int | str,
    tell: telling.Tell | None,
    overrides: dict[str, Any],
) -> ResidualNetwork | None:
    """Trains on the devices of a team, inside its scope; returns the network if the run is not finished.

    The arguments are those of `train`.
    """
    check_overrides(overrides)
    check_precision(out, keras.config.dtype_policy().name)
    whole_number("seed", seed, 0, 2**31 - 1)
    if until is not None:
        whole_number("until", until, 1)
    one_of("new_head", new_head, (None, True, False))
    policy = policies.get(paths)
    if policy is not None and policy.seed is None:
        policy = policy.replace(seed=seed)
    data, recipe = feeding.loaded(network, data, recipe, task, out, tuned=weights is not None)
    if weights is None and (recipe.freeze or new_head is not None):
        name, value = ("freeze", recipe.freeze) if recipe.freeze else ("new_head", new_head)
        raise ArgumentError(
            f"{name} is for a network that starts from existing weights; got {value!r} without weights. Give weights, "
            f"or leave it out."
        )
    say = telling.teller(tell, verbose)

    # The network that existing weights give; images are normalised as these need it.
    begin = None
    if weights is not None:
        begin = starting.start(network, weights, data, overrides, seed=seed, out=out, new_head=new_head)
        recipe, data, norm = feeding.normalized_for(begin.preprocessing, recipe, data)
        begin = dataclasses.replace(begin, said=f"{begin.said}; {norm}")

    # The data in the recipe's batches.
    data = feeding.fed(data, recipe, seed, out=out)
    team.check(data)

    # Seeded before the network is made, so that the same seed gives the same initial weights.
    keras.utils.set_random_seed(seed)
    model = _assemble_for(data, network, overrides, begin.model if begin else None)
    if model.spec.weight_decay:
        recipe = recipe.replace(weight_decay=0.0)

    # The length, from which the schedule follows.
    end = None
    if epochs is not None:
        whole_number("epochs", epochs, 1)
        begun = _longer(out, recipe, epochs, data.steps_per_epoch)
        if begun is not None:
            recipe, end = begun, epochs
        else:
            recipe = recipe.lasting(epochs, data.steps_per_epoch)

    # All that the weights depend on, which a directory compares before it resumes.
    asked: dict[str, Any] = {
        "spec": model.spec.to_dict(),
        "data": places.asked(data, out),
        "recipe": recipe.to_dict(),
        "seed": seed,
    }
    if (precision := keras.config.dtype_policy().name) != "float32":
        asked["dtype"] = precision
    if policy is not None:
        policy.check(len(model.blocks))
        asked["paths"] = keras.saving.serialize_keras_object(policy)
    if begin is not None:
        asked["weights"] = begin.asked

    check_callbacks(callbacks, recipe.optimizer(data.steps_per_epoch), recipe.name)
    check_recipe(recipe, data)
    if team.execution.workers:
        check_workers(team.execution, data, callbacks)
    with Run(out, asked) as run:
        places.note(run, model, data)
        if is_complete(run) and not _goes_on(run, end or recipe.total_epochs(data.steps_per_epoch)):
            say(f"done      {str(run.path)!r} is finished already, and its network is opened; nothing is trained")
            return None
        if begin is not None:
            say(f"weights   {begin.said}")
        if end is not None:
            total = recipe.total_epochs(data.steps_per_epoch)
            say(
                f"end       after {counted(end, 'epoch')} of the {total} that this run was begun with, by the schedule "
                f"of those"
            )
        if not team.execution.workers:
            finished = fit(model, data, recipe, policy, run, callbacks, verbose, until, end=end, tell=tell, team=team)
            return None if finished else model
    job = {"recipe": recipe, "policy": policy, "callbacks": tuple(callbacks), "until": until, "end": end, "seed": seed}
    run_ranks(model, data, team.execution, tell, verbose, out=out, asked=asked, from_logits=False, **job)
    with Run(out, asked) as run:
        if not is_complete(run):
            # They stopped at `until`: what they reached is restored, and nothing is trained.
            fit(model, data, recipe, policy, run, callbacks, 0, until, end=end, team=team)
            return model
    return None


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Raises `ArgumentError` for what is no field of a spec and is known to belong elsewhere: to recipe or data."""
    fields = {kind: {field.name for field in dataclasses.fields(kind)} for kind in (Spec, recipes.Recipe)}
    of_data = {"data_dir", "validation", "image_size", "download"}
    for name, value in overrides.items():
        if name in fields[Spec]:
            continue
        if name in fields[recipes.Recipe]:
            raise ArgumentError(
                f"{name} is a field of the recipe; got {name}={value!r} beside it. Give "
                f"recipe=kr.recipes.get('small').replace({name}={value!r}), with the name of your recipe."
            )
        if name in of_data:
            raise ArgumentError(
                f"{name} is an argument of the data; got {name}={value!r} beside them. Give "
                f"data=kr.data.load(..., {name}={value!r})."
            )


def _longer(out: str | os.PathLike, recipe: recipes.Recipe, epochs: int, steps: int) -> recipes.Recipe | None:
    """Returns the recipe of a run that was begun with this one for more epochs, and did not finish them; else None."""
    run = Run(out, {})
    record = run.record if run.path.is_dir() else None
    results = (record or {}).get("results")
    try:
        begun = recipes.Recipe.from_dict((record or {})["asked"]["recipe"])
    except (ArgumentError, KeyError, TypeError):  # no run yet, or one that `Run` itself repairs or refuses
        return None
    total = begun.total_epochs(steps)
    ended_there = results is None or "of_epochs" in results
    is_same = total > epochs and begun in (recipe, recipe.lasting(total, steps))
    return begun if ended_there and is_same else None


def _goes_on(run: Run, epochs: int) -> bool:
    """Whether a run that was finished before its whole length is to go on, to so many epochs."""
    results = (run.record or {}).get("results") or {}
    return "of_epochs" in results and results["epochs"] < epochs and run.has_checkpoint


def _assemble_for(
    data: datasets.Data, network: str | Spec, overrides: dict[str, Any], model: ResidualNetwork | None = None
) -> ResidualNetwork:
    """Makes the network with the data's input shape, classes and preprocessing, or gives these to an existing one.

    Raises:
        ArgumentError: a network for segmentation is to be trained on labels of whole images.
    """
    shape = data.input_shape
    if data.task == "segmentation":
        # Training takes crops, evaluation whole images.
        network, shape = segmentation.dense(network), (None, None, shape[2])
    if model is None:
        model = assemble(variants.spec(network, **{"input_shape": shape, "classes": data.classes, **overrides}))
    if model.spec.is_dense != (data.task == "segmentation"):
        raise ArgumentError(
            f"network must end in a classifier, head='classifier', for the data set {data.name!r}, whose labels are of "
            f"whole images; got head={model.spec.head!r}."
        )
    model.preprocessing, model.class_names = data.preprocessing, data.class_names
    return model


def is_complete(run: Run) -> bool:
    """Whether a run is finished and its files are whole, or cannot be made again because no checkpoint is left."""
    sound_files = [sound(run.path / name) for name in ("model.keras", "history.csv")]
    return run.finished and (all(sound_files) or not run.has_checkpoint)


def is_finished(out: str | os.PathLike, *, name: str, epochs: int, seed: int) -> bool:
    """Whether a directory holds the finished training of that variant, length and seed.

    Reads one small file, whereas `train` would build the network to find out.
    """
    run = Run(out, {})
    asked = (run.record or {}).get("asked")
    return bool(
        asked
        and is_complete(run)
        and "paths" not in asked
        and (asked["spec"]["name"], asked["recipe"]["epochs"], asked["seed"]) == (name, epochs, seed)
    )
