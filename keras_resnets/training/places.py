"""What a run directory says beside its settings, so that it can be moved: where its data lie, what a prediction needs.

Settings name a folder as it was given, often by a path relative to where the command ran. Beside them, `run.json` has
the absolute path (`places`), and the class names and preprocessing of the network (`carries`).
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.data import Data
from keras_resnets.errors import ArgumentError, listed, notice
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.runs import Run

# The settings of data that may be paths.
_PATHS = ("name", "data_dir")
# Names that `keras_resnets.data.load` takes for a set of its own, whatever folder has them.
_OWN = ("digits", "scenes", "arrays")


def note(run: Run, model: ResidualNetwork, data: Data) -> None:
    """Writes into the record of a run that is not finished where its data lie and what its network carries."""
    if run.finished:
        return
    names, preprocessing = model.class_names, model.preprocessing
    found = {key: _where(str(value), run.path) for key, value in _paths(data).items()}
    run.note(
        places={**found, "sizes": data.sizes, "files": data.files},
        carries={
            "class_names": None if names is None else list(names),
            "preprocessing": preprocessing and preprocessing.to_dict(),
        },
    )


def carried(record: dict[str, Any]) -> tuple[tuple[str, ...] | None, Preprocessing | None]:
    """Returns the class names and the preprocessing that a run's record has; None for each in an early one."""
    carries = record.get("carries") or {}
    names, preprocessing = carries.get("class_names"), carries.get("preprocessing")
    return names and tuple(names), Preprocessing.from_dict(preprocessing) if preprocessing else None


def lacks(model: Any) -> bool:
    """Returns whether a network does not carry all that a prediction needs, as those of early versions do not."""
    steps = getattr(model, "preprocessing", None)
    return steps is None or steps.resizing is None or getattr(model, "class_names", None) is None


def fill(model: Any, data: Data) -> None:
    """Gives a network what it lacks for predictions from the data of its run."""
    steps, of_data = model.preprocessing, data.preprocessing
    if data.task != "classification" or model.output_shape[-1] != data.classes:
        return
    if steps is None:
        model.preprocessing = of_data
    elif steps.resizing is None and of_data is not None:
        model.preprocessing = dataclasses.replace(steps, resizing=of_data.resizing, white=of_data.white)
    model.class_names = model.class_names or data.class_names


def found(path: Path, record: dict[str, Any]) -> dict[str, str]:
    """Returns the folders of a run's data where they lie now: at their absolute path, beside the run, or as given.

    Args:
        path: the run directory.
        record: its `run.json`.

    Raises:
        ArgumentError: a folder is at none of these places.
    """
    asked, places, now = record["asked"]["data"], record.get("places") or {}, {}
    for key in _PATHS:
        given, place = asked.get(key), places.get(key)
        if not given or (place is None and (key == "data_dir" or os.sep not in given)):
            continue
        place = place or {}
        tried = [place.get("absolute"), place.get("beside") and path / place["beside"], given]
        there = next((str(folder) for folder in tried if folder and Path(folder).exists()), None)
        if there is None:
            option, what = ("--data", "was trained on") if key == "name" else ("--data-dir", "took its data from")
            raise ArgumentError(
                f"The run in {str(path)!r} {what} {place.get('absolute') or given!r}, which is not there. Give where "
                f"it is now: {option}."
            )
        now[key] = there
    return now


def recorded(record: dict[str, Any], key: str) -> str | None:
    """Returns where a run recorded that its `name` or `data_dir` is; None if it did not."""
    absolute = ((record.get("places") or {}).get(key) or {}).get("absolute")
    return absolute and _real(absolute)


def asked(data: Data, out: str | os.PathLike) -> dict[str, Any]:
    """Returns the settings of a training's data: of a run that goes on, in the words it was started with.

    The same folder may be given by another path, or may have been moved.

    Raises:
        ArgumentError: the run was started with other data at this place.
    """
    settings = {"name": data.name, **data.options}
    path = Path(out)
    record = (Run(path, {}).record if (path / "run.json").is_file() else None) or {}
    places, old = record.get("places"), record.get("asked", {}).get("data")
    if not places or not isinstance(old, dict):
        return settings
    for key, value in _paths(data).items():
        place = places.get(key)
        if place is None or old.get(key) == value:
            continue
        is_same = _real(place["absolute"]) == _real(value) or _real(path / place["beside"]) == _real(value)
        if is_same or not Path(place["absolute"]).exists():
            settings[key] = old[key]
            if not is_same:
                notice(
                    f"The run in {str(path)!r} was started with {place['absolute']!r}, which is gone; it goes on with "
                    f"{value!r}."
                )
    # Other settings are told apart by the run itself.
    if json.loads(json.dumps(settings)) == old and (what := differs(record, data)):
        raise ArgumentError(
            f"{str(path)!r} was started with other data: {what}. Give the data it was started with, or another --out."
        )
    return settings


def differs(record: dict[str, Any], data: Data) -> str:
    """Returns in what data differ from those that a run recorded; an empty text if in nothing that is known.

    A folder that holds other files is divided anew, so that images which were trained on come to be tested on.
    """
    places = record.get("places") or {}
    names, _ = carried(record)
    if names is not None and names != data.class_names:
        return f"the classes were {listed(names)}, and those of {data.name!r} are {listed(data.class_names)}"
    sizes: dict[str, int] | None = places.get("sizes")
    if sizes and sizes != data.sizes:
        return f"there were {_counted(sizes)} images, and {data.name!r} has {_counted(data.sizes)}"
    files: dict[str, str] = places.get("files") or {}
    changed = [split for split, content in files.items() if content != data.files.get(split)]
    if changed:
        return f"images of {data.name!r} have been changed, moved or exchanged since ({listed(changed)})"
    return ""


def _counted(sizes: dict[str, int]) -> str:
    return ", ".join(f"{size:,} {split}" for split, size in sizes.items())


def _paths(data: Data) -> dict[str, str]:
    """Returns those settings of data that are paths."""
    settings = {"name": data.name, "data_dir": data.options.get("data_dir")}
    if data.name in _OWN or not Path(data.name).exists():
        del settings["name"]
    return {key: value for key, value in settings.items() if value}


def _where(folder: str, run: Path) -> dict[str, str]:
    """Returns the absolute path of a folder, and its path from the run directory, with which it may be moved."""
    absolute = os.path.abspath(folder)
    return {"absolute": absolute, "beside": os.path.relpath(absolute, os.path.abspath(run))}


def _real(path: str | os.PathLike) -> str:
    return os.path.realpath(path)
