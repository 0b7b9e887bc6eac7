"""The subcommand `study`: a study by name, on what is named."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import click

from keras_resnets.commands.console import data_options, has_labels_for, opened, recipe_of, start, tell, variant

ON_A_NETWORK = ["lesion", "unskip", "delete", "reorder", "responses", "paths"]
TRAINING = [
    *("degradation", "shortcuts", "activation", "width_depth", "segment", "effective", "survival", "dynamics"),
    "littwin",
]

# What of the training split a study holds out, where it is not the usual share.
HELD_OUT = {"degradation": "test"}
BUDGETS = ("parameters", "macs", "activations")


class Listed(click.ParamType):
    """Values of one kind, joined by commas."""

    def __init__(self, kind: type):
        self.kind, self.name = click.types.convert_type(kind), "list"

    def convert(self, value, param, ctx):
        return value if isinstance(value, tuple) else tuple(self.kind(part, param, ctx) for part in value.split(","))


@click.command()
@click.argument("name", type=click.Choice([*ON_A_NETWORK, *TRAINING]), metavar="NAME")
@click.argument("source", required=False)
@data_options
@click.option("--beside", multiple=True, metavar="SOURCE", help="Another network for the figure (lesion, responses).")
@click.option("--most", type=int, help="The largest number of deleted or exchanged blocks (delete, reorder).")
@click.option("--draws", type=int, help="Random draws for each number (delete, reorder) or length (paths).")
@click.option("--seed", type=int, help="Of the draws; of the first training.")
@click.option("--examples", type=int, help="Measure on no more than so many.")
@click.option("--weights", default="imagenet", show_default=True, help="Of keras.applications; also random, or a file.")
@click.option("--recipe", help="As for train, of a study that trains.")
@click.option("--set", "fields", multiple=True, metavar="FIELD=VALUE", help="As for train, of a study that trains.")
@click.option("--epochs", type=int, help="Length of each training, but for littwin.")
@click.option("--seeds", type=int, help="Trainings of each kind, of a study that trains, but for dynamics.")
@click.option(
    "--depths", type=Listed(int), metavar="N,...", help="Layers (degradation), or blocks in each stage (width_depth)."
)
@click.option("--families", type=Listed(str), metavar="NAME,...", help="plain, resnet or preresnet (degradation).")
@click.option(
    "--arms", type=Listed(str), metavar="ARM,...", help="Such as B,gate:-6 (shortcuts), or placements (activation)."
)
@click.option("--budget-params", "parameters", type=int, help="What each network has (width_depth).")
@click.option("--budget-macs", "macs", type=int, help="Multiply-adds of each network (width_depth, segment).")
@click.option("--budget-memory", "activations", type=int, help="Elements of convolutions' outputs (width_depth).")
@click.option("--full/--slim", default=None, help="Whether to train the networks at their full width (segment).")
@click.option("--blocks", type=int, help="How many to train in a batch (effective).")
@click.option("--length", type=float, help="Of the effective paths, half the blocks to train in a batch (effective).")
@click.option("--rescale/--no-rescale", default=None, help="Whether to scale branches after training (effective).")
@click.option("--survival", "survivals", multiple=True, type=float, help="Of the last block (survival).")
@click.option("--decay", "decays", multiple=True, help="linear or uniform (survival).")
@click.option("--lesion/--no-lesion", default=None, help="Whether to delete blocks afterwards (survival).")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write; by default in the run directory.")
def study(
    name, source, data, data_dir, image_size, download, examples, weights, recipe, fields, out, **options
) -> None:
    """Run the study NAME on SOURCE: a run directory, a .keras file, or keras.applications:ResNet50.

    \b
    lesion     delete each block in turn
    unskip     remove each skip in turn, and one after the other
    delete     delete several blocks at once
    reorder    exchange blocks
    responses  how strongly each layer responds
    paths      the gradient by length of path

    A run directory brings its data along; the others need --data. Some studies train, and take a
    variant or a spec's JSON file for SOURCE; degradation, segment and littwin take none:

    \b
    degradation  plain and residual networks, by depth
    shortcuts    other shortcuts, and such that scale, gate or drop
    activation   batch-norm and ReLU in other places
    width_depth  deeper or wider, at an equal budget
    segment      deep and dilated, or shallow and wide, for segmentation
    effective    train with so many blocks a batch, beside all
    survival     train with stochastic depth, beside none
    dynamics     train, and see how deep the network is in effect
    littwin      the same of a toy network, with and without batch-norm

    The same command goes on with a study that was stopped; responses and littwin start again.
    """
    start()
    from keras_resnets import studies

    function = getattr(studies, name)
    takes = dict(inspect.signature(function).parameters)
    takes |= dict.fromkeys(BUDGETS, takes["budgets"]) if "budgets" in takes else {}
    of = takes.get("model") or takes.get("network")
    if source is None and of and of.default is inspect.Parameter.empty:
        raise click.UsageError(f"SOURCE is needed for the study {name!r}.")
    if source is not None and not of:
        raise click.UsageError(f"SOURCE is not for the study {name!r}.")
    options = {key: value for key, value in options.items() if value not in (None, ())}
    options |= {"examples": examples} if examples and "examples" in takes else {}
    strange = [key for key in options if key not in takes]
    others = {"recipe": recipe, "fields": fields, "data": data, "examples": examples}
    known = {"fields": "network", "recipe": "recipe", "data": "data", "examples": "examples"}
    # On a network that is there, every study can be of fewer examples.
    known |= {"examples": "data"} if "model" in takes else {}
    strange += [key for key, value in others.items() if value and known[key] not in takes]
    if strange:
        flags = {option.name: option.opts[0] for option in click.get_current_context().command.params}
        raise click.UsageError(f"{flags[strange[0]]} is not for the study {name!r}.")
    where = {"data_dir": data_dir, "image_size": image_size, "download": download}
    if "model" in takes:
        result = _of_network(function, source, data, weights, examples, out, where, options)
    elif out is None:
        raise click.UsageError(f"--out is needed for the study {name!r}.")
    else:
        result = _training(function, source, data, recipe, fields, out, where, options)
    click.echo(studies.describe(result))


def _training(function, source: str | None, data, recipe, fields, out, where, options):
    """Runs a study that trains, and saves it."""
    from keras_resnets.runs import usable
    from keras_resnets.training import recipes
    from keras_resnets.training.feeding import data_for

    takes = inspect.signature(function).parameters
    arguments: list[Any] = []
    if "network" in takes:
        source = source or takes["network"].default
        arguments = [variant(source, fields)]
    if "data" in takes:
        data = data or takes["data"].default
        # A study that has no recipe by default knows best which one fits.
        segments = takes["recipe"].default is None
        task = "segmentation" if segments else "classification"
        chosen = recipe_of(recipe or recipes.default(source or "", data, task))
        held_out = HELD_OUT.get(function.__name__, 0.1)
        arguments += [data_for(chosen, data, task, validation=held_out, **where), chosen]
        options = {**options, "out": out}
        # A line for each network; of a single one, Keras draws the progress.
        options |= {"verbose": True} if takes["verbose"].default is False else {}
    with usable(out):
        result = function(*arguments, **options)
        tell(result.save(out))
    return result


def _of_network(function, source, data, weights, examples, out, where, options):
    """Runs a study on a network that is there, and saves it."""
    from keras_resnets.runs import usable
    from keras_resnets.training.feeding import data_of

    is_run = Path(source).is_dir()
    for option, value in (("--out", out), ("--data", data)):
        if value is None and not is_run:
            raise click.UsageError(f"{option} is needed unless SOURCE is a run directory.")
    out = out or Path(source) / "studies" / function.__name__
    with usable(out):
        network, preprocess = opened(source, weights, where["image_size"])
        if "beside" in options:
            options["beside"] = [opened(other, weights, where["image_size"])[0] for other in options["beside"]]
        if preprocess is None:
            loaded = data_of(source, data, **where)
            loaded = loaded.first(examples) if examples else loaded
        else:
            loaded = _unseen(network, preprocess, data, examples, **where)
        if "resume" in inspect.signature(function).parameters:
            options["resume"] = out
        result = function(network, loaded, verbose=sys.stdout.isatty(), **options)
        tell(result.save(out))
    return result


def _unseen(network, preprocess, data: str, examples: int | None, **where):
    """Returns a data set that the network was not trained on, with labels if its classes are the network's."""
    from keras_resnets import data as datasets

    where["image_size"] = network.input_shape[1]
    loaded = datasets.load(data, normalize=None, validation=0, **where)
    loaded = loaded.first(examples) if examples else loaded
    if has_labels_for(loaded, network):
        return loaded.unseen.map(lambda x, y: (preprocess(x), y))
    return loaded.unseen.map(lambda x, y: preprocess(x))
