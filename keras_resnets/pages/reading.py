"""What a folder holds: a run with its studies, a search, a study, or several of them; what cannot be read is told."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keras_resnets.errors import ArgumentError, Notice
from keras_resnets.reports import Study
from keras_resnets.runs import UNFINISHED, Run, has_sum, read_csv

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
# How deep in a folder runs and studies are looked for, and how many of them one page takes.
DEEPEST, MOST = 4, 200


@dataclass
class Found:
    """What stands in one folder.

    Attributes:
        path: the folder.
        name: what it is called on the page: its path below the folder that was asked for, or its name.
        kind: `"run"` (a training or a pruning), `"search"`, `"study"`, `"cells"` (the trainings of a study that is not
            finished) or `"unfinished"` (a study that is not finished).
        record: the contents of `run.json`, or an empty dictionary.
        history: the table of epochs of a training.
        study: the study in the folder itself.
        studies: the studies in folders of this one.
        trainings: the trainings in folders of this one, of a search or a study.
        notes: sentences on what is damaged, missing or unfinished.
    """

    path: Path
    name: str
    kind: str
    record: dict[str, Any] = field(default_factory=dict)
    history: pd.DataFrame | None = None
    study: Study | None = None
    studies: list[Found] = field(default_factory=list)
    trainings: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def asked(self) -> dict[str, Any]:
        """The settings of the work."""
        return entries(self.record.get("asked"))

    @property
    def results(self) -> dict[str, Any]:
        """The results of finished work."""
        return entries(self.record.get("results"))


def entries(value: Any) -> dict[str, Any]:
    """Returns a dictionary as it is, and an empty one for what a file has in its place."""
    return value if isinstance(value, dict) else {}


def told(notes: list[str], what: str, function: Callable[[], T]) -> T | None:
    """Returns what a function returns; None, with a sentence among the notes, where a file does not let it.

    Files may be damaged, of another version or of a stranger, and anything may be missing in them. The page shows all
    else: so every exception becomes a sentence here.

    Args:
        notes: the sentences, which those that are told on the way join.
        what: what fails, the beginning of the sentence: `"The figure of lesion"`.
        function: it takes no arguments.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return function()
        except ArgumentError as error:
            notes.append(str(error))
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            notes.append(
                f"{what} cannot be shown, for the files are not as this version writes them "
                f"({type(error).__name__}: {said})."
            )
        finally:
            notes.extend(str(one.message) for one in caught if issubclass(one.category, Notice))
    return None


def read(folder: Path) -> list[Found]:
    """Returns what a folder holds: one entry if it is a run, a search or a study, else one for each that it contains.

    Raises:
        ArgumentError: as for `located`.
    """
    places = located(folder)
    found = [_found(place, name) for place, name in places[:MOST]]
    if len(places) > MOST:
        found[0].notes.append(f"There are more than {MOST} runs and studies in {folder.name!r}; the rest is left out.")
    return found


def located(folder: Path) -> list[tuple[Path, str]]:
    """Returns the folders of the runs, searches and studies that a folder is or holds, with their names on the page.

    Raises:
        ArgumentError: there is no such folder, or nothing that this package wrote in it.
    """
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "not there"
        raise ArgumentError(
            f"A report is of a folder: of a run, a search or a study, or one that holds several; {str(folder)!r} is "
            f"{kind}."
        )
    if is_ours(folder):
        return [(folder, folder.resolve().name)]
    found = [(place, str(place.relative_to(folder))) for place in itertools.islice(_places(folder), MOST + 1)]
    if not found:
        raise ArgumentError(
            f"{str(folder)!r} holds no run, search or study: there is no run.json and no study.json in it, nor in its "
            f"folders. Give the folder that was the --out of a command."
        )
    return found


def is_ours(folder: Path) -> bool:
    """Whether a folder itself is a run, a search or a study, finished or not."""
    return any((folder / name).exists() for name in ("run.json", "study.json", UNFINISHED, "cells", "checkpoints"))


def _places(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """Yields the folders below one that are runs, searches or studies, without those inside of them."""
    with contextlib.suppress(OSError):
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
                if is_ours(child):
                    yield child
                elif depth > 1:
                    yield from _places(child, depth - 1)


def _found(path: Path, name: str) -> Found:
    found = Found(path, name, "study")
    found.record = told(found.notes, f"The record of {name}", lambda: entries(Run(path, {}).record)) or {}
    if (path / "study.json").exists():
        found.study = told(found.notes, f"The study in {name}", lambda: _study(path))
    found.kind = _kind(found)

    # The table of epochs, and the studies of a run.
    if (path / "history.csv").exists():
        found.history = told(found.notes, f"The table of epochs of {name}", lambda: read_csv(path / "history.csv"))
        if found.history is not None and "epoch" not in found.history:
            found.notes.append(f"The table of epochs of {name} has no column of epochs, and is left out.")
            found.history = None
    elif has_sum(path / "history.csv"):
        found.notes.append(
            f"The table of epochs of {name}, history.csv, is gone. The command that wrote it makes it again."
        )
    inner = [path / "study", *_children(path / "studies")]
    found.studies = [_found(place, place.name) for place in inner if is_ours(place)]

    # Trainings: of a search's trials, a study's cells, and after a pruning.
    places = [*_children(path / "cells"), path / "fine_tuning"]
    places += [seed for trial in _children(path / "trials") for seed in _children(trial)]
    for place in places:
        if (place / "run.json").exists():
            inside = place.relative_to(path).parts
            found.trainings.append(_found(place, "/".join(inside[1:] or inside)))
    _tell_unfinished(found)
    return found


def _study(path: Path) -> Study:
    """Loads a study; what is no text or dictionary in its file becomes one, so that all else is shown."""
    study = Study.load(path)
    return Study(str(study.name), study.rows, entries(study.summary), entries(study.environment), study.tables)


def _kind(found: Found) -> str:
    if "space" in found.asked or (found.path / "trials").is_dir():
        return "search"
    if found.study is not None and "recipe" not in found.asked and "prune" not in found.asked:
        return "study"
    if (found.path / "cells").is_dir():
        return "cells"
    if found.asked or found.record or (found.path / "checkpoints").is_dir():
        return "run"
    return "unfinished" if (found.path / UNFINISHED).is_dir() else "study"


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    except OSError:
        return []


def _tell_unfinished(found: Found) -> None:
    """Says what is not finished; the command that began it goes on with it."""
    goes_on = "The command that began it goes on with it."
    if found.kind in ("run", "search") and found.asked and not found.results:
        what = "search" if found.kind == "search" else "pruning" if "prune" in found.asked else "training"
        found.notes.append(f"This {what} is not finished. {goes_on}")
    elif found.kind == "cells" and found.study is None:
        done = sum(bool(cell.results) for cell in found.trainings)
        found.notes.append(
            f"This study is not finished: {done} of the {len(found.trainings)} trainings that it began are. {goes_on}"
        )
    elif found.kind == "unfinished":
        kept = sum(1 for file in (found.path / UNFINISHED).rglob("*") if file.is_file())
        found.notes.append(f"The study {found.name} is not finished; {kept} of its measurements are kept. {goes_on}")
