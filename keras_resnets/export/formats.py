"""The export formats: writes each, and opens it in its own runtime. A new format is a row in `FORMATS`.

Nothing heavy is imported before a file is written or opened: the command line lists the formats in its help.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnets.errors import ArgumentError, needs
from keras_resnets.export import carried, inspection, integrity, private
from keras_resnets.export.carried import Carried
from keras_resnets.quiet import quiet
from keras_resnets.runs.removal import strangers

if TYPE_CHECKING:
    from keras_resnets.export.inference import Inference

OPSET = 17
# Threads of LiteRT and ONNX Runtime; TensorFlow uses its configured number.
THREADS = 1
# The files of a SavedModel, as `runs.whole` takes them. TensorFlow writes each under another name first.
_TENSORS = r"[\w.-]+\.(?:index|data-\d{5}-of-\d{5})(?:\.tempstate\d+)?"
_EXTRA = "|".join(map(re.escape, (carried.NAME, carried.LABELS, integrity.FILE)))
SAVED_MODEL = (
    rf"(?:saved_model|fingerprint|keras_metadata)\.pb(?:\.tmp[0-9a-f]{{32}})?|variables/(?:[\w.-]+_temp/)?{_TENSORS}|"
    rf"{re.escape(carried.EXTRA)}/(?:{_EXTRA})"
)


@dataclass(frozen=True)
class Opened:
    """An exported file in its own runtime.

    Attributes:
        run: returns the outputs, in floating point, for an array of inputs.
        operators: the count of each operation.
        threads: how many threads the runtime may use; 0 for all.
        facts: further facts about the file.
        shape: the shape of an input, without the batch; None for a side of any length.
        carried: what it says of its classes and preprocessing; None if it says nothing.
    """

    run: Callable[[np.ndarray], np.ndarray]
    operators: dict[str, int]
    threads: int = THREADS
    facts: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int | None, ...] = ()
    carried: Carried | None = None


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffix: the required ending of its name; None for a folder.
        tolerance: the largest allowed difference of an output, relative to the largest output if that exceeds 1; None
            if only the classes matter.
        write: writes the network, with inputs that calibrate the ranges of int8.
        reader: opens a file in its runtime.
        packages: the packages whose versions the card lists.
        needs: the required packages of the extra `onnx`.
        calibrated: whether its ranges come from example inputs.
    """

    suffix: str | None
    tolerance: float | None
    write: Callable[[Inference, Path, Sequence[np.ndarray] | np.ndarray], None]
    reader: Callable[[Path], Opened]
    packages: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    calibrated: bool = False

    def open(self, path: Path) -> Opened:
        """Opens a file in its own runtime.

        Raises:
            Damaged: it does not have the checksum that it carries.
        """
        integrity.check(path)
        return self.reader(path)

    @property
    def missing(self) -> list[str]:
        """The required packages that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def check_place(name: str, path: Path) -> None:
    """Raises an error unless a format can be written to a path, as far as can be told without Keras.

    Raises:
        ImportError: what writes it is not installed.
        ArgumentError: the path has another ending, or holds something else.
    """
    form = FORMATS[name]
    if form.missing:
        raise ImportError(
            f"To write ONNX, {', '.join(form.missing)} must be installed: pip install 'keras_resnets[onnx]'."
        )
    if form.suffix is None:
        if path.exists() and not (path / "saved_model.pb").is_file():
            raise ArgumentError(f"path: {str(path)!r} exists and is no SavedModel; give a new folder.")
        if others := strangers(path, SAVED_MODEL):
            raise ArgumentError(
                f"path: {str(others[0])!r} is no file of a SavedModel, and would be lost, because {str(path)!r} is "
                f"replaced; move it away, or give a new folder."
            )
        return
    if path.suffix != form.suffix:
        raise ArgumentError(f"path must end in {form.suffix} for {name}; got {str(path)!r}.")
    if path.is_dir():
        raise ArgumentError(f"path: {str(path)!r} is a folder; give a file.")


def form_of(path: str | os.PathLike) -> str | None:
    """Returns the format of an exported file, as `FORMATS` names it; None for anything else.

    Raises:
        ArgumentError: a file of such a name is not there.
    """
    path = Path(path)
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return "saved_model"
    form = {".tflite": "litert", ".onnx": "onnx"}.get(path.suffix.lower())
    if form and not path.exists():
        raise ArgumentError(f"There is no file {str(path)!r}.")
    return form


def check_tensorflow() -> None:
    """Raises a sentence unless Keras computes with TensorFlow, which traces the network for every format.

    Raises:
        ImportError: TensorFlow is not installed.
        ArgumentError: Keras computes with another library.
    """
    import keras

    needs(
        "tensorflow",
        "Export",
        "Install it (pip install tensorflow), or export where it is: networks that are saved on one backend are opened "
        "on every other.",
    )
    if (backend := keras.config.backend()) != "tensorflow":
        raise ArgumentError(
            f"Export needs Keras to compute with TensorFlow, which traces the network; it computes with {backend}. "
            f"Save the network, and export the file in a process of its own: keras-resnets export NET.keras --out NET."
        )


def traced(served: Inference):
    """Returns the network as a TensorFlow function for batches of any size."""
    import tensorflow as tf

    name, shape, dtype = served.input
    spec = tf.TensorSpec((None, *shape), dtype, name=name)
    return tf.function(lambda inputs: served(inputs), input_signature=[spec], autograph=False)


def _archive(served: Inference):
    """Returns an object with one function, `serve`, and the variables that it reads."""
    archive = private.holder()
    archive.trainable_variables = [v.value for v in served.network.trainable_variables]
    archive.non_trainable_variables = [v.value for v in served.network.non_trainable_variables]
    archive.variables = archive.trainable_variables + archive.non_trainable_variables
    archive.serve = traced(served)
    return archive


def write_saved_model(served: Inference, path: Path, _: Sequence[np.ndarray] | np.ndarray = ()) -> None:
    """Writes a SavedModel with only what serving needs.

    `keras.Model.export` also stores every layer object, which for a network of 110 layers takes
    more than twice the time and the space.
    """
    import tensorflow as tf

    from keras_resnets.export import serving

    archive = _archive(served)
    signatures = {"serving_default": archive.serve, **serving.from_pictures(served, archive.serve)}
    tf.saved_model.save(archive, str(path), signatures=signatures)
    carried.into_folder(Carried.of(served), path)


def open_saved_model(path: Path) -> Opened:
    """Loads a SavedModel with TensorFlow."""
    needs("tensorflow", "Reading a SavedModel")
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    ((_, spec),) = serve.structured_input_signature[1].items()

    def run(x: np.ndarray) -> np.ndarray:
        # Through `loaded`, which must stay alive because it owns the variables.
        (y,) = loaded.signatures["serving_default"](**{spec.name: tf.cast(x, spec.dtype)}).values()
        return y.numpy()

    threads = tf.config.threading.get_intra_op_parallelism_threads()
    operators = inspection.of_graph(serve.graph.as_graph_def())
    facts = {"signatures": sorted(loaded.signatures)}
    return Opened(run, operators, threads, facts, tuple(spec.shape[1:]), carried.read(path))


def _litert(kind: str) -> Callable[[Inference, Path, Sequence[np.ndarray] | np.ndarray], None]:
    """Returns the function that writes one kind of LiteRT file."""

    def write(served: Inference, path: Path, representative: Sequence[np.ndarray] | np.ndarray) -> None:
        import tensorflow as tf

        archive = _archive(served)
        from keras_resnets.export.inference import convertible

        with convertible(served.network, "litert"):
            function = archive.serve.get_concrete_function()
        with quiet():
            # Without the object that holds the variables, or with the model instead, the converter loses the weights.
            converter = tf.lite.TFLiteConverter.from_concrete_functions([function], archive)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            if kind != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if kind == "float16":
                converter.target_spec.supported_types = [tf.float16]
            if kind == "int8":
                dtype = served.input[2]
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
                converter.representative_dataset = lambda: ([x[None].astype(dtype)] for x in representative)
                converter.inference_input_type = converter.inference_output_type = tf.int8
            content = converter.convert()
        path.write_bytes(content)
        carried.into_litert(Carried.of(served), path)

    return write


def open_litert(path: Path) -> Opened:
    """Loads a LiteRT file with its interpreter, in one thread."""
    needs("ai_edge_litert", "Reading a LiteRT file", "Install it: pip install ai-edge-litert.")
    from ai_edge_litert.interpreter import Interpreter

    content = path.read_bytes()
    checks = inspection.of_litert(content)
    if checks.pop("unbounded"):
        # The interpreter would abort the process.
        raise RuntimeError(f"{path.name!r} would hold infinities in whole numbers; it was not kept.")
    with quiet():
        interpreter = Interpreter(model_content=content, num_threads=THREADS)
        interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(x: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != x.shape:
            interpreter.resize_tensor_input(source["index"], x.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], _quantize(x, source))
        interpreter.invoke()
        return _dequantize(interpreter.get_tensor(target["index"]), target)

    facts = {"input": _type_of(source), "output": _type_of(target), "checks": checks}
    shape = tuple(None if side < 0 else int(side) for side in source["shape_signature"][1:])
    return Opened(run, checks.pop("operators"), facts=facts, shape=shape, carried=carried.read(path))


def _type_of(details: dict[str, Any]) -> dict[str, Any]:
    """Returns the type of an input or output, with the scale and zero point of quantized values."""
    scale, zero = details["quantization"]
    return {
        "dtype": np.dtype(details["dtype"]).name,
        "quantisation": {"scale": float(scale), "zero_point": int(zero)} if scale else None,
    }


def _quantize(x: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    if not scale:
        return x.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    return np.clip(np.round(x / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def _dequantize(y: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    return (y.astype("float32") - zero) * np.float32(scale) if scale else y


def write_onnx(served: Inference, path: Path, _: Sequence[np.ndarray] | np.ndarray = ()) -> None:
    """Writes an ONNX file."""
    import onnx
    import tf2onnx

    from keras_resnets.export.inference import convertible

    with convertible(served.network, "onnx"):
        function = traced(served).get_concrete_function()
    with quiet():
        frozen = private.frozen(function)
        ends = [frozen.inputs[0].name], [frozen.outputs[0].name]
        model, _ = tf2onnx.convert.from_graph_def(frozen.graph.as_graph_def(), None, *ends, opset=OPSET)

    # Rename the input and the output, and leave the size of the batch open.
    graph = model.graph
    new_names = {graph.input[0].name: served.input[0], graph.output[0].name: "outputs"}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new_names.get(name, name) for name in names]
    for end in (graph.input[0], graph.output[0]):
        end.name = new_names[end.name]
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    carried.into_onnx(Carried.of(served), model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def open_onnx(path: Path) -> Opened:
    """Loads an ONNX file with ONNX Runtime, on the CPU, in one thread."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    dtype = source.type.removeprefix("tensor(").removesuffix(")").replace("float", "float32")

    def run(x: np.ndarray) -> np.ndarray:
        return session.run(None, {source.name: x.astype(dtype)})[0]

    operators = inspection.count(node.op_type for node in onnx.load(path).graph.node)
    text = session.get_modelmeta().custom_metadata_map.get(carried.KEY)
    shape = tuple(side if isinstance(side, int) else None for side in source.shape[1:])
    return Opened(run, operators, shape=shape, carried=carried.read(path, text))


_RUNTIME = ("ai-edge-litert",)
_ONNX = ("onnx", "tf2onnx", "onnxruntime")
FORMATS = {
    "saved_model": Format(None, 1e-5, write_saved_model, open_saved_model),
    "litert": Format(".tflite", 1e-4, _litert("float32"), open_litert, _RUNTIME),
    "litert-fp16": Format(".tflite", 1e-2, _litert("float16"), open_litert, _RUNTIME),
    "litert-dynamic": Format(".tflite", None, _litert("dynamic"), open_litert, _RUNTIME),
    "litert-int8": Format(".tflite", None, _litert("int8"), open_litert, _RUNTIME, calibrated=True),
    "onnx": Format(".onnx", 1e-4, write_onnx, open_onnx, _ONNX, _ONNX),
}
