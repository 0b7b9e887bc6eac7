"""Where a saved network lies, and what can be said against it before Keras is imported to open it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from keras_resnets.errors import ArgumentError
from keras_resnets.runs.run import Run
from keras_resnets.runs.sums import verified


def saved_file(path: str | os.PathLike) -> Path:
    """Returns the file of a network: a file as it is, of a folder its `model.keras`.

    Raises:
        ArgumentError: there is none.
        Damaged: it is not as it was written.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "model.keras"
    verified(file)
    if not file.is_file():
        raise ArgumentError(
            f"There is no saved network at {str(path)!r}; give a .keras file or a finished run directory."
        )
    return file


def check_network(path: str | os.PathLike) -> dict[str, Any]:
    """Refuses what holds no network that could be opened: a run before its first epoch, a folder or file without one.

    Returns:
        The record of a run directory; empty for anything else.

    Raises:
        ArgumentError: there is no network.
        Damaged: a file of it cannot be read.
    """
    run = Run(path, {})
    record = (run.record if run.path.is_dir() else None) or {}
    if run.path.is_dir() and run.has_checkpoint and record:
        return record  # the network is there, or is made again from the checkpoint
    if run.path.is_dir() and not (run.path / "model.keras").exists() and record and not run.finished:
        raise ArgumentError(
            f"The training in {str(run.path)!r} has not ended an epoch yet, so it has no network to open; the command "
            f"that started it goes on with it."
        )
    saved_file(path)
    return record
