"""Shared by the subcommands: options, the start of Keras, opening of networks and files, and printing."""

from __future__ import annotations

import contextlib
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
        "--data", callback=_named, help="'digits', a tensorflow-datasets name, or a folder with a folder per class."
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
    """Returns the network of a SOURCE, and the preprocessing of raw images if it is a public network, else None."""
    from keras_resnets.models import applications
    from keras_resnets.training.opening import load_model

    shape = (image_size, image_size, 3) if image_size else None
    prefix, _, name = source.partition(":")
    if is_public(source):
        network = public_network(source, shape)
        return network, network.preprocessing
    if prefix != "keras.applications":
        return load_model(source), None
    return applications.foreign(name, None if weights == "random" else weights, shape)


def is_public(source: str) -> bool:
    """Whether a SOURCE is the full name of public weights, such as akamaster/resnet56."""
    from keras_resnets.weights import public

    return "/" in source and public.find(source) is not None


def public_network(source: str, shape: tuple[int, int, int] | None = None):
    """Returns the network of public weights, which are fetched if they are not on this machine."""
    from keras_resnets import weights

    return weights.network(source, input_shape=shape)


def as_needed(data, source: str, network):
    """Returns data as a network needs them: a run directory's are its own, others are prepared as it knows."""
    known = getattr(network, "preprocessing", None)
    same = known is None or Path(source).is_dir() or _is_same(known, data.preprocessing)
    return data if same else data.prepared(known)


def in_size_of(network, name: str, load):
    """Loads data in the size of a network's images; a set that has it already is not resized.

    Args:
        network: the network.
        name: the set or folder.
        load: loads it, given `image_size`.
    """
    if not Path(name).is_dir():
        with contextlib.suppress(ArgumentError):  # of sets that need a size, as their images have several
            data = load(image_size=None)
            if data.input_shape[:2] == network.input_shape[1:3]:
                return data
    return load(image_size=network.input_shape[1])


def _is_same(one, other) -> bool:
    """Whether two preprocessings give the same, but for the rounding of their numbers."""
    import numpy as np

    if other is None or one.channels != other.channels:
        return False
    pairs = [(np.asarray(getattr(one, field)), np.asarray(getattr(other, field))) for field in ("mean", "std")]
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=0) for a, b in pairs)


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


def parse_field(text: str) -> tuple[str, Any]:
    """Splits a FIELD=VALUE text into name and value; a value that is not JSON is taken as text."""
    import json

    name, separator, value = text.partition("=")
    if not separator:
        raise ArgumentError(f"--set takes FIELD=VALUE, such as shortcut=C; got {text!r}.")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


def print_written(paths) -> None:
    """Prints which files were written."""
    for path in paths:
        click.echo(f"wrote {path}")
