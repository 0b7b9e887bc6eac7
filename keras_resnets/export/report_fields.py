"""The fields of an export's report beside the comparison: network, input, output, size and latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.export.carried import Carried
from keras_resnets.export.comparison import Comparison
from keras_resnets.export.formats import Opened, traced
from keras_resnets.export.inference import Inference
from keras_resnets.instruments import timing
from keras_resnets.network.cost import macs, parameters


def network(served: Inference) -> dict[str, Any]:
    """Describes the network before the export."""
    model, shape = served.model, served.input[1]
    return {
        "name": model.name,
        "blocks": len(getattr(model, "blocks", ())) or None,
        "parameters": parameters(model),
        "macs": None if None in shape else macs(model),
        "precision": served.precision,
    }


def ends(served: Inference, opened: Opened, comparison: Comparison, output: str) -> dict[str, Any]:
    """Describes the file's input and output."""
    name, shape, dtype = served.input
    source = {"dtype": dtype, "quantisation": None, **opened.facts.get("input", {})}
    target = {"dtype": "float32", "quantisation": None, **opened.facts.get("output", {})}
    return {
        "input": {"name": name, "shape": [None, *shape], "range": comparison.inputs, **source},
        "output": {"shape": list(served.network.output_shape), "range": comparison.outputs, "kind": output, **target},
    }


def training(served: Inference) -> dict[str, Any] | None:
    """Describes how the network was trained and executed; None if it did not come from a run directory."""
    provenance = getattr(served.model, "provenance", None)
    return None if provenance is None else dict(provenance)


def preprocessing(served: Inference) -> dict[str, Any] | None:
    """Describes the preprocessing of raw pixels, and whether the file contains it."""
    steps = served.preprocessing or getattr(served.model, "preprocessing", None)
    return {"inside": served.preprocessing is not None, **steps.to_dict()} if steps else None


def classes(served: Inference, opened: Opened) -> dict[str, Any]:
    """Describes what a prediction from the file gives, and the signatures that take pictures."""
    carried = Carried.of(served)
    names = None if carried.class_names is None else list(carried.class_names)
    return {"class_names": names, "ends_in": carried.end, "signatures": opened.facts.get("signatures")}


def latency(served: Inference, opened: Opened, x: np.ndarray, calls: int) -> dict[str, Any]:
    """Measures the latency of the file, and of the network in float32 in Keras, for one example."""
    import tensorflow as tf

    function, prepared = traced(served), served.prepared(x)
    tensor = tf.cast(x, served.input[2])
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    runtimes = {
        "file": lambda: opened.run(x),
        "predict_on_batch": lambda: served.network.predict_on_batch(prepared),
        "tf.function": lambda: function(tensor).numpy(),
    }
    times = {
        name: {**quartiles, "threads": opened.threads if name == "file" else threads}
        for name, quartiles in timing.interleaved(runtimes, calls).items()
    }
    return {**times, "batch": len(x), "calls": calls, "processor": timing.processor()}


def size(path: Path) -> int:
    """Returns the size of a file, or of all files of a folder, in bytes."""
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )
