"""Networks of a comparison: their names, their answers, and whether they were measured on the same images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnets.data.batches import DataFingerprint, batches
from keras_resnets.errors import ArgumentError
from keras_resnets.studies.answers import Answers, PixelAnswers, Source, Subject, answers_of, batches_of, opened


@dataclass(frozen=True)
class Measured:
    """A network with its answers.

    Attributes:
        subject: the network and its examples.
        answers: its answers.
        images: the fingerprint of the raw examples.
        source: what images of another size are known by: set, split, number and labels; None if they are not.
        folder: the run directory; None if it comes from none.
    """

    subject: Subject
    answers: Answers | PixelAnswers
    images: str
    source: str | None
    folder: Path | None

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was asked for."""
        return (self.subject.record or {}).get("asked") or {}

    def on_the_same(self, other: Measured) -> bool:
        """Whether both were measured on the same images, which may be of other sizes."""
        return self.images == other.images or (self.source is not None and self.source == other.source)


def names_of(runs: Sequence[Source] | Mapping[str, Source], argument: str = "runs") -> dict[str, Source]:
    """Returns the networks by name: that of a model, or the end of a path that tells it from the others."""
    if isinstance(runs, str | os.PathLike | keras.Model):
        raise ArgumentError(f"{argument} must be two or more networks; got {runs!r} alone.")
    if isinstance(runs, Mapping):
        named = {str(name): source for name, source in runs.items()}
    else:
        sources = list(runs)
        paths = [None if isinstance(source, keras.Model) else Path(source).absolute() for source in sources]
        for i, path in enumerate(paths):
            if path is not None and path in paths[:i]:
                raise ArgumentError(f"{argument} must be different ones; got {str(path)!r} twice.")
        names = [source.name if isinstance(source, keras.Model) else _short(Path(source)) for source in sources]
        for depth in range(2, 8):  # more of the paths, until they differ
            names = [
                "/".join(path.parts[-depth:]) if path is not None and names.count(name) > 1 else name
                for name, path in zip(names, paths, strict=True)
            ]
        named = {}
        for name, source in zip(names, sources, strict=True):
            number = sum(known == name or known.startswith(f"{name} (") for known in named)
            named[f"{name} ({number + 1})" if number else name] = source
    if len(named) < 2:
        raise ArgumentError(f"{argument} must be two or more networks; got {len(named)}.")
    return named


def _short(path: Path) -> str:
    """Returns the name of a run, which is also that of its network's file."""
    return path.parent.name if path.name in ("model.keras", "best.keras") and path.parent.name else path.name


def measure(named: dict[str, Source], data, split: str, match: str, verbose: bool, where) -> list[Measured]:
    """Opens all networks, so that what is wrong is said first, and runs them."""
    subjects = [opened(source, data, split=split, match=match, name=name, **where) for name, source in named.items()]
    kinds = {subject.segments for subject in subjects}
    if len(kinds) > 1:
        pixels = next(subject.name for subject in subjects if subject.segments)
        raise ArgumentError(
            f"runs must all answer for images, or all for pixels; {pixels!r} answers for pixels, and others do not."
        )
    known: dict[str, str] = {}
    measured = []
    for subject, source in zip(subjects, named.values(), strict=True):
        answers = answers_of(subject, verbose)
        folder = Path(source) if isinstance(source, str | os.PathLike) and Path(source).is_dir() else None
        measured.append(Measured(subject, answers, images_of(subject, answers, known), origin_of(subject), folder))
    return measured


def images_of(subject: Subject, answers: Answers | PixelAnswers, known: dict[str, str]) -> str:
    """Returns the fingerprint of the raw images and labels; runs may normalise the same images differently."""
    if subject.data is None:
        return answers.facts["data_fingerprint"]
    data = subject.data
    options = {key: value for key, value in data.options.items() if key not in ("seed", "augmentation", "normalize")}
    key = json.dumps([data.name, options, subject.split, sorted(data.sizes.items()), id(data._splits)], default=str)
    if key not in known:
        images = DataFingerprint()
        for x, y in batches(batches_of(data.raw, subject.split)):
            images.add(x, y)
        known[key] = images.text
    return known[key]


def origin_of(subject: Subject) -> str | None:
    """Returns what tells whether images that differ in size are the same: the set, the split and all labels."""
    data = subject.data
    if data is None or not data.is_named:
        return None
    place = str(Path(data.name).absolute()) if Path(data.name).exists() else data.name
    labels = DataFingerprint()
    for _, y in batches_of(data, subject.split):
        labels.add(np.asarray(y), None)
    held_out = None if subject.split in ("test", "all") else data.options["validation"]
    return json.dumps([place, data.options["data_dir"], subject.split, held_out, labels.text], default=str)
