"""The parts of a page as plain data: sections, tables, figures; and texts of numbers."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnets.showing import number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawn

# With more rows a table on the page is cut; the file to download has them all.
LONGEST = 300


@dataclass
class Cell:
    """A cell of a table: its text, and the number or text that it is sorted by."""

    text: str
    value: Any


@dataclass
class Table:
    """A table of a page.

    Attributes:
        caption: what it shows.
        columns: for each column its label, its explanation or "", and whether it is of numbers.
        rows: the cells.
        total: the number of rows of the whole table.
        href, file: the whole table as an address that holds it, and the name of the downloaded file.
        is_open: whether it is shown without being asked for.
    """

    caption: str
    columns: list[tuple[str, str, bool]]
    rows: list[list[Cell]]
    total: int
    href: str
    file: str
    is_open: bool = True


@dataclass
class Picture:
    """A figure or image of a page: its address, which holds it; its alternative text, and its caption."""

    src: str
    alt: str
    caption: str = ""
    file: str = ""
    wide: bool = False


@dataclass
class Section:
    """A section of a page, with those inside it.

    Attributes:
        title: its heading.
        lead: a sentence below the heading.
        notes: warnings.
        verdict: what was found, in sentences.
        aligned: lines of what was found whose words stand in columns.
        command: the command that made it.
        hint: commands that would add to it.
        figures, facts, tables, images: what is shown; `facts` are names and texts, `images` sample images.
        sections: the sections inside it.
        is_open: whether it is shown without being asked for.
    """

    title: str
    lead: str = ""
    notes: list[str] = field(default_factory=list)
    verdict: list[str] = field(default_factory=list)
    aligned: list[str] = field(default_factory=list)
    command: str = ""
    hint: str = ""
    figures: list[Picture] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    images: list[Picture] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    is_open: bool = True


def address(content: bytes | str, kind: str) -> str:
    """Returns an address that holds the content itself, of a kind such as `text/csv`."""
    content = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def table(
    frame: pd.DataFrame, caption: str, file: str, words: dict[str, str] | None = None, is_open: bool = True
) -> Table:
    """Returns a table for the page, and the whole of it as CSV to download.

    Args:
        frame: the rows.
        caption: what they show.
        file: the name of the downloaded file.
        words: explanations of columns by their names.
        is_open: whether the table is shown without being asked for.
    """
    words, shown = words or {}, frame.head(LONGEST)
    names = [str(name) for name in frame]
    numeric = [frame[name].dtype.kind in "iufb" for name in frame]
    columns = [(name.replace("_", " "), words.get(name, ""), right) for name, right in zip(names, numeric, strict=True)]
    rows = [
        [Cell(number(value, name), _sorted_by(value)) for name, value in zip(names, row, strict=True)]
        for row in shown.itertuples(index=False)
    ]
    return Table(caption, columns, rows, len(frame), address(frame.to_csv(index=False), "text/csv"), file, is_open)


def _sorted_by(value: Any) -> Any:
    """Returns the number that a cell is sorted by, exactly, or its text; "" where there is none."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return int(value)
    value = value.item() if isinstance(value, np.number) else value
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"  # as scripts write it
    return value if isinstance(value, int | float) else str(value)


def drawn(figure: Drawn, name: str, caption: str = "") -> Picture:
    """Returns a figure as SVG, with an alternative text of its title and axes."""
    import io

    import matplotlib

    file = io.BytesIO()
    # Text stays text: small files, and sharp at every size.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    panels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    words = [f"{y} against {x}" if x and y else y or x for x, y in panels]
    title = figure.get_suptitle() or caption
    alt = f"{title}. " + "; ".join(f"panel {i}: {text}" for i, text in enumerate(filter(None, words), 1))
    wide = figure.get_size_inches()[0] > 9.5
    return Picture(address(file.getvalue(), "image/svg+xml"), " ".join(alt.split()), caption, f"{name}.svg", wide)


def saved(path: Path, name: str) -> Picture:
    """Returns the SVG that a study saved, of which this version has no drawing."""
    return Picture(
        address(path.read_bytes(), "image/svg+xml"), f"The figure that the study {name} saved", "", path.name
    )
