"""Writes a network, opens what was written in its own runtime, compares the two, and says so on a card."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnets import runs
from keras_resnets.data.batches import batches
from keras_resnets.errors import ArgumentError, one_of, whole_number
from keras_resnets.export import contents as files
from keras_resnets.export import reports
from keras_resnets.export.cards import beside, markdown
from keras_resnets.export.comparison import Comparison
from keras_resnets.export.formats import FORMATS, Format, Opened
from keras_resnets.export.inference import Inference, inference
from keras_resnets.export.representative import inputs
from keras_resnets.export.sensitivity import sensitivity
from keras_resnets.network.chain import ResidualNetwork

KINDS = {"float32": "litert", "float16": "litert-fp16", "dynamic": "litert-dynamic", "int8": "litert-int8"}


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
    """Writes a TensorFlow SavedModel, loads it again and compares it with the network.

    The file takes batches of any size, at the signature `serve` (and `serving_default`, whose input is called `inputs`,
    or `pixels` with preprocessing, and whose output `output_0`), and runs wherever TensorFlow does, without Keras or
    this package. A network of another precision is written in float32; a path policy leaves its scales, and no gates.

    Beside it, a card is written as JSON and as Markdown: `PATH.card.json` and `PATH.card.md`.

    Args:
        model: the network, any Keras model with one input and one output.
        path: the folder to write; replaced when it is a SavedModel already.
        examples: inputs to compare on, as the file takes them; None takes those of `data`, or 32 drawn, seeded: from a
            standard normal distribution or, with preprocessing, whole numbers from 0 to 255.
        data: what the accuracy is measured on, before and after: `(x, y)` arrays, batched `tf.data`, or what
            `keras_resnets.data.load` gives, of which the test split is taken, as raw pixels where the file takes those.
        preprocessing: whether the file takes raw pixels, as float32, and does what `model.preprocessing` says.
        output: `"model"`, what the network gives; `"logits"` or `"probabilities"`, without or with a softmax at its
            end.
        calls: measured calls of the latency, of one example each; 0 measures none.

    Returns:
        The report that the card holds: `path`, `format`, `bytes`, `network`, `input`, `output`, `preprocessing`,
        `examples` and `compared_on`, `max_difference` of the outputs, `relative_difference` (its share of the largest
        output), `agreement` of the classes, `own_precision` (the same beside the network in the precision that it has),
        `accuracy`, `latency` (seconds), `operators`, `environment`.

    Raises:
        ArgumentError: an argument breaks its rule, or the folder holds something else.
        RuntimeError: what was written does not compute what the network does (differs by more than 1e-5, or by that
            share of the largest output); nothing is kept then.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> report = kr.export.saved_model(kr.build("resnet8"), tempfile.mkdtemp() + "/net", calls=0)
        >>> report["max_difference"] < 1e-5
        True
    """
    how = {"data": data, "preprocessing": preprocessing, "output": output, "calls": calls}
    return _export("saved_model", model, path, examples, **how)


def litert(
    model: keras.Model,
    path: str | os.PathLike,
    kind: str = "float32",
    representative: Sequence[np.ndarray] | np.ndarray | None = None,
    examples: np.ndarray | None = None,
    *,
    data=None,
    preprocessing: bool = False,
    output: str = "model",
    calls: int = 50,
    seed: int = 0,
) -> dict[str, Any]:
    """Writes a LiteRT (TensorFlow Lite) file, runs it in its interpreter and compares it with the network.

    Batch-norm behind a convolution is folded into it, and nothing but the runtime's own operations is used, none of
    them conditional. The file takes batches of any size, once its input is resized.

    Args:
        model: as for `saved_model`.
        path: the file to write, ending in `.tflite`; replaced when it is there.
        kind: `"float32"`; `"float16"`, weights of half precision; `"dynamic"`, weights of 8 bits, computed with inputs
            that are brought to 8 bits as they come; `"int8"`, all of it in whole numbers of 8 bits, input and output,
            too (by the scale and zero point that the card gives).
        representative: inputs from which `"int8"` takes the ranges of what is computed, as the file takes them,
            without the batch; None draws 200 of the training split of `data`.
        examples: as for `saved_model`.
        data: as for `saved_model`.
        preprocessing: as for `saved_model`.
        output: as for `saved_model`.
        calls: as for `saved_model`.
        seed: of the draw of representative inputs.

    Returns:
        The report, as of `saved_model`, with `checks`: `unfolded` products and additions behind convolutions,
        `additions` by type, and how many computed tensors are `floats`. Where `"int8"` costs a classifier that is a
        `ResidualNetwork` more than a point of accuracy, or without labels of agreement, `sensitivity` says what each
        block costs.

    Raises:
        ArgumentError: an argument breaks its rule, or `"int8"` has nothing to take its ranges from.
        RuntimeError: what was written does not compute what the network does (float32: differs by more than 1e-4;
            float16: by more than 1e-2; as for `saved_model`), or holds operations that it must not; nothing is kept.

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
    how = {"data": data, "preprocessing": preprocessing, "output": output, "calls": calls}
    return _export(KINDS[kind], model, path, examples, representative, seed=seed, **how)


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

    It takes batches of any size, channels last, at `inputs` (`pixels` with preprocessing), and answers at `outputs`.
    Batch-norm behind a convolution of more than one pixel is folded into it.

    Args:
        model: as for `saved_model`.
        path: the file to write, ending in `.onnx`; replaced when it is there.
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
        RuntimeError: what was written does not compute what the network does (differs by more than 1e-4; as for
            `saved_model`); nothing is kept.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> try:
        ...     kr.export.onnx(kr.build("resnet8"), tempfile.mkdtemp() + "/net.onnx", calls=0)["max_difference"] < 1e-4
        ... except ImportError:
        ...     True
        True
    """
    how = {"data": data, "preprocessing": preprocessing, "output": output, "calls": calls}
    return _export("onnx", model, path, examples, **how)


def _export(
    name: str,
    model: keras.Model,
    path: str | os.PathLike,
    examples: np.ndarray | None,
    representative: Sequence[np.ndarray] | np.ndarray | None = None,
    *,
    data,
    preprocessing: bool,
    output: str,
    calls: int,
    seed: int = 0,
) -> dict[str, Any]:
    form, path = FORMATS[name], Path(path)
    _check(name, form, path, calls)
    served = inference(model, preprocessing, output)
    data = data.raw if preprocessing and hasattr(data, "raw") else data
    ranges: Sequence[np.ndarray] | np.ndarray = ()
    if name == "litert-int8":
        ranges = inputs(served.input[1], representative, data, seed=seed)
    compared, told = _compared(served, examples, data)
    first = _first(served, compared)
    with runs.whole(path) as part:
        form.write(served, part, ranges)
        opened = form.open(part)
        _refuse(path, opened, name)
        found = Comparison(served, opened.run)
        found.add(compared)
        _refuse_other(name, form, served, found)
        accuracy = found.accuracy if examples is None else _accuracy(served, opened, data)
        report: dict[str, Any] = {
            "path": str(path),
            "format": name,
            "bytes": reports.size(part),
            "network": reports.network(served),
            **reports.ends(served, opened, found, output),
            "preprocessing": reports.preprocessing(served),
            "examples": found.examples,
            "compared_on": told,
            **found.summary,
            "accuracy": accuracy,
            "latency": reports.latency(served, opened, first, calls) if calls else None,
            "operators": opened.operators,
            "checks": opened.facts.get("checks"),
            "sensitivity": None,
            "environment": runs.environment(*form.packages),
        }
    lost = accuracy["lost"] if accuracy else 1 - report["agreement"]
    if name == "litert-int8" and lost > 0.01 and isinstance(model, ResidualNetwork) and len(model.output_shape) == 2:
        measured = _prepared(served, data if accuracy else compared)
        rows = sensitivity(model, measured, [served.prepared(np.asarray(x)) for x in ranges])
        report["sensitivity"] = rows.to_dict("records")
    runs.write_json(beside(path, "json"), report)
    with runs.whole(beside(path, "md")) as part:
        part.write_text(markdown(report))
    return report


def _check(name: str, form: Format, path: Path, calls: int) -> None:
    whole_number("calls", calls, 0)
    if form.missing:
        raise ImportError(
            f"To write ONNX, {', '.join(form.missing)} must be installed: pip install 'keras_resnets[onnx]'."
        )
    if form.suffix is None:
        if path.exists() and not (path / "saved_model.pb").is_file():
            raise ArgumentError(f"path: {str(path)!r} exists and is no SavedModel; give a new folder.")
        return
    if path.suffix != form.suffix:
        raise ArgumentError(f"path must end in {form.suffix} for {name}; got {str(path)!r}.")
    if path.is_dir():
        raise ArgumentError(f"path: {str(path)!r} is a folder; give a file.")


def _compared(served: Inference, examples, data) -> tuple[Any, str]:
    """What is compared on, and what it is called."""
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


def _first(served: Inference, compared) -> np.ndarray:
    """The first of the inputs compared on, a batch of one; in case that it does not fit, before work is done."""
    first, shape = np.asarray(next(batches(compared, 1))[0]), served.input[1]
    if first.ndim != len(shape) + 1 or any(
        want not in (None, have) for want, have in zip(shape, first.shape[1:], strict=True)
    ):
        raise ArgumentError(
            f"examples, or data, must hold inputs of {shape}; got {first.shape[1:]}. Bring them to the size of "
            f"{served.model.name!r}."
        )
    return first


def _refuse(path: Path, opened: Opened, name: str) -> None:
    strange = files.forbidden(opened.operators)
    if strange:
        raise RuntimeError(
            f"{path.name!r} would need {', '.join(strange)}, which not every runtime has; it was not kept."
        )
    if name == "litert-int8" and opened.facts["checks"]["floats"]:
        raise RuntimeError(
            f"{path.name!r} would compute {opened.facts['checks']['floats']} tensors in floating point; it was not "
            f"kept."
        )


def _refuse_other(name: str, form: Format, served: Inference, found: Comparison) -> None:
    """Refuses a file that does not compute what the network does."""
    summary, largest = found.summary, max(1.0, found.largest)
    differences = [(summary["max_difference"], form.tolerance or np.inf)]
    if summary["own_precision"] and served.precision == "float32":  # made anew for its end alone
        differences.append((summary["own_precision"]["max_difference"], 1e-5))
    for difference, tolerance in differences:
        if not (np.isfinite(difference) and difference <= tolerance * largest):
            raise RuntimeError(
                f"The {name} file of {served.model.name!r} differs from it by {difference:.2g}, where its outputs "
                f"reach {found.largest:.2g}; it was not kept."
            )


def _accuracy(served: Inference, opened: Opened, data) -> dict[str, Any] | None:
    if data is None:
        return None
    found = Comparison(served, opened.run)
    found.add(data)
    return found.accuracy


def _prepared(served: Inference, data):
    """The data as the network takes them."""
    prepare = served.preprocessing
    if prepare is None:
        return data
    if isinstance(data, tuple):
        return served.prepared(np.asarray(data[0])), data[1]
    return getattr(data, "test", data).map(lambda x, *y: (prepare(x), *y) if y else prepare(x))
