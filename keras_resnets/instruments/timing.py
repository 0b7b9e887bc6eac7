"""Measures the latency of networks."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnets.errors import ArgumentError, whole_number
from keras_resnets.explaining import explained
from keras_resnets.network.cost import shape_of_input


@explained
def interleaved(
    calls: Mapping[Any, Callable[[], Any]], rounds: int = 50, warm_up: int = 5
) -> dict[Any, dict[str, float]]:
    """Measures how long each of several calls takes, one after the other in every round.

    A temporary slowdown of the machine therefore affects all of them alike, and they can be compared.

    Args:
        calls: the functions to call, by name.
        rounds: measured calls of each.
        warm_up: unmeasured rounds before, in which networks are traced and memory is allocated.

    Returns:
        For each name `median`, `low` and `high` (quartiles) in seconds.

    Example:
        >>> from keras_resnets.instruments.timing import interleaved
        >>> times = interleaved({"short": lambda: sum(range(10)), "long": lambda: sum(range(10**5))})
        >>> times["short"]["median"] < times["long"]["median"]
        True
    """
    whole_number("rounds", rounds, 1)
    times: dict[Any, list[float]] = {name: [] for name in calls}
    for number in range(warm_up + rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if number >= warm_up:
                times[name].append(time.perf_counter() - began)
    quartiles = {name: np.quantile(seconds, (0.25, 0.5, 0.75)) for name, seconds in times.items()}
    return {name: {"median": float(m), "low": float(q), "high": float(r)} for name, (q, m, r) in quartiles.items()}


@explained
def latency(model: keras.Model, batch: int = 1, calls: int = 50, warm_up: int = 5) -> dict[str, Any]:
    """Measures how long a network takes for a batch, on this machine as it is now.

    Args:
        model: a Keras model with one input of known size.
        batch: examples in a batch.
        calls: measured calls.
        warm_up: unmeasured calls before, in which the network is traced and memory is allocated.

    Returns:
        `median`, `low` and `high` (quartiles) in seconds, with `batch` and `calls`.

    Example:
        >>> import keras_resnets as kr
        >>> from keras_resnets.instruments.timing import latency
        >>> times = latency(kr.build("resnet8", (8, 8, 1)), calls=3)
        >>> 0 < times["low"] <= times["median"] <= times["high"]
        True
    """
    whole_number("batch", batch, 1)
    whole_number("calls", calls, 1)
    shape = shape_of_input(model)
    sides = [side for side in shape if side is not None]
    if len(sides) < len(shape):
        raise ArgumentError(f"model must have an input of known size to be timed; that of {model.name!r} is {shape}.")
    x = np.random.default_rng(0).normal(size=(batch, *sides)).astype("float32")
    times = interleaved({model.name: lambda: model.predict_on_batch(x)}, calls, warm_up)
    return {**times[model.name], "batch": batch, "calls": calls}


@explained
def processor() -> str:
    """Returns the name of the processor, and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    file = Path("/proc/cpuinfo")
    description = file.read_text() if file.exists() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", description, re.MULTILINE)
    return f"{name[1] if name else platform.processor() or platform.machine()}, {cores} cores"
