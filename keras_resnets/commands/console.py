"""Shared by the subcommands: options, the start of Keras, opening of networks and files, and printing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from keras_resnets.errors import ArgumentError
from keras_resnets.quiet import quiet

out = click.option("--out", required=True, type=click.Path(path_type=Path), help="Where to write.")
seed = click.option("--seed", default=0, show_default=True, help="Seed of every random draw.")


def _named(context, option, value: str | None) -> str | None:
    """Refuses an empty name, such as that of a shell variable that is not set."""
    if value is not None and not value.strip():
        raise click.BadParameter("it must be the name of a set or a folder; got an empty one.")
    return value


_data = [
    click.option(
        "--data",
        callback=_named,
        help="'digits', a tensorflow-datasets name, a folder with a folder per class, or an .npz file of arrays.",
    ),
    click.option("--data-dir", type=click.Path(), help="Where tensorflow-datasets keeps its sets."),
    click.option("--image-size", type=int, help="Side to which images are resized."),
    click.option("--download", is_flag=True, help="Let tensorflow-datasets download an absent set."),
]


def data_options(command):
    """Adds the options that name the data and where they are stored."""
    for option in reversed(_data):
        command = option(command)
    return command


def start() -> None:
    """Imports Keras without the start-up messages of TensorFlow's libraries, which ignore every setting."""
    with quiet():
        import keras

        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()
            # Warnings about repeated tracing are for the author of the code, not for the user of a command.
            tf.get_logger().setLevel("ERROR")


def open_source(source: str, weights: str, image_size: int | None):
    """Returns the network of a SOURCE, and its preprocessing if it comes from keras.applications, else None."""
    from keras_resnets.models import applications
    from keras_resnets.training.opening import load_model

    prefix, _, name = source.partition(":")
    if prefix != "keras.applications":
        return load_model(source), None
    shape = (image_size, image_size, 3) if image_size else None
    return applications.foreign(name, None if weights == "random" else weights, shape)


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


def read_spec(name: str, fields=()):
    """Returns the spec of a variant or of a JSON file, with the FIELD=VALUE texts applied."""
    from keras_resnets.architecture import variants
    from keras_resnets.architecture.spec import Spec

    spec = Spec.from_json(_read(name)) if name.endswith(".json") else variants.spec(name)
    return spec.replace(**dict(parse_field(text) for text in fields))


def read_recipe(name: str):
    """Returns a recipe by its name or from its JSON file."""
    import json

    from keras_resnets.training import recipes

    if not name.endswith(".json"):
        return recipes.get(name)
    try:
        return recipes.Recipe.from_dict(json.loads(_read(name)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"{name!r} is not a recipe in JSON: {error}.") from error


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise ArgumentError(f"{path!r} cannot be read: {error.strerror}.") from error


def parse_field(text: str, option: str = "--set", example: str = "shortcut=C") -> tuple[str, Any]:
    """Splits a FIELD=VALUE text into name and value; a value that is not JSON is taken as text."""
    import json

    name, separator, value = text.partition("=")
    if not separator:
        raise ArgumentError(f"{option} takes FIELD=VALUE, such as {example}; got {text!r}.")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def print_written(paths) -> None:
    """Prints which files were written."""
    for path in paths:
        click.echo(f"wrote {path}")
