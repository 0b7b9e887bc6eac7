"""Training by a recipe in a run directory, resumable bit for bit."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnets import data as datasets
from keras_resnets import paths as policies
from keras_resnets import segmentation
from keras_resnets.architecture import variants
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError, notice, whole_number
from keras_resnets.network.assembly import assemble
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.runs import Damaged, Run, sound, whole
from keras_resnets.training import places, recipes
from keras_resnets.training.checkpoints import Checkpoint, assign, check_callbacks, snapshot
from keras_resnets.training.feeding import fed
from keras_resnets.training.opening import load_model, tell_divergence


def train(
    network: str | Spec,
    data: str | os.PathLike | datasets.Data = "digits",
    recipe: str | recipes.Recipe = "digits",
    *,
    task: str = "classification",
    out: str | os.PathLike,
    epochs: int | None = None,
    until: int | None = None,
    paths: str | policies.Policy | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
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
        data: the name of a set, as `keras_resnets.data.load` takes it, or what `load` gave: its arguments set where
            the data are stored, the image size and what is held out. Batches and augmentation are the recipe's, except
            for what was given to `load` by name; a normalisation other than the recipe's must be given there.
        recipe: a recipe or its name.
        task: task of a set given by name, `"classification"` or `"segmentation"`; a `Data` has its own.
        out: the run directory. Gets `run.json`, `history.csv`, `checkpoints/`, `logs/` for
            TensorBoard, `model.keras` (last epoch) and `best.keras` (best validation accuracy, or mean
            intersection over union; of training, where nothing is held out).
        epochs: length of the training, to which the schedule is scaled; None takes the recipe's.
        until: stop after this many of these epochs, and leave the run unfinished; the same call with a
            larger number, or with None for the whole length, resumes as if it had never stopped.
        paths: which blocks take part in a step: a policy of `keras_resnets.paths`, or a text for its
            `get`, such as `"fixed:23"`; None for all. A policy without a seed gets this one.
        seed: seed of initial weights, data order, augmentation, dropout and paths.
        callbacks: further Keras callbacks. One that sets the learning rate needs a recipe with a constant one.
        verbose: as for `fit`; `"auto"` draws a progress bar on a terminal, else prints a line per epoch.
        **overrides: fields of `Spec` to replace.

    Returns:
        The network after the last epoch trained.

    Raises:
        ArgumentError: an argument breaks its rule, or `out` holds a run with other arguments.
        OSError: `out` cannot be written, or another process works in it.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> model = kr.train("resnet8", "digits", out=tempfile.mkdtemp(), epochs=1, verbose=0)
        >>> model.name
        'resnet8'
    """
    recipe = recipes.get(recipe)
    whole_number("seed", seed, 0, 2**31 - 1)
    if until is not None:
        whole_number("until", until, 1)
    policy = policies.get(paths)
    if policy is not None and policy.seed is None:
        policy = policy.replace(seed=seed)

    # The data in the recipe's batches; from their number follows the schedule.
    data = fed(data, recipe, seed, task=task, out=out)
    if epochs is not None:
        recipe = recipe.lasting(epochs, data.steps_per_epoch)

    # Seeded before the network is made, so that the same seed gives the same initial weights.
    keras.utils.set_random_seed(seed)
    model = _assemble_for(data, network, overrides)
    if model.spec.weight_decay:
        recipe = recipe.replace(weight_decay=0.0)

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

    check_callbacks(callbacks, recipe.optimizer(data.steps_per_epoch), recipe.name)
    with Run(out, asked) as run:
        places.note(run, model, data)
        if not is_complete(run) and not fit(model, data, recipe, policy, run, callbacks, verbose, until):
            return model
        return load_model(run.path)


def _assemble_for(data: datasets.Data, network: str | Spec, overrides: dict[str, Any]) -> ResidualNetwork:
    """Makes the network with the data's input shape, classes and preprocessing.

    Raises:
        ArgumentError: a network for segmentation is to be trained on labels of whole images.
    """
    shape = data.input_shape
    if data.task == "segmentation":
        # Training takes crops, evaluation whole images.
        network, shape = segmentation.dense(network), (None, None, shape[2])
    spec = variants.spec(network, **{"input_shape": shape, "classes": data.classes, **overrides})
    model = assemble(spec)
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


def compile_for(
    model: ResidualNetwork, recipe: recipes.Recipe, steps_per_epoch: int, policy=None, from_logits: bool = False
) -> None:
    """Compiles a network for training by a recipe, and creates the optimiser's state."""
    optimizer = recipe.optimizer(steps_per_epoch)
    optimizer.build(model.trainable_variables)
    # Metrics are made here: given by name, they would be made inside the first step, which Keras then traces twice.
    loss: Any = "sparse_categorical_crossentropy"
    if from_logits:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics: list[keras.metrics.Metric] = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    if _is_dense(model):
        loss = segmentation.PixelLoss(recipe.hardest, at=recipe.loss_at)
        metrics = [segmentation.PixelAccuracy(), segmentation.MeanIoU(model.spec.classes)]
    model.compile(optimizer, loss, metrics=metrics, paths=policy)


def _is_dense(model: ResidualNetwork) -> bool:
    return model.spec is not None and model.spec.is_dense


def fit(
    model, data, recipe, policy, run: Run, callbacks=(), verbose="auto", until: int | None = None, from_logits=False
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
    """
    # The state of the last whole epoch, if there is one.
    steps = data.steps_per_epoch
    total = recipe.total_epochs(steps)
    last = min(until or total, total)
    compile_for(model, recipe, steps, policy, from_logits)
    score = "mean_iou" if _is_dense(model) else "accuracy"
    checkpoint = Checkpoint(run, callbacks, f"val_{score}" if data.validation is not None else score)
    first = checkpoint.load(model)

    # The epochs from there on.
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    if first < last and not checkpoint.state["stopped"]:
        checkpoint.prepare(first)
        if first == 0:
            write_graph(model, run.path / "logs" / "train")
        model.fit(
            data.epochs(first, last),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            validation_data=data.watched,
            shuffle=False,
            # The checkpoint comes last, so that it stores the updated state of the others.
            callbacks=[*_tensorboard_callbacks(model, data, run.path / "logs", total), *callbacks, checkpoint],
            verbose=verbose,
        )
    else:
        checkpoint.end(model)
    checkpoint.write_history()
    if checkpoint.state["epoch"] < total and not checkpoint.state["stopped"]:
        tell_divergence(run.path, checkpoint.divergence)
        return False

    # The networks of the best and the last epoch; the last one's test scores.
    final = snapshot(model)
    try:
        best, _ = run.restore("best") or ({}, {})
        assign(model, best)
        _save(model, run.path / "best.keras")
        assign(model, final)
    except Damaged:
        notice(
            f"The checkpoint of the best epoch in {str(run.path)!r} is damaged, so 'best.keras' is not written; the "
            f"last epoch's network is."
        )
    _save(model, run.path / "model.keras")
    scores = model.evaluate(data.test, verbose=0, return_dict=True)
    results = {
        "epochs": checkpoint.state["epoch"],
        "test_examples": data.sizes["test"],
        **{f"test_{name}": round(float(scores[name]), 6) for name in dict.fromkeys(("accuracy", "loss", score))},
        "best_epoch": checkpoint.best_epoch,
    }
    if (divergence := checkpoint.divergence) is not None:
        results["diverged"] = divergence
    run.finish(results)
    return True


def _tensorboard_callbacks(
    model: ResidualNetwork, data: datasets.Data, logs: Path, epochs: int
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that write a training's curves and, for segmentation, images for TensorBoard."""
    callbacks = [tensorboard(logs, epochs)]
    if _is_dense(model):
        images, colors = data.watched or data.test, np.array(data.colors)
        callbacks.append(segmentation.Overlays(images, colors, logs / "images", every=epochs // 8 or 1))
    return callbacks


def tensorboard(logs, epochs: int) -> keras.callbacks.Callback:
    """Returns the callback that writes scalars, the learning rate and about four sets of weight histograms."""
    return keras.callbacks.TensorBoard(
        str(logs), histogram_freq=max(1, epochs // 4), write_graph=False, update_freq="epoch"
    )


def write_graph(model: keras.Model, logs) -> None:
    """Writes the operations of the model for TensorBoard's Graphs tab.

    Keras' own `write_graph` writes a conceptual graph that the tab opens as an error.
    """
    if keras.config.backend() != "tensorflow":
        return
    import tensorflow as tf

    spec = tf.TensorSpec((None, *model.input_shape[1:]), model.input_dtype, name="input")
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec).graph
    writer = tf.summary.create_file_writer(str(logs))
    with writer.as_default():
        tf.summary.graph(graph.as_graph_def())
    writer.close()


def _save(model, path) -> None:
    with whole(path, sealed=True) as part:
        model.save(part)
