"""What an exported file carries for a prediction: class names, preprocessing, how pictures are resized.

A SavedModel has it in `assets.extra/`, a LiteRT file in an archive at its end, as TensorFlow Lite packs files that
belong to a model (any program for zip files opens it), and an ONNX file in its metadata.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.errors import ArgumentError
from keras_resnets.export import integrity

if TYPE_CHECKING:
    from keras_resnets.export.inference import Inference

NAME, LABELS, EXTRA = "keras_resnets.json", "labels.txt", "assets.extra"
# The key of an ONNX file's metadata.
KEY = "keras_resnets"


@dataclass(frozen=True)
class Carried:
    """What a file says of its inputs and outputs.

    Attributes:
        network: the network's name.
        class_names: the names of the classes, in the order of the outputs; None if they are not known.
        preprocessing: of raw pixels, with how pictures are resized; None if it is not known.
        inside: whether the file takes raw pixels, and applies the preprocessing itself; it never resizes.
        end: the activation behind the outputs, as `keras_resnets.network.outputs.activation_at_end` names it.
    """

    network: str
    class_names: tuple[str, ...] | None
    preprocessing: Preprocessing | None
    inside: bool
    end: str | None

    @classmethod
    def of(cls, served: Inference) -> Carried:
        """Returns what a network's file is to carry."""
        from keras_resnets.network.outputs import activation_at_end

        model = served.model
        end = "softmax" if served.softmax else "linear" if served.cut else activation_at_end(model)
        return cls(
            model.name,
            getattr(model, "class_names", None),
            served.preprocessing or getattr(model, "preprocessing", None),
            served.preprocessing is not None,
            end,
        )

    @property
    def text(self) -> str:
        """The same as JSON."""
        preprocessing = self.preprocessing and {**self.preprocessing.to_dict(), "inside": self.inside}
        names = None if self.class_names is None else list(self.class_names)
        values = {"format": 1, "network": self.network, "class_names": names, "preprocessing": preprocessing}
        return json.dumps({**values, "ends_in": self.end}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Carried:
        """Inverse of `text`, of what was read as JSON; also of the report of an export, which early files had beside.

        Raises:
            ArgumentError: it is neither.
        """
        try:
            network, names, preprocessing = (values.get(name) for name in ("network", "class_names", "preprocessing"))
            return cls(
                str(network["name"] if isinstance(network, Mapping) else network),
                None if names is None else tuple(map(str, names)),
                Preprocessing.from_dict(preprocessing) if preprocessing else None,
                bool(preprocessing and preprocessing["inside"]),
                values.get("ends_in"),
            )
        except (ArgumentError, AttributeError, KeyError, TypeError) as error:
            raise ArgumentError(
                f"What the file carries of its classes and preprocessing cannot be read ({error})."
            ) from error

    @property
    def files(self) -> dict[str, str]:
        """The files that travel with a network, by name: all of it, and the class names, one a line."""
        labels = {} if self.class_names is None else {LABELS: "".join(f"{name}\n" for name in self.class_names)}
        return {NAME: self.text, **labels}


def into_folder(carried: Carried, path: Path) -> None:
    """Writes it into a SavedModel."""
    (path / EXTRA).mkdir(exist_ok=True)
    for name, text in carried.files.items():
        (path / EXTRA / name).write_text(text, encoding="utf-8")
    (path / EXTRA / integrity.FILE).write_text(f"{integrity.EMPTY}\n")


def into_litert(carried: Carried, path: Path) -> None:
    """Adds it to the end of a LiteRT file; interpreters read only what is before."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in carried.files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text.encode(), zipfile.ZIP_DEFLATED)
        archive.comment = integrity.EMPTY.encode()


def into_onnx(carried: Carried, model: Any) -> None:
    """Adds it to the metadata of an ONNX model."""
    for key, value in ((KEY, carried.text), (LABELS, carried.files.get(LABELS)), (integrity.FILE, integrity.EMPTY)):
        if value is not None:
            model.metadata_props.add(key=key, value=value)


def read(path: str | os.PathLike, text: str | None = None) -> Carried | None:
    """Returns what an exported file carries; what an early one has in the card beside it; None for any other file.

    Args:
        path: a SavedModel's folder, a LiteRT or an ONNX file.
        text: what was found in an ONNX file's metadata.

    Raises:
        ArgumentError: what is there cannot be read.
    """
    path = Path(path)
    if path.is_dir() and (path / EXTRA / NAME).is_file():
        text = (path / EXTRA / NAME).read_text(encoding="utf-8")
    elif path.suffix == ".tflite":
        with contextlib.suppress(zipfile.BadZipFile, KeyError), zipfile.ZipFile(path) as archive:
            text = archive.read(NAME).decode()
    card = path.with_name(f"{path.name}.card.json")
    if text is None and card.is_file():
        text = card.read_text(encoding="utf-8")
    try:
        return None if text is None else Carried.from_dict(json.loads(text))
    except ValueError as error:  # an ArgumentError, too
        raise ArgumentError(f"{str(path)!r}: {error}") from error
