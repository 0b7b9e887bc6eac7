"""How objects show themselves in a notebook: facts, short tables and a figure, as HTML; and what numbers look like.

A class takes the mixin `Shown`, and its room says with `describes` what of it is shown.
"""

from __future__ import annotations

import base64
import functools
import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# With more rows a table is cut.
MOST_ROWS = 20
# Columns whose numbers are shares, by the beginning of their names or the whole of them.
_SHARES = {
    *("error", "train_error", "test_error", "top5_error", "deleted", "unskipped", "calibration_error"),
    *("accuracy", "val_accuracy", "test_accuracy", "top5_accuracy", "validation accuracy", "test accuracy"),
    *("iou", "mean_iou", "val_mean_iou", "test_mean_iou", "test mean IoU", "pixel_accuracy"),
    *("recall", "precision", "f1", "balanced_accuracy", "agreement", "confidence"),
}


@dataclass
class Table:
    """A table.

    Attributes:
        columns: their names.
        rows: values, a sequence for each row, as long as `columns`; any number of them.
        caption: what they are.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""

    @property
    def sides(self) -> list[str]:
        """On which side of a column its cells stand: numbers on the right."""
        columns = zip(*self.rows[:MOST_ROWS], strict=True) if self.rows else ((),) * len(self.columns)
        return ["right" if any(map(_is_number, column)) else "left" for column in columns]

    @property
    def cells(self) -> list[list[str]]:
        """The text of each cell that is shown."""
        shown = [zip(self.columns, row, strict=True) for row in self.rows[:MOST_ROWS]]
        return [[number(value, name) for name, value in row] for row in shown]

    @property
    def left(self) -> int:
        """How many rows are not shown."""
        return max(0, len(self.rows) - MOST_ROWS)


@dataclass
class Description:
    """What is shown of an object; all of its texts are escaped.

    Attributes:
        title: its heading.
        facts: names and values.
        lines: sentences, and lines whose words stand in columns.
        tables: with their first rows.
        picture: a PNG file's contents; None for none.
        alt: what the picture shows, in words.
    """

    title: str
    facts: Iterable[tuple[str, Any]] = ()
    lines: Sequence[str] = ()
    tables: Sequence[Table] = field(default_factory=list)
    picture: bytes | None = None
    alt: str = ""

    @property
    def src(self) -> str:
        """The address of the picture, which holds it."""
        return "" if self.picture is None else f"data:image/png;base64,{base64.b64encode(self.picture).decode()}"


@functools.singledispatch
def described(shown: Any) -> Description:
    """Returns what is shown of an object."""
    return Description(type(shown).__name__, lines=[repr(shown)])


def describes(kind: type) -> Callable[[Callable[[Any], Description]], Callable[[Any], Description]]:
    """Registers the function that describes the objects of a class."""
    return described.register(kind)


class Shown:
    """A mixin: notebooks show an object by what `described` returns."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        templates = Environment(
            loader=PackageLoader("keras_resnets", "."),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return templates.get_template("showing.html.jinja").render(it=described(self), number=number)


def in_notebook() -> bool:
    """Whether this process is that of a notebook."""
    from rich.console import Console

    return Console().is_jupyter


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def number(value: Any, column: str = "") -> str:
    """Returns a value as the text of a cell: shares in percent, large whole numbers with commas, others shortly.

    Example:
        >>> from keras_resnets.showing import number
        >>> number(0.0916, "error_low"), number(12345), number(0.123456), number(float("nan")), number("a")
        ('9.16 %', '12,345', '0.1235', '–', 'a')
    """
    if type(value).__name__ in ("bool", "bool_"):  # Python's and NumPy's, which is not needed here
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    if value is None or (isinstance(value, numbers.Real) and math.isnan(value)):
        return "–"
    if isinstance(value, numbers.Real):
        value = float(value)
        if is_share(column) and math.isfinite(value):
            return f"{100 * value:.2f} %"
        return f"{value:,.0f}" if value.is_integer() and 1e3 <= abs(value) < 1e15 else f"{value:.4g}"
    return str(value)


def counted(count: Any, what: str) -> str:
    """Returns a number of things in words, of one thing without the `s`; what is no number stays as it is.

    Example:
        >>> from keras_resnets.showing import counted
        >>> counted(1, "epoch"), counted(20000, "image")
        ('1 epoch', '20,000 images')
    """
    return f"{number(count)} {what}{'' if count == 1 else 's'}"


def is_share(column: str) -> bool:
    """Whether the numbers of a column are shares of 1."""
    return column.removesuffix("_low").removesuffix("_high").removesuffix("_mean") in _SHARES
