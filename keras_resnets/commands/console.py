"""Shared by the subcommands: options, the start of Keras, and the opening of networks."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from keras_resnets.commands import checks, names
from keras_resnets.commands.values import SEED, Whole
from keras_resnets.errors import ArgumentError
from keras_resnets.quiet import quiet

out = click.option("--out", required=True, type=click.Path(path_type=Path), help="Where to write.")
split = click.option(
    "--split",
    type=click.Choice(["test", "validation", "train", "all"]),
    default="test",
    show_default=True,
    help="Which examples; all is for a folder that was not trained on.",
)
match = click.option(
    "--match",
    type=click.Choice(["name", "number"]),
    default="name",
    show_default=True,
    help="How the classes of --data are found among those of a network.",
)
weights = click.option(
    "--weights", default="imagenet", show_default=True, help="Of keras.applications; also random, or a file."
)
recipe = functools.partial(click.option, "--recipe", shell_complete=names.recipe)
fields = functools.partial(click.option, "--set", "fields", multiple=True, metavar="FIELD=VALUE")
seed = click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of every random draw.")


def _named(context, option, value: str | None) -> str | None:
    """Refuses an empty name, such as that of a shell variable that is not set."""
    if value is not None and not value.strip():
        raise click.BadParameter("it must be the name of a set or a folder; got an empty one.")
    return value


_data = [
    click.option(
        "--data",
        callback=_named,
        shell_complete=names.data,
        help="'digits', a tensorflow-datasets name, a folder with a folder per class, or an .npz file of arrays.",
    ),
    click.option("--data-dir", type=click.Path(), help="Where tensorflow-datasets keeps its sets."),
    click.option("--image-size", type=Whole(), help="Side to which images are resized."),
    click.option("--download", is_flag=True, help="Let tensorflow-datasets download an absent set."),
]


def decorated(options, command):
    """Returns a command with options, in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def worker_options(what: str, each: str):
    """Returns a decorator that adds the options of processes on a Ray cluster.

    Args:
        what: what they do, for the help.
        each: what has GPUs of its own.
    """
    options = [
        click.option("--workers", type=Whole(0), default=0, show_default=True, help=f"{what}, by Ray; 0 for no Ray."),
        click.option("--ray", default="local", show_default=True, help="Address of the Ray cluster for --workers."),
        click.option("--gpus", type=float, help=f"GPUs for each {each}; one where there are any, by default."),
    ]

    return lambda command: decorated(options, command)


_execution = [
    click.option(
        "--precision",
        type=click.Choice(["float32", "mixed_bfloat16", "mixed_float16"]),
        help="Mixed computes in 16 bits, for GPUs; float32 by default.",
    ),
    click.option("--jit/--no-jit", default=None, help="Compile steps by XLA; by default on JAX and on GPUs."),
    click.option("--steps-per-execution", type=Whole(), default=1, show_default=True, help="Steps between callbacks."),
    click.option("--devices", metavar="N|all", help="Devices of this machine that share each batch; one by default."),
]


def execution_options(command):
    """Adds the options that say how a training is executed."""
    return decorated(_execution, command)


def read_execution(options: dict[str, Any], *others: str):
    """Takes the options that say how a training is executed out of a command's, and returns what they say."""
    from keras_resnets.training.execution import Execution

    names = ("precision", "jit", "steps_per_execution", "devices", *others)
    given = {name: options.pop(name) for name in names}
    if (devices := given.get("devices")) and devices.isdecimal():
        given["devices"] = int(devices)
    return Execution(**given)


def data_options(command):
    """Adds the options that name the data and where they are stored."""
    return decorated(_data, command)


# What Keras imports where it is installed, for its galleries of images and its classes for scikit-learn, which no
# command uses: a quarter of the time of its import.
KERAS_CAN_DO_WITHOUT = ("matplotlib", "sklearn")


@contextlib.contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Lets packages that are not imported yet seem not to be installed meanwhile."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def start(backend: str | None = None) -> None:
    """Imports Keras without the start-up messages of TensorFlow's libraries, which ignore every setting.

    Args:
        backend: what Keras is to compute with, whatever is set, where that is installed; None for what is set.
    """
    if backend is not None and importlib.util.find_spec(backend):
        os.environ["KERAS_BACKEND"] = backend  # read when Keras is imported
    with quiet(), _without(KERAS_CAN_DO_WITHOUT):
        import keras

    with quiet():
        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()
            # Warnings about repeated tracing are for the author of the code, not for the user of a command.
            tf.get_logger().setLevel("ERROR")


def open_source(source: str, weights: str, image_size: int | None):
    """Returns the network of a SOURCE, and the preprocessing of raw images if it is a public network, else None."""
    from keras_resnets import weights as weights_of
    from keras_resnets.models import applications
    from keras_resnets.training.opening import load_model

    shape = (image_size, image_size, 3) if image_size else None
    prefix, _, name = source.partition(":")
    if checks.is_public(source):
        network = weights_of.network(source, input_shape=shape)  # fetched if it is not on this machine
        return network, network.preprocessing
    if prefix != "keras.applications":
        return load_model(source), None
    return applications.foreign(name, None if weights == "random" else weights, shape)


def open_beside(source: str, weights: str, image_size: int | None, first=None):
    """Returns the network of another SOURCE, which is to be measured on the data of the first.

    Args:
        source: as for `open_source`.
        weights: as for `open_source`.
        image_size: as for `open_source`.
        first: the network of the first SOURCE, where images are prepared for it alone; None where they are prepared for
            each network.

    Raises:
        ArgumentError: it would be measured on images that are prepared for another network.
    """
    network, preprocess = open_source(source, weights, image_size)
    own = network.preprocessing
    if preprocess is not None and own is None:
        raise ArgumentError(
            f"{source!r} takes images prepared by a function of Keras, and those of this study are prepared for the "
            f"first network; give it a study of its own."
        )
    if first is not None and own is not None and not own.same_pixels(first.preprocessing):
        raise ArgumentError(
            f"{source!r} takes images normalised in another way than those that are prepared for the first network, "
            f"{first.name!r}; give a run directory or a .keras file first, and each gets its own."
        )
    return network


def open_to_train(source: str, data: str | None, recipe: str | None, weights: str, where: dict[str, Any]):
    """Opens a SOURCE with data to train it further on.

    Args:
        source: as for `open_source`.
        data: the name of the data; None for those of the run directory.
        recipe: of the training; None for that of the run directory, or the one that fits.
        weights: as for `open_source`.
        where: further arguments of `keras_resnets.data.load`.

    Returns:
        The network, the data in its form, the recipe, and whether the network is a foreign one, whose classes may be
        others than the data's.
    """
    from keras_resnets.data.needs import as_needed
    from keras_resnets.training.feeding import data_for, data_of, in_size_of

    network, preprocess = open_source(source, weights, where["image_size"])
    chosen = _recipe(source, data, recipe, network.name)
    if preprocess is None:
        loaded = data_of(source, **where) if data is None else as_needed(data_for(chosen, data, **where), network)
        return network, loaded, chosen, False
    assert data is not None
    plain = chosen.replace(normalize=None)
    loaded = in_size_of(network, data, lambda image_size: data_for(plain, data, **{**where, "image_size": image_size}))
    return network, loaded.prepared(preprocess), chosen, True


def _recipe(source: str, data: str | None, recipe: str | None, network: str):
    """Returns the recipe that is named, else that of the run, else the one that fits."""
    from keras_resnets.runs import Run
    from keras_resnets.training import recipes

    if recipe is not None:
        return checks.read_recipe(recipe)
    asked = (Run(source, {}).record or {}).get("asked", {}) if Path(source).is_dir() else {}
    if asked.get("recipe"):
        return recipes.Recipe.from_dict(asked["recipe"])
    name = data or (asked.get("data") or {}).get("name", "")
    return recipes.get(recipes.default(network.removesuffix("_pruned"), name))


def network_of(source: str, image_size: int | None = None):
    """Returns the path of a run directory or file as it is, and of any other SOURCE the network.

    Raises:
        ArgumentError: how the network takes its images is a function of Keras, which is not part of it.
    """
    if Path(source).exists():
        return source
    network, preprocess = open_source(source, "imagenet", image_size)
    if preprocess is not None and network.preprocessing is None:
        raise ArgumentError(
            f"{source!r} takes images prepared by a function of Keras, which the command does not apply; in Python, "
            f"give kr.evaluate the network and kr.data.load(...).prepared(preprocess_input)."
        )
    return network


def has_labels_for(data, network) -> bool:
    """Whether the data have as many classes as a foreign network has outputs; if not, prints the consequence."""
    if data.classes == network.output_shape[1]:
        return True
    click.echo(
        f"{data.classes} classes in {data.name} and {network.output_shape[1]} outputs of {network.name}: the intact "
        f"network's predictions stand in for the labels, so error is disagreement with it.",
        err=True,
    )
    return False
