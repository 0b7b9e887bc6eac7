"""What commands read and refuse before Keras is imported, which takes seconds: names, fields, files and folders.

Each check is that of the function that a command calls later, in a room that needs no Keras.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from keras_resnets.errors import ArgumentError


def source(name: str, *, exported: bool = False) -> None:
    """Refuses a SOURCE that names no network: no public weights, no file and no run.

    Args:
        name: a run directory, a file, `keras.applications:NAME`, which only Keras knows, or public weights.
        exported: whether exported files will do.
    """
    from keras_resnets.export.formats import form_of
    from keras_resnets.runs.saved import check_network

    if is_public(name) or name.startswith("keras.applications:") or (exported and form_of(name)):
        return
    check_network(name)


def weights(name: str | None, variant: str, out: Path) -> None:
    """Refuses weights to start from that are not there. A run that was begun with them goes on without."""
    from keras_resnets.runs.saved import saved_file
    from keras_resnets.weights import public

    if name is None or out.is_dir() or variant.endswith(".json"):
        return
    if public.find(name, variant) is None and not os.path.exists(name):
        saved_file(name)


def data(name: str | None, *, task: str | None = None, run: str | None = None, **where: Any) -> None:
    """Refuses data that are not there.

    Args:
        name: as of `--data`; None for the command's own choice.
        task: of the data; None if only the network tells.
        run: a run directory, of whose task they are, or any other SOURCE.
        **where: further arguments of `keras_resnets.data.load`.
    """
    from keras_resnets.data.loading import check
    from keras_resnets.runs import Run

    if name is None:
        return
    if task is None and run is not None and (Path(run) / "run.json").is_file():
        asked = (Run(run, {}).record or {}).get("asked", {}).get("data")
        task = asked.get("task", "classification") if isinstance(asked, dict) else None
    tasks = (task,) if task else ("classification", "segmentation")
    any_of(tasks, lambda task: check(name, task=task, **where))


def any_of(choices: Iterable[Any], function: Callable[[Any], Any]) -> Any:
    """Returns what a function returns of the first choice that it does not refuse; raises its first refusal if none."""
    refusals = []
    for choice in choices:
        try:
            return function(choice)
        except (ArgumentError, FileNotFoundError) as error:
            refusals.append(error)
    raise refusals[0]


def pictures(paths: Iterable[str]) -> None:
    """Refuses pictures that are not there; what folders hold is seen later."""
    from keras_resnets.prediction import images

    if files := [path for path in paths if not Path(path).is_dir()]:
        images.items(files)


def out(path: Path | None, *, is_file: bool = False) -> None:
    """Refuses a place that cannot be written to."""
    from keras_resnets.runs.run import check_usable

    if path is not None:
        check_usable(path, is_file=is_file)


def is_public(source: str) -> bool:
    """Whether a SOURCE is the full name of public weights, such as akamaster/resnet56."""
    from keras_resnets.weights import public

    return "/" in source and public.find(source) is not None


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


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a text file that are not empty."""
    from keras_resnets.data.folders import lines_of

    _read(str(path))
    return lines_of(path)


def read_fields(option: str, text: str) -> dict[str, Any]:
    """Returns the fields that an option gives as a JSON object, or as the name of a file with one."""
    import json

    try:
        fields = json.loads(text if text.lstrip().startswith("{") else _read(text))
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{option} takes a JSON object, or a file with one; got {text!r} ({error}).") from error
    if not isinstance(fields, dict):
        raise ArgumentError(f"{option} takes a JSON object, or a file with one; got {text!r}.")
    return fields


def _read(path: str) -> str:
    """Returns the text of a file that is given; one of a search that is not as it was written is refused."""
    from keras_resnets.runs import changed

    try:
        if changed(path):
            raise ArgumentError(
                f"{path!r} is not as it was written, damaged or edited. If it was edited, give it under another name; "
                f"if not, the command that wrote it makes it again."
            )
        return Path(path).read_bytes().decode(errors="replace")
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
