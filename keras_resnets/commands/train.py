"""The command `train`: a network, data and a recipe with its fields as options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from keras_resnets.commands import checks, console, names, output
from keras_resnets.commands.output import Output
from keras_resnets.commands.values import Whole
from keras_resnets.errors import ArgumentError
from keras_resnets.showing import counted

# Fields of the recipe that have an option: its type and its help. `--set-recipe` has the others.
_FIELDS: dict[str, tuple[Any, str]] = {
    "batch_size": (int, "Images in a step."),
    "learning_rate": (float, "The rate after the warm-up."),
    "weight_decay": (float, "L2 in the gradient; of AdamW, decoupled from it."),
    "label_smoothing": (float, "Share of the label that is spread over all classes."),
    "class_weight": (click.Choice(["balanced"]), "Rare classes count more."),
    "patience": (int, "End after so many epochs without a better one; keep the best network."),
    "freeze": (int, "With --weights: first N epochs for the classifier alone."),
}


def _recipe_options(command):
    for name, (kind, words) in reversed(_FIELDS.items()):
        command = click.option(f"--{name.replace('_', '-')}", type=kind, help=words)(command)
    return command


@click.command(short_help="Train a network in a run directory.")
@click.argument("model", shell_complete=names.spec)
@console.data_options
@click.option(
    "--task",
    type=click.Choice(["classification", "segmentation"]),
    default="classification",
    show_default=True,
    help="Segmentation gives MODEL a head that classifies each pixel.",
)
@click.option(
    "--weights",
    shell_complete=names.weights,
    help="Start from public weights by name, a weight file, a .keras file or a run; random by default.",
)
@click.option(
    "--new-head/--keep-head",
    default=None,
    help="Classifier with --weights; kept by default if the classes are its own.",
)
@console.recipe(
    help="he15, he15_110, he16, huang, wrn, wrn_svhn, imagenet, wu_imagenet, cifar_short, digits, small, "
    "small_pictures, tuning, tuning_pictures, wu, segmentation, camvid, scenes, or a JSON file; by default the one "
    "that fits.",
)
@_recipe_options
@click.option(
    "--set-recipe", "recipe_fields", multiple=True, metavar="FIELD=VALUE", help="Replace another field of it."
)
@click.option(
    "--epochs",
    type=Whole(),
    help="Length; the recipe's schedule is scaled to it. Fewer than an unfinished run was begun with finish it there.",
)
@click.option(
    "--until", type=Whole(), help="Stop after this epoch; the same command with a later one, or none, goes on."
)
@click.option("--validation", default=0.1, show_default=True, help="Share of the training split held out.")
@click.option("--paths", help="Blocks of a step: fixed:23, stochastic:0.5, bernoulli:0.8, drop:0.1; all by default.")
@console.fields(help="Replace a field of the spec.")
@console.execution_options
@console.worker_options("Processes that train it together, on JAX", "of them")
@console.seed
@console.out
@output.printing
def train(
    model, data, data_dir, image_size, download, task, weights, recipe, recipe_fields, validation, fields, say, **rest
):
    """Train MODEL, a variant or a spec's JSON file, in a run directory; without --data on scikit-learn's digits.

    The same command resumes a run that was interrupted.

    On a Ray cluster whose machines share a folder:

    \b
    KERAS_BACKEND=jax keras-resnets train ... --ray 10.0.0.1:6379 --workers 8 --out /shared/run
    """
    # What can be refused without Keras.
    from keras_resnets.training import recipes

    values = {name: rest.pop(name) for name in _FIELDS}
    replaced = {name: value for name, value in values.items() if value is not None}
    replaced |= dict(checks.parse_field(text, "--set-recipe", "momentum=0.95") for text in recipe_fields)
    network, overrides = checks.read_spec(model, fields), {}
    chosen = None if recipe is None else changed(checks.read_recipe(recipe), replaced)
    if recipe is None:  # which one fits is known when the data are read
        checks.any_of(recipes.RECIPES.values(), lambda one: changed(one, replaced))
    data = data or ("scenes" if task == "segmentation" else "digits")
    where = {"data_dir": data_dir, "image_size": image_size, "download": download, "validation": validation}
    checks.data(data, task=task, **where)
    checks.weights(weights, model, rest["out"])
    checks.out(rest["out"])

    execution = console.read_execution(rest, "workers", "ray", "gpus")
    if execution.workers:
        # This process only waits for them, and leaves the GPUs to them.
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    console.start()
    from keras_resnets.training import feeding
    from keras_resnets.training.training import train as run

    if weights is not None and not model.endswith(".json"):
        # By its name a network takes settings from the file of the weights; the data decide on input and classes.
        overrides = dict(checks.parse_field(text) for text in fields)
        network, overrides = model, {k: v for k, v in overrides.items() if k not in ("input_shape", "classes")}
    loaded, chosen = feeding.loaded(network, data, chosen, task, rest["out"], tuned=weights is not None, **where)
    run(network, loaded, changed(chosen, replaced), weights=weights, execution=execution, **rest, **overrides)
    tell_results(rest["out"], say)


def changed(recipe, fields: dict[str, Any]):
    """Returns a recipe with some fields replaced by values as JSON has them."""
    from keras_resnets.training.recipes import Recipe

    try:
        return Recipe.from_dict({**recipe.to_dict(), **fields})
    except TypeError as error:
        raise ArgumentError(f"--set-recipe: a field cannot have that value: {error}.") from error


def tell_results(out: Path, say: Output) -> None:
    """Prints the files of a run, and its test scores; of one that is stopped, how far it is."""
    from keras_resnets.runs import Run, read_csv

    names = ("model.keras", "best.keras", "history.csv", "logs")
    say.written([out / name for name in names if (out / name).exists()])
    results = (Run(out, {}).record or {}).get("results")
    if results is None:
        epochs = len(read_csv(out / "history.csv"))
        line = (
            f"stopped after {counted(epochs, 'epoch')}; the same command without --until, or with a later one, goes on"
        )
        say.result({"run": str(out), "epochs": epochs, "results": None}, line)
        return
    dense = f"mean IoU {results['test_mean_iou']:.2%}, pixel " if "test_mean_iou" in results else ""
    best = f", network of epoch {results['best_epoch']}" if "network_of" in results else ""
    say.result(
        {"run": str(out), "epochs": results["epochs"], "results": results},
        f"test {dense}accuracy {results['test_accuracy']:.2%} over {results['test_examples']:,} examples "
        f"after {counted(results['epochs'], 'epoch')}{best}",
    )
