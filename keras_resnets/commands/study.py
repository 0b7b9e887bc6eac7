"""The subcommand `study`: runs a study by its name."""

from __future__ import annotations

import enum
import functools
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from keras_resnets.commands.console import (
    data_options,
    has_labels_for,
    open_source,
    print_written,
    read_recipe,
    read_spec,
    start,
)


class Source(enum.Enum):
    """What the argument SOURCE of a study is."""

    TRAINED = "a trained network, which is measured"
    VARIANT = "a variant to train"
    VARIANT_OR_DEFAULT = "a variant to train; the study has a default"
    NONE = "not taken"


@dataclass(frozen=True)
class Entry:
    """How the command runs one study, the function of that name in `keras_resnets.studies`.

    Attributes:
        about: its line in the help text.
        source: what SOURCE is.
        options: the options that are passed to the function. Those for SOURCE and for the data follow from `source` and
            `task`.
        task: of the data; None for a study that takes no data.
        validation: the share of the training split that a study that trains holds out, or `"test"`.
        verbose: whether a study that trains is to print a line for each network.
        resumes: whether a study of a trained network keeps finished batches to resume from.
    """

    about: str
    source: Source
    options: tuple[str, ...] = ()
    task: str | None = "classification"
    validation: float | str = 0.1
    verbose: bool = True
    resumes: bool = True

    @property
    def accepted(self) -> set[str]:
        """Names of all options that have a meaning for this study."""
        names = {*self.options}
        if self.source is Source.TRAINED:
            names |= {"data", "examples"}
        elif self.task:
            names |= {"data", "recipe"}
        if self.source in (Source.VARIANT, Source.VARIANT_OR_DEFAULT):
            names |= {"fields"}
        return names


_TRAINS = ("seeds", "epochs", "seed")

# A new study needs an entry here and, if it has any of its own, its options below.
STUDIES = {
    "lesion": Entry("delete each block in turn", Source.TRAINED, ("beside",)),
    "unskip": Entry("remove each skip in turn, and one after the other", Source.TRAINED),
    "delete": Entry("delete several blocks at once", Source.TRAINED, ("most", "draws", "seed")),
    "reorder": Entry("exchange blocks", Source.TRAINED, ("most", "draws", "seed")),
    "responses": Entry("how strongly each layer responds", Source.TRAINED, ("beside",), resumes=False),
    "paths": Entry("the gradient by length of path", Source.TRAINED, ("draws", "seed", "examples")),
    "degradation": Entry(
        "plain and residual networks, by depth",
        Source.NONE,
        ("depths", "families", *_TRAINS),
        validation="test",
    ),
    "shortcuts": Entry(
        "other shortcuts, and shortcuts that scale, gate or drop", Source.VARIANT_OR_DEFAULT, ("arms", *_TRAINS)
    ),
    "activation": Entry("batch-norm and ReLU in other places", Source.VARIANT_OR_DEFAULT, ("arms", *_TRAINS)),
    "width_depth": Entry(
        "deeper or wider, at an equal budget",
        Source.VARIANT_OR_DEFAULT,
        ("depths", "parameters", "macs", "activations", *_TRAINS),
    ),
    "segment": Entry(
        "deep and dilated, or shallow and wide, for segmentation",
        Source.NONE,
        ("macs", "full", *_TRAINS),
        task="segmentation",
    ),
    "effective": Entry(
        "train a fixed number of blocks per batch, against all",
        Source.VARIANT,
        ("blocks", "length", "rescale", *_TRAINS),
    ),
    "survival": Entry(
        "train with stochastic depth, against without",
        Source.VARIANT,
        ("survivals", "decays", "lesion", *_TRAINS),
    ),
    # Of a single training, Keras itself draws the progress.
    "dynamics": Entry(
        "train, and follow the network's effective depth",
        Source.VARIANT,
        ("epochs", "seed", "examples"),
        verbose=False,
    ),
    "littwin": Entry(
        "the same for a toy network, with and without batch-norm",
        Source.NONE,
        ("seeds", "seed"),
        task=None,
        verbose=False,
    ),
}


def _list_studies(trained: bool) -> str:
    """Returns the help lines of the studies that take a trained network, or of those that train."""
    names = [name for name, entry in STUDIES.items() if (entry.source is Source.TRAINED) == trained]
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  {STUDIES[name].about}" for name in names)


# A line of \b alone makes click keep the line breaks of the paragraph.
HELP = f"""Run the study NAME on SOURCE: a run directory, a .keras file, keras.applications:ResNet50, or
public weights, such as akamaster/resnet56 (keras-resnets weights lists them).

\b
{_list_studies(trained=True)}

A run directory brings its data along; other sources need --data. Some studies train: their SOURCE is
a variant or a spec's JSON file; degradation, segment and littwin take none:

\b
{_list_studies(trained=False)}

The same command resumes a study that was interrupted; responses and littwin start again.
"""


class Listed(click.ParamType):
    """Values of one kind, joined by commas."""

    def __init__(self, kind: type):
        self.kind, self.name = click.types.convert_type(kind), "list"

    def convert(self, value, param, ctx):
        return value if isinstance(value, tuple) else tuple(self.kind(part, param, ctx) for part in value.split(","))


@click.command(help=HELP)
@click.argument("name", type=click.Choice([*STUDIES]), metavar="NAME")
@click.argument("source", required=False)
@data_options
@click.option("--beside", multiple=True, metavar="SOURCE", help="Another network for the figure (lesion, responses).")
@click.option("--most", type=int, help="The largest number of deleted or exchanged blocks (delete, reorder).")
@click.option("--draws", type=int, help="Random draws for each number (delete, reorder) or length (paths).")
@click.option("--seed", type=int, help="Seed of the draws, or of the first training.")
@click.option("--examples", type=int, help="Measure on at most this many examples.")
@click.option("--weights", default="imagenet", show_default=True, help="Of keras.applications; also random, or a file.")
@click.option("--recipe", help="As for train (studies that train).")
@click.option("--set", "fields", multiple=True, metavar="FIELD=VALUE", help="As for train (studies that train).")
@click.option("--epochs", type=int, help="Length of each training (not littwin).")
@click.option("--seeds", type=int, help="Trainings of each kind (studies that train, except dynamics).")
@click.option(
    "--depths", type=Listed(int), metavar="N,...", help="Layers (degradation), or blocks in each stage (width_depth)."
)
@click.option("--families", type=Listed(str), metavar="NAME,...", help="plain, resnet or preresnet (degradation).")
@click.option(
    "--arms", type=Listed(str), metavar="ARM,...", help="Such as B,gate:-6 (shortcuts), or placements (activation)."
)
@click.option("--budget-params", "parameters", type=int, help="Parameters of each network (width_depth).")
@click.option("--budget-macs", "macs", type=int, help="Multiply-adds of each network (width_depth, segment).")
@click.option("--budget-memory", "activations", type=int, help="Elements of convolutions' outputs (width_depth).")
@click.option("--full/--slim", default=None, help="Whether to train the networks at their full width (segment).")
@click.option("--blocks", type=int, help="Number of blocks to train in each batch (effective).")
@click.option("--length", type=float, help="Effective path length, half of --blocks (effective).")
@click.option("--rescale/--no-rescale", default=None, help="Whether to scale branches after training (effective).")
@click.option("--survival", "survivals", multiple=True, type=float, help="Survival of the last block (survival).")
@click.option("--decay", "decays", multiple=True, help="linear or uniform (survival).")
@click.option("--lesion/--no-lesion", default=None, help="Whether to delete blocks afterwards (survival).")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write; by default in the run directory.")
def study(name, source, data, data_dir, image_size, download, weights, recipe, fields, out, **options) -> None:
    """Runs a study by its name; the help text is `HELP`."""
    start()
    from keras_resnets import studies

    entry, function = STUDIES[name], getattr(studies, name)
    options = {key: value for key, value in options.items() if value not in (None, ())}
    examples = options.pop("examples", None) or None
    _check_usage(name, source, options, {"recipe": recipe, "fields": fields, "data": data, "examples": examples})
    if examples and "examples" in entry.options:
        options["examples"] = examples

    where = {"data_dir": data_dir, "image_size": image_size, "download": download}
    if entry.source is Source.TRAINED:
        result = _measure(name, function, source, data, weights, examples, out, where, options)
    elif out is None:
        raise click.UsageError(f"--out is needed for the study {name!r}.")
    else:
        result = _train(name, function, source, data, recipe, fields, out, where, options)
    click.echo(studies.describe(result))


def _check_usage(name: str, source: str | None, options: dict[str, Any], others: dict[str, Any]) -> None:
    """Refuses an absent SOURCE, one that the study does not take, and options of other studies."""
    entry = STUDIES[name]
    if source is None and entry.source in (Source.TRAINED, Source.VARIANT):
        raise click.UsageError(f"SOURCE is needed for the study {name!r}.")
    if source is not None and entry.source is Source.NONE:
        raise click.UsageError(f"SOURCE is not for the study {name!r}.")
    given = [*options, *(key for key, value in others.items() if value)]
    refused = [key for key in given if key not in entry.accepted]
    if refused:
        flags = {option.name: option.opts[0] for option in click.get_current_context().command.params}
        raise click.UsageError(f"{flags[refused[0]]} is not for the study {name!r}.")


def _train(name: str, function, source: str | None, data, recipe, fields, out, where, options):
    """Runs a study that trains, and saves it."""
    from keras_resnets.reports.study import Study
    from keras_resnets.runs import usable
    from keras_resnets.training import recipes
    from keras_resnets.training.feeding import data_for

    entry, defaults = STUDIES[name], inspect.signature(function).parameters
    arguments: list[Any] = []
    if entry.source is not Source.NONE:
        source = source or defaults["network"].default
        arguments = [read_spec(source, fields)]
    if entry.task:
        data = data or defaults["data"].default
        chosen = read_recipe(recipe or recipes.default(source or "", data, entry.task))
        arguments += [data_for(chosen, data, entry.task, validation=entry.validation, **where), chosen]
        options = {**options, "out": out}
    if entry.verbose:
        options = {**options, "verbose": True}
    Study.check_folder(out)
    with usable(out):
        result = function(*arguments, **options)
        print_written(result.save(out))
    return result


def _measure(name: str, function, source: str, data, weights, examples, out, where, options):
    """Runs a study of a trained network, and saves it."""
    from keras_resnets.reports.study import Study
    from keras_resnets.runs import usable
    from keras_resnets.training.feeding import as_needed, data_of

    is_run = Path(source).is_dir()
    for option, value in (("--out", out), ("--data", data)):
        if value is None and not is_run:
            raise click.UsageError(f"{option} is needed unless SOURCE is a run directory.")
    out = out or Path(source) / "studies" / name
    Study.check_folder(out)
    with usable(out):
        network, preprocess = open_source(source, weights, where["image_size"])
        if "beside" in options:
            options["beside"] = [open_source(other, weights, where["image_size"])[0] for other in options["beside"]]

        if preprocess is None:
            loaded = data_of(source, data, **where)
            loaded = as_needed(loaded, network) if data else loaded
            loaded = loaded.first(examples) if examples else loaded
        else:
            loaded = _unseen(network, preprocess, data, examples, **where)

        if STUDIES[name].resumes:
            options["resume"] = out
        result = function(network, loaded, verbose=sys.stdout.isatty(), **options)
        print_written(result.save(out))
    return result


def _unseen(network, preprocess, data: str, examples: int | None, **where):
    """Returns data that the network was not trained on; with labels if their classes are the network's."""
    from keras_resnets import data as datasets
    from keras_resnets.data.passes import unlabelled
    from keras_resnets.training.feeding import in_size_of

    load = functools.partial(datasets.load, data, normalize=None, validation=0)
    loaded = in_size_of(network, data, lambda image_size: load(**{**where, "image_size": image_size}))
    loaded = loaded.first(examples) if examples else loaded
    unseen = loaded.prepared(preprocess).unseen
    unseen = unseen if has_labels_for(loaded, network) else unlabelled(unseen)
    unseen.name = loaded.name  # for the study's summary and figure
    return unseen
