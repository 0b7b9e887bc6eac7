"""Exports a network to a file, compares the file in its own runtime with the network, and writes a card."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnets import runs
from keras_resnets.data.batches import batches
from keras_resnets.data.needs import for_network
from keras_resnets.data.passes import mapped
from keras_resnets.errors import ArgumentError, one_of, whole_number
from keras_resnets.explaining import explained
from keras_resnets.export import inspection, integrity, report_fields
from keras_resnets.export.cards import card_path, markdown
from keras_resnets.export.comparison import Comparison
from keras_resnets.export.formats import FORMATS, SAVED_MODEL, Format, Opened, check_place, check_tensorflow
from keras_resnets.export.inference import Inference, inference
from keras_resnets.export.quantization import sensitivity
from keras_resnets.export.representative import Representative, inputs
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.outputs import answer_one_class

KINDS = {"float32": "litert", "float16": "litert-fp16", "dynamic": "litert-dynamic", "int8": "litert-int8"}


@explained
def write(
    model: keras.Model, path: str | os.PathLike, form: str, examples: np.ndarray | None = None, **options: Any
) -> dict[str, Any]:
    """Writes a file of any format, runs it in its own runtime and compares it with the network.

    Args:
        model: as for `saved_model`.
        path: the file or folder to write; an existing one is replaced.
        form: a name of `keras_resnets.export.formats.FORMATS`, such as `"litert-int8"`.
        examples: as for `saved_model`.
        **options: `data`, `preprocessing`, `output` and `calls` as for `saved_model`; with `"litert-int8"` also
            `representative` and `seed` as for `litert`.

    Returns:
        The report, as of `saved_model`.

    Raises:
        ArgumentError: an argument breaks its rule.
        RuntimeError: the file's outputs differ from the network's by more than the format allows; nothing is kept.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> report = kr.export.write(kr.build("resnet8"), tempfile.mkdtemp() + "/net.tflite", "litert-fp16", calls=0)
        >>> report["format"]
        'litert-fp16'
    """
    one_of("form", form, FORMATS)
    known = {"data", "preprocessing", "output", "calls"}
    known |= {"representative", "seed"} if FORMATS[form].calibrated else set()
    for name in options.keys() - known:
        raise ArgumentError(f"{name} is no option of {form!r}; its options are {', '.join(sorted(known))}.")
    return _export(form, model, path, examples, **options)


@explained
def saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    examples: np.ndarray | None = None,
    *,
    data=None,
    preprocessing: bool = False,
    output: str = "model",
    calls: int = 50,
) -> dict[str, Any]:
    """Writes a TensorFlow SavedModel, loads it and compares it with the network.

    The SavedModel takes batches of any size, at the signature `serve` (and `serving_default`, whose input is named
    `inputs`, or `pixels` with preprocessing, and whose output `output_0`), and runs wherever TensorFlow does, without
    Keras or this package. A network of another precision is written in float32. From a path policy, the scales are
    exported, but no gates. Where it is known how pictures are resized, the signatures `serving_pictures` and
    `serving_files` take them in any size (`keras_resnets.export.serving`).

    A card is written next to it as JSON and as Markdown: `PATH.card.json` and `PATH.card.md`.

    Args:
        model: the network, any Keras model with one input and one output.
        path: the folder to write; replaced if it is already a SavedModel.
        examples: inputs to compare on, as the file takes them; None takes those of `data`, or 32 seeded random inputs:
            from a standard normal distribution or, with preprocessing, whole numbers from 0 to 255.
        data: labelled data for the accuracy before and after: `(x, y)` arrays, batched `tf.data`, or what
            `keras_resnets.data.load` returns, of which the test split is used, as raw pixels if the file takes those.
        preprocessing: whether the file takes raw pixels, as float32, and applies `model.preprocessing`.
        output: `"model"`, the network's output; `"logits"` or `"probabilities"`, without or with a softmax at its end.
        calls: measured calls of the latency, of one example each; 0 measures none.

    Returns:
        The report, as in the card: `path`, `format`, `bytes`, `network`, `input`, `output`, `preprocessing`,
        `class_names`, `ends_in` (the activation behind the output), `signatures`, `examples` and `compared_on`,
        `max_difference` of the outputs, `relative_difference` (its share of the largest output), `agreement` of the
        classes, `own_precision` (the same compared with the network in its own precision), `accuracy`, `latency`
        (seconds), `operators`, `environment`.

    Raises:
        ArgumentError: an argument breaks its rule, or the folder is something else than a SavedModel.
        RuntimeError: the file's outputs differ from the network's (by more than 1e-5, or by that share of the largest
            output); nothing is kept then.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> report = kr.export.saved_model(kr.build("resnet8"), tempfile.mkdtemp() + "/net", calls=0)
        >>> report["max_difference"] < 1e-5
        True
    """
    options = {"data": data, "preprocessing": preprocessing, "output": output, "calls": calls}
    return _export("saved_model", model, path, examples, **options)


@explained
def litert(
    model: keras.Model,
    path: str | os.PathLike,
    kind: str = "float32",
    representative: Representative = None,
    examples: np.ndarray | None = None,
    *,
    data=None,
    preprocessing: bool = False,
    output: str = "model",
    calls: int = 50,
    seed: int = 0,
) -> dict[str, Any]:
    """Writes a LiteRT (TensorFlow Lite) file, runs it in its interpreter and compares it with the network.

    Batch-norm behind a convolution is folded into it, and the file uses only the runtime's built-in operations, none of
    them conditional. It takes batches of any size after its input is resized.

    Args:
        model: as for `saved_model`.
        path: the file to write, ending in `.tflite`; an existing file is replaced.
        kind: `"float32"`; `"float16"`, weights in half precision; `"dynamic"`, weights in 8 bits, computed with inputs
            that are quantized to 8 bits at run time; `"int8"`, everything in 8-bit integers, including input and output
            (with the scale and zero point that the card gives).
        representative: inputs that calibrate the ranges for `"int8"`, as the file takes them, without the batch axis:
            an array or a list; a generator of batches, or a function that returns one, as TensorFlow Lite takes it;
            `tf.data`, batched or not, of which the first 200 are taken; or what `keras_resnets.data.load` gives. None
            draws 200 from the training split of `data`.
        examples: as for `saved_model`.
        data: as for `saved_model`.
        preprocessing: as for `saved_model`.
        output: as for `saved_model`.
        calls: as for `saved_model`.
        seed: of the draw of representative inputs.

    Returns:
        The report, as of `saved_model`, with `checks`: `unfolded` products and additions behind convolutions,
        `additions` by type, and how many computed tensors are `floats`. If `"int8"` costs a classifier that is a
        `ResidualNetwork` more than a point of accuracy (of agreement without labels), `sensitivity` holds the cost of
        each block.

    Raises:
        ArgumentError: an argument breaks its rule, or `"int8"` has no inputs to take its ranges from.
        RuntimeError: the file's outputs differ from the network's (float32: by more than 1e-4; float16: by more than
            1e-2; as for `saved_model`), or it has operations that are not allowed; nothing is kept.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> data = kr.data.load("digits")
        >>> model = kr.build("resnet8", data.input_shape)
        >>> report = kr.export.litert(model, tempfile.mkdtemp() + "/net.tflite", "int8", data=data.first(50), calls=0)
        >>> report["checks"]["additions"]
        {'int8 + int8 -> int8': 3}
    """
    one_of("kind", kind, KINDS)
    if representative is not None and kind != "int8":
        raise ArgumentError(f"representative is for kind='int8'; leave it out for {kind!r}.")
    options = {"data": data, "preprocessing": preprocessing, "output": output, "calls": calls}
    return _export(KINDS[kind], model, path, examples, representative, seed=seed, **options)


@explained
def onnx(
    model: keras.Model,
    path: str | os.PathLike,
    examples: np.ndarray | None = None,
    *,
    data=None,
    preprocessing: bool = False,
    output: str = "model",
    calls: int = 50,
) -> dict[str, Any]:
    """Writes an ONNX file, runs it in ONNX Runtime and compares it with the network.

    Its input `inputs` (`pixels` with preprocessing) takes batches of any size, channels last; its output is `outputs`.
    Batch-norm behind a convolution of more than one pixel is folded into it.

    Args:
        model: as for `saved_model`.
        path: the file to write, ending in `.onnx`; an existing file is replaced.
        examples: as for `saved_model`.
        data: as for `saved_model`.
        preprocessing: as for `saved_model`.
        output: as for `saved_model`.
        calls: as for `saved_model`.

    Returns:
        The report, as of `saved_model`.

    Raises:
        ArgumentError: an argument breaks its rule.
        ImportError: the extra `onnx` is not installed.
        RuntimeError: the file's outputs differ from the network's (by more than 1e-4; as for `saved_model`); nothing is
            kept.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> try:
        ...     kr.export.onnx(kr.build("resnet8"), tempfile.mkdtemp() + "/net.onnx", calls=0)["max_difference"] < 1e-4
        ... except ImportError:
        ...     True
        True
    """
    options = {"data": data, "preprocessing": preprocessing, "output": output, "calls": calls}
    return _export("onnx", model, path, examples, **options)


def _export(
    name: str,
    model: keras.Model,
    path: str | os.PathLike,
    examples: np.ndarray | None,
    representative: Representative = None,
    *,
    data=None,
    preprocessing: bool = False,
    output: str = "model",
    calls: int = 50,
    seed: int = 0,
) -> dict[str, Any]:
    """Writes one format, compares it and writes the card; see `saved_model`, `litert` and `onnx`."""
    # Check the arguments, and collect the inputs, before any work is done.
    file_format, path = FORMATS[name], Path(path)
    whole_number("calls", calls, 0)
    check_tensorflow()
    check_place(name, path)
    served = inference(model, preprocessing, output)
    data = _as_taken(data, model, preprocessing)
    representative = _as_taken(representative, model, preprocessing)
    calibration: Sequence[np.ndarray] | np.ndarray = ()
    if file_format.calibrated:
        calibration = inputs(served.input[1], representative, data, seed=seed)
    compared, compared_on = _inputs_to_compare(served, examples, data)
    first = _first_input(served, compared)

    # Write the file, and keep it only if it computes what the network does.
    with runs.whole(path, own=None if file_format.suffix else SAVED_MODEL) as part:
        file_format.write(served, part, calibration)
        integrity.seal(part)
        opened = file_format.open(part)
        _check_operators(path, opened, name)
        comparison = Comparison(served, opened.run)
        comparison.add(compared)
        _check_outputs(name, file_format, served, comparison)
        accuracy = comparison.accuracy if examples is None else _accuracy(served, opened, data)
        report: dict[str, Any] = {
            "path": str(path),
            "format": name,
            "bytes": report_fields.size(part),
            "network": report_fields.network(served),
            **report_fields.ends(served, opened, comparison, output),
            "preprocessing": report_fields.preprocessing(served),
            **report_fields.classes(served, opened),
            "examples": comparison.examples,
            "compared_on": compared_on,
            **comparison.summary,
            "accuracy": accuracy,
            "latency": report_fields.latency(served, opened, first, calls) if calls else None,
            "operators": opened.operators,
            "checks": opened.facts.get("checks"),
            "sensitivity": None,
            "training": report_fields.training(served),
            "environment": runs.environment(*file_format.packages),
        }

    # If 8 bits cost more than a point, measure which blocks cost it.
    lost = accuracy["lost"] if accuracy else 1 - (report["agreement"] or 0)
    if file_format.calibrated and lost > 0.01 and _classifies(model):
        prepared = _prepare(served, data if accuracy else compared)
        rows = sensitivity(model, prepared, [served.prepared(np.asarray(x)) for x in calibration])
        report["sensitivity"] = rows.to_dict("records")

    # Write the card.
    runs.write_json(card_path(path, "json"), report)
    with runs.whole(card_path(path, "md")) as part:
        part.write_text(markdown(report))
    return report


def _classifies(model: keras.Model) -> bool:
    """Returns whether the cost of 8 bits can be measured block by block."""
    return isinstance(model, ResidualNetwork) and len(model.output_shape) == 2 and answer_one_class(model)


def _as_taken(data, model: keras.Model, preprocessing: bool):
    """Returns what is given as the file takes it: raw pixels if preprocessing is inside, else as the network does."""
    return data.raw if preprocessing and hasattr(data, "raw") else for_network(data, model)


def _inputs_to_compare(served: Inference, examples, data) -> tuple[Any, str]:
    """Returns the data to compare on, and its description."""
    if examples is not None:
        return (np.asarray(examples), None), "the examples given"
    if data is not None:
        name = getattr(data, "name", None)
        return data, f"the test split of {name}" if name else "the data given"
    rng = np.random.default_rng(0)
    shape = (32, *(side or 64 for side in served.input[1]))
    if served.preprocessing is not None or "int" in served.input[2]:
        return (rng.integers(0, 256, shape).astype("float32"), None), "whole numbers from 0 to 255, drawn"
    return (rng.normal(size=shape).astype("float32"), None), "a standard normal distribution, drawn"


def _first_input(served: Inference, compared) -> np.ndarray:
    """Returns the first of the inputs to compare on, a batch of one, after checking its shape."""
    return next(batches(compared, 1, shape=served.input[1], argument="examples, or data,"))[0]


def _check_operators(path: Path, opened: Opened, name: str) -> None:
    """Raises `RuntimeError` if a file has operations that it must not have."""
    forbidden = inspection.forbidden(opened.operators)
    if forbidden:
        raise RuntimeError(
            f"{path.name!r} would need {', '.join(forbidden)}, which not every runtime has; it was not kept."
        )
    if name == "litert-int8" and opened.facts["checks"]["floats"]:
        raise RuntimeError(
            f"{path.name!r} would compute {opened.facts['checks']['floats']} tensors in floating point; it was not "
            f"kept."
        )


def _check_outputs(name: str, file_format: Format, served: Inference, comparison: Comparison) -> None:
    """Raises `RuntimeError` if a file's outputs differ from the network's by more than its tolerance."""
    summary, largest = comparison.summary, max(1.0, comparison.largest)
    differences = [(summary["max_difference"], file_format.tolerance or np.inf)]
    if summary["own_precision"] and served.precision == "float32":  # copied only to change its output activation
        differences.append((summary["own_precision"]["max_difference"], 1e-5))
    for difference, tolerance in differences:
        if not (np.isfinite(difference) and difference <= tolerance * largest):
            raise RuntimeError(
                f"The {name} file of {served.model.name!r} differs from it by {difference:.2g}, where its outputs "
                f"reach {comparison.largest:.2g}; it was not kept."
            )


def _accuracy(served: Inference, opened: Opened, data) -> dict[str, Any] | None:
    """Returns the quality on labelled data before and after; None without data."""
    if data is None:
        return None
    comparison = Comparison(served, opened.run)
    comparison.add(data)
    return comparison.accuracy


def _prepare(served: Inference, data):
    """Returns the data as the network takes them."""
    preprocessing = served.preprocessing
    if preprocessing is None:
        return data
    if isinstance(data, tuple):
        return served.prepared(np.asarray(data[0])), data[1]
    return mapped(getattr(data, "test", data), preprocessing)
