"""How long a network takes to answer."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnets.errors import whole_number


def latency(model: keras.Model, batch: int = 1, calls: int = 50, warm_up: int = 5) -> dict[str, Any]:
    """Measures how long a network takes for a batch, on this machine as it is now.

    Args:
        model: a Keras model with one input of known size.
        batch: examples in a batch.
        calls: measured calls.
        warm_up: calls before those, in which the network is traced and memory is laid out.

    Returns:
        `median`, `low` and `high` (quartiles) in seconds, with `batch` and `calls`.

    Example:
        >>> import keras_resnets as kr
        >>> from keras_resnets.timing import latency
        >>> found = latency(kr.build("resnet8", (8, 8, 1)), calls=3)
        >>> 0 < found["low"] <= found["median"] <= found["high"]
        True
    """
    whole_number("batch", batch, 1)
    whole_number("calls", calls, 1)
    x = np.random.default_rng(0).normal(size=(batch, *model.input_shape[1:])).astype("float32")
    return {**measured(lambda: model.predict_on_batch(x), calls, warm_up), "batch": batch, "calls": calls}


def measured(call: Callable[[], Any], calls: int, warm_up: int = 5) -> dict[str, float]:
    """Measures how long a call takes.

    Args:
        call: what is measured.
        calls: measured calls.
        warm_up: calls before those.

    Returns:
        `median`, `low` and `high` (quartiles) in seconds.
    """
    taken = []
    for number in range(warm_up + calls):
        began = time.perf_counter()
        call()
        if number >= warm_up:
            taken.append(time.perf_counter() - began)
    low, median, high = np.quantile(taken, (0.25, 0.5, 0.75))
    return {"median": float(median), "low": float(low), "high": float(high)}


def processor() -> str:
    """The name of the processor, and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    file = Path("/proc/cpuinfo")
    told = file.read_text() if file.exists() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return f"{named[1] if named else platform.processor() or platform.machine()}, {cores} cores"
