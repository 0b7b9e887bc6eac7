"""`Study`: the result of an experiment as a table, a summary and a figure, which can be saved and loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.errors import ArgumentError, notice
from keras_resnets.explaining import explained
from keras_resnets.reports.events import Curve, Events, of_study, table
from keras_resnets.runs import UNFINISHED, Damaged, environment, has_sum, read_csv, read_json, whole, write_json
from keras_resnets.runs.removal import remove
from keras_resnets.runs.run import MEASURED
from keras_resnets.showing import Description, Shown, Table, describes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """How to present the studies of one experiment.

    Attributes:
        draw: returns the figure of a study.
        describe: returns its result in a few lines of text.
        curves: returns its curves for TensorBoard, by names that say what they are.
    """

    draw: Callable[[Study], Figure]
    describe: Callable[[Study], str]
    curves: Callable[[Study], dict[str, Curve]]


# By the name of the experiment; each experiment's module adds its own.
DRAWINGS: dict[str, Drawing] = {}


@dataclass
class Study(Shown):
    """The result of one experiment.

    Attributes:
        name: the experiment, such as `"lesion"`, a key of `DRAWINGS`.
        rows: one row per measurement.
        summary: the main numbers, and what they were measured on.
        environment: the environment of the process, as from `keras_resnets.runs.environment`.
        tables: further tables by name, such as one with a row per epoch.
    """

    name: str
    rows: pd.DataFrame
    summary: dict[str, Any]
    environment: dict[str, Any] = dataclasses.field(default_factory=environment)
    tables: dict[str, pd.DataFrame] = dataclasses.field(default_factory=dict)

    def figure(self, axes: Axes | Sequence[Axes] | None = None) -> Figure:
        """Draws the figure; close it with `matplotlib.pyplot.close` or save it.

        Args:
            axes: panels of your own to draw in, as many as the figure has; by default a new figure is made.

        Raises:
            ArgumentError: the panels are more or fewer than the figure has.

        Example:
            >>> import keras_resnets as kr, matplotlib.pyplot as plt, numpy as np
            >>> study = kr.studies.lesion(kr.build("resnet8", (8, 8, 1)), (np.zeros((4, 8, 8, 1)), np.zeros(4, int)))
            >>> figure, axes = plt.subplots()
            >>> _ = study.figure(axes=axes)
            >>> axes.get_xlabel()
            'deleted block'
        """
        from keras_resnets.reports import figures

        with figures.drawn_in(axes):
            return self._drawing.draw(self)

    @property
    def _drawing(self) -> Drawing:
        if self.name not in DRAWINGS:
            raise ArgumentError(
                f"There is no drawing of the study {self.name!r}, which another version may have; "
                f"there are drawings of {', '.join(sorted(DRAWINGS))}."
            )
        return DRAWINGS[self.name]

    def save(self, folder: str | os.PathLike) -> list[Path]:
        """Writes the study and returns the files.

        `rows.csv`, `study.json` (summary, versions, command line), `figure.png`, `figure.svg`, a
        file such as `epochs.csv` for each further table, and figure, curves, result and tables as TensorBoard
        events under `logs`.

        Args:
            folder: the folder to write to; the files of an earlier study are replaced.

        Raises:
            ArgumentError: the folder holds a file or folder of such a name that no study wrote.
        """
        import matplotlib

        # Tables.
        folder = Path(folder)
        self.check_folder(folder, self.tables)
        for name, rows in {"rows": self.rows, **self.tables}.items():
            with whole(folder / f"{name}.csv", sealed=True) as part:
                rows.to_csv(part, index=False)

        # The figure, in both formats and for TensorBoard with the curves.
        figure = self.figure()
        for suffix, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            with whole(folder / f"figure.{suffix}") as part, matplotlib.rc_context({"svg.hashsalt": self.name}):
                figure.savefig(part, format=suffix, **options)
        Events.remove(folder / "logs")
        with Events(folder / "logs") as events:
            self._tell(events, figure)

        # The summary comes last: with it, the study is complete and the partial results can go.
        content = {"study": self.name, "summary": self.summary, "environment": self.environment}
        content |= {"tables": list(self.tables)} if self.tables else {}
        content |= {"texts": {name: _texts(rows) for name, rows in {"rows": self.rows, **self.tables}.items()}}
        write_json(folder / "study.json", content, sealed=True)
        remove(folder / UNFINISHED, MEASURED)
        tables = [f"{name}.csv" for name in ("rows", *self.tables)]
        return [folder / name for name in (*tables, "study.json", "figure.png", "figure.svg", "logs")]

    def _tell(self, events: Events, figure: Figure) -> None:
        """Writes the study for TensorBoard: its figure, curves, result and tables."""
        events.figure(of_study(self.name, "figure"), figure, 0)
        title = " on ".join(str(self.summary[key]) for key in ("model", "data") if self.summary.get(key))
        for name, curve in self._drawing.curves(self).items():
            events.curve(self.name, name, curve, title)
        events.text(of_study(self.name, "result"), describe(self).replace("\n", "\n\n"))
        for name, rows in {"rows": self.rows, **self.tables}.items():
            events.text(of_study(self.name, name), table(rows))

    @staticmethod
    def check_folder(folder: str | os.PathLike, tables: Iterable[str] = ()) -> None:
        """Raises `ArgumentError` if a folder holds what a study would replace, and no study wrote it."""
        folder = Path(folder)
        names = [*(f"{name}.csv" for name in ("rows", *tables)), "study.json", "figure.png", "figure.svg"]
        ours = has_sum(folder / "rows.csv") or (folder / "run.json").exists()
        if not ours and (folder / "study.json").is_file():  # an early version's
            with contextlib.suppress(ArgumentError, OSError, TypeError):
                ours = "study" in read_json(folder / "study.json")
        for name in names:
            path = folder / name
            if path.is_dir() or (path.exists() and not ours):
                why = "" if path.is_dir() else " (rows.csv has no checksum in .sums)"
                raise ArgumentError(
                    f"{str(path)!r} was not written by a study{why}, and would be replaced by one; move it, or give "
                    f"another folder (--out)."
                )

    @staticmethod
    def is_whole(folder: str | os.PathLike) -> bool:
        """Whether a folder contains a study that can be loaded; a damaged one is told."""
        if not (Path(folder) / "study.json").exists():
            return False
        try:
            Study.load(folder)
        except Damaged as error:
            notice(f"{error} It is measured again.")
            return False
        return True

    @staticmethod
    def load(folder: str | os.PathLike) -> Study:
        """Loads a saved study.

        Raises:
            ArgumentError: the folder contains no study, or a damaged one.
        """
        folder = Path(folder)
        try:
            content = read_json(folder / "study.json")
            texts = content.get("texts", {})  # earlier versions did not write which columns are texts
            names = ("rows", *content.get("tables", ()))
            tables = {name: read_csv(folder / f"{name}.csv", texts.get(name, ())) for name in names}
            return Study(content["study"], tables.pop("rows"), content["summary"], content["environment"], tables)
        except Damaged:
            raise
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise ArgumentError(
                f"There is no study in {str(folder)!r}; give a folder that Study.save wrote."
            ) from error


def _texts(rows: pd.DataFrame) -> list[str]:
    """Returns the columns of texts, which a table that is read again would take for numbers where they look like it."""
    known = {str(column): rows[column].dropna() for column in rows}
    return [name for name, values in known.items() if len(values) and all(isinstance(value, str) for value in values)]


@explained
def describe(study: Study) -> str:
    """Returns the result of a study in a few lines of text."""
    return study._drawing.describe(study)


@describes(Study)
def _shown(study: Study) -> Description:
    """Returns what notebooks show: the result in words, the figure, and the first rows."""
    table = Table([str(name) for name in study.rows], study.rows.values.tolist(), "rows")
    if study.name not in DRAWINGS:  # another version's
        return Description(study.name, [(k, v) for k, v in study.summary.items()], tables=[table])
    import io

    figure, file = study.figure(), io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    panels = [f"{axes.get_ylabel()} against {axes.get_xlabel()}" for axes in figure.axes if axes.get_xlabel()]
    alt = f"Figure of the study {study.name}: {'; '.join(panels)}"
    return Description(study.name, (), describe(study).splitlines(), [table], file.getvalue(), alt)
