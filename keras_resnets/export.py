"""Networks as files that run without this package, compared with the network they came from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnets.errors import ArgumentError
from keras_resnets.runs import whole


def saved_model(model: keras.Model, path: str | os.PathLike, examples: np.ndarray | None = None) -> dict[str, Any]:
    """Writes a TensorFlow SavedModel, loads it again and compares it with the network.

    The file takes batches of any size, at the signature `serve` (and `serving_default`), and runs
    wherever TensorFlow does, without Keras or this package.

    Args:
        model: the network.
        path: the folder to write; replaced when it is a SavedModel already.
        examples: inputs to compare on; None draws 32 from a standard normal distribution, seeded.

    Returns:
        A report: `path`, `format`, `bytes`, `examples`, `max_difference` of the outputs,
        `agreement` of the classes.

    Raises:
        ArgumentError: the folder holds something else.
        RuntimeError: what was written does not compute what the network does (differs by more
            than 1e-4); nothing is kept then.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> report = kr.export.saved_model(kr.build("resnet8"), tempfile.mkdtemp() + "/net")
        >>> report["max_difference"] < 1e-4
        True
    """
    import tensorflow as tf

    path = Path(path)
    if path.exists() and not (path / "saved_model.pb").is_file():
        raise ArgumentError(f"path: {str(path)!r} exists and is no SavedModel; give a new folder.")
    examples = _examples(model) if examples is None else np.asarray(examples)
    report: dict[str, Any]
    with whole(path) as part:
        _write_saved_model(model, part)
        loaded = tf.saved_model.load(str(part))
        written = loaded.serve(tf.cast(examples, model.input_dtype)).numpy()
        report = _compare(model.predict(examples, verbose=0), written)
        report = {"path": str(path), "format": "saved_model", "bytes": _size(part), "examples": len(examples), **report}
        if not report["max_difference"] <= 1e-4:
            raise RuntimeError(
                f"The SavedModel of {model.name!r} differs from it by {report['max_difference']:.2g}; it was not kept."
            )
    return report


def describe(report: dict[str, Any]) -> str:
    """One line about what was written and how it agrees."""
    return (
        f"{report['path']}: {report['bytes'] / 1e6:.1f} MB, largest difference of an output "
        f"{report['max_difference']:.1e}, same class for {report['agreement']:.1%} of {report['examples']} examples"
    )


def _write_saved_model(model: keras.Model, path: Path) -> None:
    """Writes what serving needs: one function and its variables.

    `keras.Model.export` stores every layer object besides, which for a network of 110 layers takes
    more than twice the time and the space.
    """
    import tensorflow as tf

    archive = tf.__internal__.tracking.AutoTrackable()
    archive.trainable_variables = [v.value for v in model.trainable_variables]
    archive.non_trainable_variables = [v.value for v in model.non_trainable_variables]
    archive.variables = archive.trainable_variables + archive.non_trainable_variables
    spec = tf.TensorSpec((None, *model.input_shape[1:]), model.input_dtype, name="inputs")
    archive.serve = tf.function(lambda inputs: model(inputs, training=False), input_signature=[spec], autograph=False)
    tf.saved_model.save(archive, str(path), signatures={"serving_default": archive.serve})


def _examples(model: keras.Model) -> np.ndarray:
    shape = [size or 64 for size in model.input_shape[1:]]
    return np.random.default_rng(0).normal(size=(32, *shape)).astype("float32")


def _compare(expected: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    return {
        "max_difference": float(np.abs(expected - found).max()),
        "agreement": float((expected.argmax(-1) == found.argmax(-1)).mean()),
    }


def _size(path: Path) -> int:
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )
