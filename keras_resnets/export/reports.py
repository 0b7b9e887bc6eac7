"""What the report of an export says beside the comparison: network, ends, size and latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_resnets.export.comparison import Comparison
from keras_resnets.export.formats import Opened, traced
from keras_resnets.export.inference import Inference
from keras_resnets.instruments import timing
from keras_resnets.network.cost import macs, parameters


def network(served: Inference) -> dict[str, Any]:
    """The network as it came."""
    model, shape = served.model, served.input[1]
    return {
        "name": model.name,
        "blocks": len(getattr(model, "blocks", ())) or None,
        "parameters": parameters(model),
        "macs": None if None in shape else macs(model),
        "precision": served.precision,
    }


def ends(served: Inference, opened: Opened, found: Comparison, output: str) -> dict[str, Any]:
    """What goes in and what comes out."""
    name, shape, dtype = served.input
    source = {"dtype": dtype, "quantisation": None, **opened.facts.get("input", {})}
    target = {"dtype": "float32", "quantisation": None, **opened.facts.get("output", {})}
    return {
        "input": {"name": name, "shape": [None, *shape], "range": found.inputs, **source},
        "output": {"shape": list(served.network.output_shape), "range": found.outputs, "kind": output, **target},
    }


def preprocessing(served: Inference) -> dict[str, Any] | None:
    """What is done to raw pixels, and where."""
    known = served.preprocessing or getattr(served.model, "preprocessing", None)
    return {"inside": served.preprocessing is not None, **known.to_dict()} if known else None


def latency(served: Inference, opened: Opened, x: np.ndarray, calls: int) -> dict[str, Any]:
    """Of one example: the file, and the network in float32 as Keras runs it."""
    import tensorflow as tf

    function, prepared = traced(served), served.prepared(x)
    tensor = tf.cast(x, served.input[2])
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    ways = {
        "file": lambda: opened.run(x),
        "predict_on_batch": lambda: served.network.predict_on_batch(prepared),
        "tf.function": lambda: function(tensor).numpy(),
    }
    found = timing.interleaved(ways, calls)
    told = {name: {**found[name], "threads": opened.threads if name == "file" else threads} for name in ways}
    return {**told, "batch": len(x), "calls": calls, "processor": timing.processor()}


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )
