"""From sections to HTML. Every text is escaped, for class names and paths are of files."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from pathlib import Path

from keras_resnets.pages.parts import Section
from keras_resnets.pages.words import intervals
from keras_resnets.runs import environment

# What tells a report from other pages, near its beginning.
_MARK = '<meta name="generator" content="keras_resnets report">'


def is_report(file: Path) -> bool:
    """Whether a file is a report, which may be replaced by a newer one."""
    with open(file, "rb") as handle:
        return _MARK.encode() in handle.read(1000)


def render(title: str, sections: list[Section], studies: list[str]) -> str:
    """Returns the page.

    Args:
        title: its title.
        sections: its parts.
        studies: the names of the studies on it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    files = PackageLoader("keras_resnets", "pages")
    templates = Environment(
        loader=files, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    numbers = itertools.count(1)
    parts = list(_all(sections))
    columns = [name.replace(" ", "_") for part in parts for table in part.tables for name, *_ in table.columns]
    is_told = any("interval" in line for part in parts for line in part.verdict)
    return templates.get_template("report.html.jinja").render(
        title=title,
        sections=sections,
        intervals=intervals(studies, columns, is_told),
        mark=Markup(_MARK),
        made=f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
        version=environment()["versions"].get("keras_resnets", ""),
        number=lambda: next(numbers),
    )


def _all(sections: list[Section]) -> Iterator[Section]:
    for section in sections:
        yield section
        yield from _all(section.sections)
