"""`report`: one page of what a folder holds."""

from __future__ import annotations

import os
from pathlib import Path

from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.pages import contents, rendering
from keras_resnets.pages.parts import Section
from keras_resnets.pages.reading import Found, read
from keras_resnets.runs import whole

# With more runs on one page, each has its row in the table of runs, and no section of its own.
DETAILED = 20


@explained
def report(*folders: str | os.PathLike, images: bool = True, out: str | os.PathLike | None = None) -> Path:
    """Writes a report: one HTML page that needs no network and opens from its file.

    It says what was asked and found, in sentences, with the curves of trainings, the figures of studies, tables that
    sort and can be downloaded, what the intervals mean, and versions, hardware and fingerprints. Several runs, or a
    folder that holds some, are compared. What is damaged, unfinished or of another version is said where it would
    stand. Nothing is measured, and no network is opened; of an evaluated run, sample images are read from its data,
    where they are there.

    Args:
        *folders: directories of runs, searches or studies, or folders that hold some.
        images: whether to read sample images.
        out: the file to write; by default `report.html` in the folder, or in the working directory of several folders.

    Returns:
        The file.

    Raises:
        ArgumentError: a folder holds nothing that this package wrote, or `out` is a file that is no report.
        OSError: the file cannot be written.

    Example:
        >>> import keras_resnets as kr, numpy as np, os, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> model, x = kr.build("resnet8", input_shape=(8, 8, 1)), np.zeros((4, 8, 8, 1))
        >>> _ = kr.studies.lesion(model, (x, np.arange(4))).save(os.path.join(folder, "lesion"))
        >>> kr.report(folder).name
        'report.html'
    """
    if not folders:
        raise ArgumentError("A report is of one folder at least: of a run, a search, a study, or one that holds them.")
    places = [Path(folder) for folder in folders]
    file = Path(out) if out is not None else (places[0] if len(places) == 1 else Path()) / "report.html"
    if file.is_dir():
        raise ArgumentError(f"out must be a file, such as 'report.html'; {str(file)!r} is a folder.")
    if file.exists() and not rendering.is_report(file):
        raise ArgumentError(f"{str(file)!r} is not a report, and would be replaced by one; give another file (--out).")
    page = rendering.render(*_page([found for place in places for found in read(place)], places, images))
    with whole(file) as part:
        part.write_text(page, encoding="utf-8")
    return file


def _page(found: list[Found], places: list[Path], images: bool) -> tuple[str, list[Section], list[str]]:
    """Returns the title, the sections and the names of the studies of a page."""
    if len(places) > 1:
        _tell_apart(found)
    runs = [one for one in found if one.kind == "run"]
    sections = [contents.comparison(runs)] if len(runs) > 1 else []
    shown = found if len(runs) <= DETAILED else [one for one in found if one.kind != "run"]
    if len(shown) < len(found):
        sections[0].notes.append(
            f"With more than {DETAILED} runs, each has its row alone; keras-resnets report RUN shows one as a whole."
        )
    sections += [contents.section(one, len(found) == 1, images) for one in shown]
    title = (
        sections[-1].title
        if len(found) == 1
        else f"{len(found)} results in {', '.join(p.resolve().name for p in places)}"
    )
    return title, sections, [one.study.name for one in _all(found) if one.study is not None]


def _tell_apart(found: list[Found]) -> None:
    """Names what came from different folders by their paths, where names are the same."""
    names = [one.name for one in found]
    for one in found:
        if names.count(one.name) > 1:
            one.name = str(one.path)


def _all(found: list[Found]) -> list[Found]:
    return [inner for one in found for inner in (one, *_all(one.studies))]
