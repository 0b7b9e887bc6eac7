"""The epochs of a training: compiles a network, trains it from the last checkpoint on, and finishes the run."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnets import data as datasets
from keras_resnets import segmentation
from keras_resnets.errors import ArgumentError, notice
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.reports.events import IMAGES
from keras_resnets.runs import Damaged, Run, whole
from keras_resnets.showing import in_notebook
from keras_resnets.training import recipes, telling
from keras_resnets.training.checkpoints import Checkpoint, assign, snapshot
from keras_resnets.training.curves import Curves
from keras_resnets.training.devices import Team
from keras_resnets.training.execution import Execution, note, words
from keras_resnets.training.freezing import Freezing
from keras_resnets.training.losses import SmoothedCrossentropy
from keras_resnets.training.opening import tell_divergence


def compile_for(
    model: ResidualNetwork,
    recipe: recipes.Recipe,
    steps_per_epoch: int,
    policy=None,
    from_logits: bool = False,
    execution: Execution | None = None,
) -> None:
    """Compiles a network for training by a recipe, and creates the optimiser's state."""
    execution = execution or Execution()
    # Metrics are made here: given by name, they would be made inside the first step, which Keras then traces twice.
    loss: Any = "sparse_categorical_crossentropy"
    if recipe.label_smoothing:
        loss = SmoothedCrossentropy(recipe.label_smoothing, from_logits)
    elif from_logits:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics: list[keras.metrics.Metric] = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    if _is_dense(model):
        loss = segmentation.PixelLoss(recipe.hardest, at=recipe.loss_at)
        metrics = [segmentation.PixelAccuracy(), segmentation.MeanIoU(model.spec.classes)]
    model.compile(
        recipe.optimizer(steps_per_epoch),
        loss,
        metrics=metrics,
        paths=policy,
        jit_compile="auto" if execution.jit is None else execution.jit,
        steps_per_execution=execution.steps_per_execution,
    )
    model.optimizer.build(model.trainable_variables)  # with the scale of the loss, where float16 needs one


def _is_dense(model: ResidualNetwork) -> bool:
    return model.spec is not None and model.spec.is_dense


def fit(
    model,
    data,
    recipe,
    policy,
    run: Run,
    callbacks=(),
    verbose="auto",
    until: int | None = None,
    from_logits=False,
    *,
    end: int | None = None,
    tell: telling.Tell | None = None,
    team: Team | None = None,
) -> bool:
    """Trains up to an epoch, and finishes the run if that is its last; returns whether it is finished.

    Args:
        model: the network, which is trained in place.
        data: a `Data`.
        recipe: the recipe, with the length of this training.
        policy: the policy of the paths, or None.
        run: the run, entered.
        callbacks: as for `train`.
        verbose: as for `train`.
        until: as for `train`.
        from_logits: whether the network ends in logits instead of probabilities.
        end: finish the run after this many epochs of the recipe's; None for all.
        tell: as for `train`.
        team: the devices, of whose scope this is called inside; None for one, as Keras is set.
    """
    # The state of the last whole epoch, if there is one.
    steps, say = data.steps_per_epoch, telling.teller(tell, verbose)
    total = recipe.total_epochs(steps)
    weights = class_weights(recipe, data)
    team = team or Team.of(None)
    compile_for(model, recipe, steps, policy, from_logits, team.execution)
    score = "mean_iou" if _is_dense(model) else "accuracy"
    monitor = f"val_{score}" if data.validation is not None else score
    # Curves that were given stand in for the run's own.
    curves = next((c for c in callbacks if isinstance(c, Curves)), None) or Curves(run.path / "logs", total)
    callbacks = [callback for callback in callbacks if callback is not curves]
    checkpoint = Checkpoint(run, callbacks, monitor, recipe.patience, recipe.freeze)
    first = checkpoint.load(model)
    end = max(first, min(end or total, total))
    last = min(until or end, end)

    # The epochs from there on.
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() or in_notebook() else 2
    if first < last and not checkpoint.state["stopped"]:
        for line in telling.describe(model, data, recipe):
            say(line)
        if first or last < total:
            say(f"part      epochs {first + 1} to {last} of {total}, by the schedule of the whole")
        checkpoint.prepare(first)
        if first == 0:
            curves.begin(model, data, recipe, (run.record or {}).get("asked", {}))
        freezing = Freezing(recipe.freeze)
        how = team.described(model)
        note(run, how, first)
        if team.execution != Execution():
            say(f"execution {words([how])}")
        arguments, turning = team.trained(data.epochs(first, last), model.input_shape, steps, weights)
        watched, watched_steps = team.evaluated(data.watched, model.input_shape)
        try:
            with team.together(model):
                model.fit(
                    **arguments,
                    initial_epoch=first,
                    epochs=last,
                    validation_data=watched,
                    validation_steps=watched_steps,
                    shuffle=False,
                    # The checkpoint comes last, so that it stores the updated state of the others.
                    callbacks=[
                        *turning,
                        *([freezing] if recipe.freeze else []),
                        curves,
                        *_pictures(model, data, curves.logs / IMAGES, total),
                        *callbacks,
                        telling.Estimate(last, say, recipe.freeze, _watched_share(data)),
                        checkpoint,
                    ],
                    verbose=verbose,
                )
        except BaseException:
            freezing.lift()
            if team.ranks == 1:  # of several, the others may not come to this
                with contextlib.suppress(OSError, ArgumentError):  # what stopped it matters more
                    _keep_best(model, checkpoint)
            raise
    else:
        checkpoint.end(model)
    checkpoint.write_history()
    if checkpoint.state["epoch"] < end and not checkpoint.state["stopped"]:
        final = snapshot(model)
        _keep_best(model, checkpoint)
        assign(model, final)
        tell_divergence(run.path, checkpoint.divergence)
        return False

    # The networks of the best and the last epoch, which with patience are one; the latter's test scores.
    final = snapshot(model)
    best = _keep_best(model, checkpoint, finished=True)
    if not (best and recipe.patience):
        assign(model, final)
    _save(model, run.path / "model.keras")
    test, test_steps = team.evaluated(data.test, model.input_shape)
    scores = model.evaluate(test, steps=test_steps, verbose=0, return_dict=True)
    results = {
        "epochs": checkpoint.state["epoch"],
        "test_examples": data.sizes["test"],
        **{f"test_{name}": round(float(scores[name]), 6) for name in dict.fromkeys(("accuracy", "loss", score))},
        "best_epoch": checkpoint.best_epoch,
    }
    if best and recipe.patience:
        results["network_of"] = "best_epoch"
    if checkpoint.state["epoch"] < total and not checkpoint.state["stopped"]:
        results["of_epochs"] = total
    if (divergence := checkpoint.divergence) is not None:
        results["diverged"] = divergence
    curves.end(results)
    run.finish(results)
    return True


def _watched_share(data: datasets.Data) -> float:
    """Returns the size of what is evaluated after each epoch, as a share of the training split."""
    split = "test" if data.options["validation"] == "test" else "validation"
    return data.sizes.get(split, 0) / data.sizes["train"]


def _keep_best(model, checkpoint: Checkpoint, finished: bool = False) -> bool:
    """Writes the network of the best epoch so far, which `model` is afterwards; returns whether there is one.

    Where its checkpoint is lost, the last epoch's network stands in if that is the best one; else it is told.
    """
    run, epoch = checkpoint.run, checkpoint.best_epoch
    try:
        best, lost = run.restore("best"), "missing"
    except Damaged:
        best, lost = None, "damaged"
    if best is not None:
        assign(model, best[0])
    elif epoch and run.has_checkpoint and not (finished and epoch == checkpoint.state["epoch"]):
        notice(
            f"{str(run.path / 'checkpoints' / 'best.safetensors')!r}, the checkpoint of the best epoch ({epoch}), is "
            f"{lost}, so 'best.keras' is not written; the last epoch's network is."
        )
        return False
    if best is not None or finished:
        _save(model, run.path / "best.keras")
    return best is not None or bool(finished and epoch)


def class_weights(recipe: recipes.Recipe, data: datasets.Data) -> dict[int, float] | None:
    """Returns the weight of each class in the training loss, as `fit` takes them; None for equal ones.

    Raises:
        ArgumentError: the recipe's do not fit the data.
    """
    given: Any = recipe.class_weight
    if (given or recipe.label_smoothing) and data.task == "segmentation":
        field = "class_weight" if given else "label_smoothing"
        raise ArgumentError(
            f"{field} is for labels of whole images; got {getattr(recipe, field)!r} with {data.name!r}, which has a "
            f"label for each pixel. Leave it out; 'hardest' of the recipe weights pixels."
        )
    if given is None:
        return None
    if given == "balanced":
        given = tuple(1 / (data.classes * share) if share else 0.0 for share in data.class_share())
    if len(given) != data.classes:
        raise ArgumentError(
            f"class_weight must have a number for each of the {data.classes} classes of {data.name!r}; got "
            f"{len(given)}."
        )
    return {number: float(weight) for number, weight in enumerate(given)}


def check_recipe(recipe: recipes.Recipe, data: datasets.Data) -> None:
    """Raises `ArgumentError` for what a recipe has and the data cannot."""
    class_weights(recipe, data)
    if recipe.patience and data.validation is None:
        raise ArgumentError(
            f"patience needs a validation split to choose by; got {recipe.patience} and "
            f"validation={data.options['validation']!r}. Hold a share out (validation=0.1), or leave patience out."
        )


def _pictures(model: ResidualNetwork, data: datasets.Data, folder: Path, epochs: int) -> list[keras.callbacks.Callback]:
    """Returns the callback that writes pictures of answers for TensorBoard, for segmentation; else none."""
    if not _is_dense(model):
        return []
    images, colors = data.watched or data.test, np.array(data.colors)
    return [segmentation.Overlays(images, colors, folder, every=epochs // 8 or 1, names=data.class_names)]


def _save(model, path) -> None:
    with whole(path, sealed=True) as part:
        model.save(part)
