"""`Study`: what an experiment found, as a table, a summary and a figure, on disk and back."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.errors import ArgumentError
from keras_resnets.runs import environment, whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass
class Study:
    """The outcome of one experiment.

    Attributes:
        name: the experiment, such as `"lesion"`; the module of that name draws its figure.
        rows: one row per measurement.
        summary: the numbers worth quoting, with what they were measured on.
    """

    name: str
    rows: pd.DataFrame
    summary: dict[str, Any]
    environment: dict[str, Any] = dataclasses.field(default_factory=environment)

    def figure(self) -> Figure:
        """Draws the figure; close it with `matplotlib.pyplot.close` or save it."""
        return importlib.import_module(f"keras_resnets.studies.{self.name}").draw(self)

    def save(self, folder: str | os.PathLike) -> list[Path]:
        """Writes the study and returns the files.

        `rows.csv`, `study.json` (summary, versions, command line), `figure.png`, `figure.svg`, and
        the figure with the rows' numbers as TensorBoard events under `logs`.

        Args:
            folder: where to; the files of an earlier study of the same name are replaced.
        """
        import matplotlib

        folder = Path(folder)
        with whole(folder / "rows.csv") as part:
            self.rows.to_csv(part, index=False)
        figure = self.figure()
        for suffix, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            with whole(folder / f"figure.{suffix}") as part, matplotlib.rc_context({"svg.hashsalt": self.name}):
                figure.savefig(part, format=suffix, **options)
        self._write_events(folder / "logs", figure)
        with whole(folder / "study.json") as part:
            content = {"study": self.name, "summary": self.summary, "environment": self.environment}
            part.write_text(json.dumps(content, indent=1) + "\n")
        return [folder / name for name in ("rows.csv", "study.json", "figure.png", "figure.svg", "logs")]

    def _write_events(self, logs: Path, figure) -> None:
        import io

        import numpy as np
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        for old in logs.glob("events.*"):
            old.unlink()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels, png = np.asarray(canvas.buffer_rgba()), io.BytesIO()
        Image.fromarray(pixels).convert("RGB").save(png, "png")
        height, width = pixels.shape[:2]
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png.getvalue())
        writer = EventFileWriter(str(logs))
        summary = Summary(value=[Summary.Value(tag=f"{self.name}/figure", image=image)])
        writer.add_event(Event(summary=summary, step=0))
        for column in self.rows.select_dtypes("float").columns:
            for step, value in enumerate(self.rows[column]):
                scalar = Summary.Value(tag=f"{self.name}/{column}", simple_value=float(value))
                writer.add_event(Event(summary=Summary(value=[scalar]), step=step))
        writer.close()

    @staticmethod
    def load(folder: str | os.PathLike) -> Study:
        """Reads a study back.

        Raises:
            ArgumentError: the folder holds none.
        """
        import pandas as pd

        folder = Path(folder)
        try:
            content = json.loads((folder / "study.json").read_text())
            rows = pd.read_csv(folder / "rows.csv", float_precision="round_trip")
            return Study(content["study"], rows, content["summary"], content["environment"])
        except (OSError, KeyError, ValueError) as error:
            raise ArgumentError(
                f"There is no study in {str(folder)!r}; give a folder that Study.save wrote."
            ) from error


def describe(study: Study) -> str:
    """What a study found, in a few lines of text."""
    return importlib.import_module(f"keras_resnets.studies.{study.name}").describe(study)
