"""TensorBoard's events and the names in them, written here alone, on every backend and without TensorFlow.

TensorBoard sorts tags by their names, and shows a group for what stands before the first slash. The curves of a
training have the names of `keras.callbacks.TensorBoard`, beside whose they can be seen, and come first in the order of
letters, accuracy before loss; then come `study/...` and `weights of ...`.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnets.reports import private
from keras_resnets.runs.removal import remove

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# What a training writes below its folder: each is a run of TensorBoard.
TRAIN, VALIDATION, TEST, IMAGES = "train", "validation", "test", "images"
# Rows and columns of a table in the Text tab; the CSV file has all.
MOST_ROWS, MOST_COLUMNS = 200, 40


def of_epoch(metric: str) -> tuple[str, str]:
    """Returns the part of a training to which a metric belongs, and its tag."""
    part = VALIDATION if metric.startswith("val_") else TEST if metric.startswith("test_") else TRAIN
    return part, f"epoch_{metric.removeprefix('val_').removeprefix('test_')}"


def of_study(study: str, what: str) -> str:
    """Returns the tag of a curve, figure or table of a study."""
    return f"study/{study}/{what}"


def of_weights(path: str) -> str:
    """Returns the tag of the histogram of a variable; those of a block are a group."""
    return f"weights of {path}"


def about(what: str) -> str:
    """Returns the tag of a text on a training: its network, its data, its recipe."""
    return f"about/{what}"


@dataclass(frozen=True)
class Curve:
    """Values of a study for TensorBoard.

    Attributes:
        values: a pandas.Series, by what `axis` says.
        axis: what the index of the values is.
        follows: whether each value comes after the one before, as epochs do and numbers of deleted blocks. Then they
            are a chart of scalars, with whole numbers for steps; others, such as blocks and seeds, are a picture of
            bars, which TensorBoard neither joins nor smooths.
    """

    values: pd.Series
    axis: str
    follows: bool = False


class Events:
    """Writes events for TensorBoard; a context manager.

    Args:
        folder: the folder of the TensorBoard run; a new file of events is added to it.
    """

    def __init__(self, folder: str | os.PathLike):
        self._writer = private.Writer(folder)

    @staticmethod
    def remove(folder: str | os.PathLike) -> None:
        """Removes the events that this package wrote to a folder; those of others, and of early versions, stay."""
        for old in Path(folder).glob(f"events.*{private.SUFFIX}"):
            remove(old)

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_) -> None:
        self.flush()

    def flush(self) -> None:
        """Appends what is pending to the file."""
        self._writer.flush()

    def scalar(self, tag: str, value: float, step: int, what: str = "") -> None:
        """Writes a number; `what` is shown beside the name of its chart."""
        self.summary(private.scalar(tag, float(value), what), step)

    def summary(self, summary, step: int = 0) -> None:
        """Writes a summary, such as those of TensorBoard's plugins."""
        self._writer.add_event(private.event(summary, step))

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        """Writes how finite values are distributed; nothing where there are none."""
        from tensorboard.plugins.histogram import summary_v2

        values = np.asarray(values, "float64")
        if (finite := values[np.isfinite(values)]).size:
            self.summary(summary_v2.histogram_pb(tag, finite), step)

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """Writes a figure as a picture."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self.picture(tag, np.asarray(canvas.buffer_rgba())[..., :3], step)

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Writes a picture of (height, width, 3), uint8."""
        import io

        from PIL import Image

        png, image = io.BytesIO(), Image.fromarray(np.ascontiguousarray(picture))
        image.save(png, "png")
        self.summary(private.image(tag, png.getvalue(), *image.size), step)

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Writes a text in Markdown."""
        self.summary(private.text(tag, markdown), step)

    def graph(self, nodes: Iterable[Node]) -> None:
        """Writes a graph of operations; slashes in the names of nodes make boxes."""
        self._writer.add_event(private.graph(nodes))

    def hyperparameters(self, values: Mapping[str, Any], trial: str) -> None:
        """Writes a row of the HParams tab, whose metrics are the scalars of this run and of those below it.

        Args:
            values: numbers, truth values and texts by name; what is None is left out.
            trial: the name of the row; runs of the same name, such as those of several seeds, share one, with the means
                of their metrics.
        """
        from tensorboard.plugins.hparams import summary_v2 as api  # `api` itself imports TensorFlow

        known = {name: value for name, value in values.items() if value is not None}
        self.summary(api.hparams_pb(known, trial_id=trial))

    def curve(self, study: str, name: str, curve: Curve, title: str = "") -> None:
        """Writes a curve of a study: scalars, or a picture of bars."""
        tag = of_study(study, name)
        if curve.follows:
            for step, value in curve.values.items():
                if math.isfinite(value):
                    self.scalar(tag, value, step, f"{title}\n\nThe step is: {curve.axis}.".strip())
        elif len(curve.values):
            from keras_resnets.reports import figures

            self.figure(tag, figures.bars(curve.values, name, curve.axis, title), 0)


@dataclass(frozen=True)
class Node:
    """An operation in a graph.

    Attributes:
        name: its name, with a slash behind each box that it is in.
        kind: what it does.
        inputs: the names of the nodes that it reads.
        shape: of its output, with -1 for what is not known; None if nothing is.
        details: further facts by name, shown when it is selected.
    """

    name: str
    kind: str
    inputs: Sequence[str] = ()
    shape: Sequence[int] | None = None
    details: Mapping[str, str] | None = None


def table(rows: pd.DataFrame) -> str:
    """Returns a table in Markdown, of its first rows and columns if there are many."""
    shown = rows.iloc[:MOST_ROWS, :MOST_COLUMNS]
    lines = [[_cell(str(name)) for name in shown], ["---"] * shown.shape[1]]
    lines += [[_cell(value) for value in row] for row in shown.itertuples(index=False)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if shown.shape == rows.shape:
        return text
    sizes = zip(shown.shape, rows.shape, ("rows", "columns"), strict=True)
    left = " and ".join(f"{some} of {every:,} {what}" for some, every, what in sizes if some < every)
    return f"{text}\n\nThe first {left}; the CSV file has all."


def listing(values: Mapping[str, Any]) -> str:
    """Returns names and values as a table in Markdown; those of a mapping inside stand for themselves."""
    lines = ["| setting | value |", "| --- | --- |", *(f"| {name} | {_cell(value)} |" for name, value in _flat(values))]
    return "\n".join(lines)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _cell(value: Any) -> str:
    """Returns a value as text that does not end a cell of a table."""
    if isinstance(value, float | np.floating):
        text = f"{value:.6g}"
    elif isinstance(value, list | tuple | dict):
        text = json.dumps(value, default=str)
    else:
        text = "none" if value is None else str(value)
    return re.sub(r"\s+", " ", text.replace("|", "\\|"))
