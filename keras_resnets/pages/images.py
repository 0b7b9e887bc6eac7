"""Sample images of an evaluated run with the network's answers, right and wrong, where its data are there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_resnets.errors import ArgumentError
from keras_resnets.pages.parts import Picture, Section, address
from keras_resnets.pages.reading import Found
from keras_resnets.studies.answers import batches_of
from keras_resnets.training.feeding import data_of

if TYPE_CHECKING:
    import pandas as pd

# How many images of each kind, from the first of the split: so many are read at most.
SHOWN, FIRST = 12, 2000
# Smaller images are enlarged by the page, larger ones made smaller here.
_SIDE = 128


def samples(run: Found, study: Found) -> Section | None:
    """Returns a section with images answered wrongly, the surest first, and rightly; None where there is no table.

    Args:
        run: the run directory, which names its data.
        study: an evaluation in it, of these data.

    Raises:
        ArgumentError: the data are not there, or other ones than were evaluated.
    """
    import pandas as pd

    assert study.study is not None
    summary, tables = study.study.summary, study.study.tables
    # A folder that was named relatively has its full path in what evaluates it; what it holds is compared below.
    places = [Path(str(place)).name for place in (summary.get("data"), run.asked.get("data", {}).get("name"))]
    if "examples" not in tables or places[0] != places[1]:
        return None
    if summary["split"] not in ("test", "validation", "train"):
        return None
    answers = tables["examples"].head(FIRST)
    right = answers["label"] == answers["answer"]
    wrong = answers[~right].sort_values("confidence", ascending=False, kind="stable").head(SHOWN)
    # Of the right ones, one of each class first.
    order = answers[right].groupby("label").cumcount().sort_values(kind="stable").index[:SHOWN]
    chosen = pd.concat([wrong, answers.loc[order]])
    read, white = _read(run, summary["split"], chosen)
    names = [str(name) for name in study.study.rows["name"]]

    section = Section("Sample images")
    section.lead = (
        f"From the first {len(answers):,} images of the split {summary['split']!r}: those answered wrongly with the "
        f"most confidence, then some that are answered rightly, one of each class first."
    )
    for row in chosen.itertuples(index=False):
        is_right = row.label == row.answer
        truth, said = names[row.label], names[row.answer]
        words = (
            f"{said}, {100 * row.confidence:.0f}\u00a0%"
            if is_right
            else f"{said}, {100 * row.confidence:.0f}\u00a0%; it is {truth}"
        )
        caption = f"{'✓ right' if is_right else '✗ wrong'}: {words}"
        alt = f"Example {row.example} of class {truth}, answered {'rightly' if is_right else 'wrongly'} as {said}"
        section.images.append(Picture(_png(read[row.example], white), alt, caption))
    return section


def _read(run: Found, split: str, chosen: pd.DataFrame) -> tuple[dict[int, np.ndarray], float]:
    """Returns the raw images of the examples by their numbers, and the value of white."""
    data = data_of(run.path)
    preprocessing = data.preprocessing
    white = preprocessing.white if preprocessing is not None else None
    wanted = dict(zip(chosen["example"], chosen["label"], strict=True))
    images: dict[int, np.ndarray] = {}
    first = 0
    for x, y in batches_of(data.raw, split):
        x, y = np.asarray(x), np.asarray(y)
        for number in [number for number in wanted if first <= number < first + len(x)]:
            if int(y[number - first]) != wanted[number]:
                raise ArgumentError(
                    f"There are no sample images: example {number} of {data.name!r} has another label now than when it "
                    f"was evaluated."
                )
            images[number] = x[number - first]
        first += len(x)
        if len(images) == len(wanted):
            break
    if len(images) < len(wanted):
        raise ArgumentError(
            f"There are no sample images: {data.name!r} has less images now than when it was evaluated."
        )
    return images, white or max(float(image.max()) for image in images.values()) or 1.0


def _png(image: np.ndarray, white: float) -> str:
    """Returns an image of (height, width, channels) as an address that holds a PNG."""
    from PIL import Image

    pixels = np.clip(255 * image.astype("float64") / white, 0, 255).round().astype("uint8")
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] != 3 else pixels)
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "png")
    return address(file.getvalue(), "image/png")
