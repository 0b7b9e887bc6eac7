"""`Execution`: in what precision, how compiled and on which devices a training runs. What it learns is the recipe's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_resnets.errors import ArgumentError, notice, number, one_of, whole_number
from keras_resnets.explaining import explained
from keras_resnets.runs import Run
from keras_resnets.training.cluster import LOCAL

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# What the last digits of the weights depend on, and how that is called.
_TOLD = {"jit": "jit {}", "devices": "devices: {}"}


@explained
@dataclass(frozen=True)
class Execution:
    """How a training runs, for speed; a run directory records it.

    Args:
        precision: `"float32"`; `"mixed_bfloat16"` or `"mixed_float16"`, weights in float32 and everything else in 16
            bits (Micikevicius et al. 2018), with a loss that is scaled where float16 needs it. None takes Keras' global
            policy, which is float32 unless it was set. A network keeps the precision it was trained in.
        jit: whether XLA, or on torch its compiler, compiles the training step. None leaves it to Keras: yes on JAX and,
            on TensorFlow, on a GPU.
        steps_per_execution: steps that run before Keras looks up for callbacks and the progress bar: fewer pauses for
            a small network. Each step still has its own batch, rate and blocks; an epoch ends where it did.
        devices: how many devices of this machine share each batch, or `"all"`; None for one. GPUs, if there are any.
            The weights are those of one device, but for rounding.
        workers: processes that train together on JAX, each on an equal part of every batch; Ray places them, and starts
            them anew from the last whole epoch if one is lost. 0 to train in this process.
        ray: the address of a Ray cluster for them, whose machines share the run directory; `"local"` for this machine.
        gpus: GPUs for each of the workers; None for one if the cluster has as many.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> import keras_resnets as kr, tempfile
        >>> how = kr.Execution(steps_per_execution=4)
        >>> model = kr.train("resnet8", "digits", out=tempfile.mkdtemp(), epochs=1, verbose=0, execution=how)
    """

    precision: str | None = None
    jit: bool | None = None
    steps_per_execution: int = 1
    devices: int | str | None = None
    workers: int = 0
    ray: str = LOCAL
    gpus: float | None = None

    def __post_init__(self) -> None:
        one_of("precision", self.precision, (None, *PRECISIONS))
        one_of("jit", self.jit, (None, True, False))
        whole_number("steps_per_execution", self.steps_per_execution, 1, 2**31 - 1)
        if self.devices is not None and self.devices != "all":
            if isinstance(self.devices, str):
                raise ArgumentError(f"devices must be a whole number or 'all'; got {self.devices!r}.")
            whole_number("devices", self.devices, 1)
        whole_number("workers", self.workers, 0)
        if self.workers and self.devices is not None:
            raise ArgumentError(
                f"devices are those of one process; got {self.devices!r} and {self.workers} workers. Leave it out, and "
                f"give the gpus of each worker."
            )
        if self.ray != LOCAL and not self.workers:
            raise ArgumentError(f"workers must be at least 1 for a training on the Ray cluster {self.ray!r}; got 0.")
        if self.gpus is not None and not self.workers:
            raise ArgumentError(f"gpus are those of each of the workers; got {self.gpus!r} and no workers. Give both.")
        if self.gpus is not None:
            number("gpus", self.gpus, least=0)
            if self.gpus != int(self.gpus):
                raise ArgumentError(
                    f"gpus must be a whole number for each of the workers that train one network; got {self.gpus!r}."
                )


def check_one_process(execution: Execution | None, what: str, remedy: str = "Leave it out.") -> None:
    """Raises `ArgumentError` where several processes are asked for and one is all that there can be.

    Args:
        execution: what was asked for.
        what: what runs in one process, the beginning of the sentence.
        remedy: what to do.
    """
    if execution is not None and execution.workers:
        raise ArgumentError(f"{what} runs in one process; got an execution with {execution.workers} workers. {remedy}")


def check_precision(out: str | os.PathLike, precision: str) -> None:
    """Raises `ArgumentError` if a run was begun in another precision, in which its weights mean something else."""
    path = Path(out)
    record = (Run(path, {}).record if (path / "run.json").is_file() else None) or {}
    begun = record.get("asked", {}).get("dtype", "float32")
    if record and begun != precision:
        raise ArgumentError(
            f"precision must be {begun!r}, in which the run in {str(path)!r} was begun; got {precision!r}. Give "
            f"that, or another --out."
        )


def note(run: Run, now: dict[str, Any], first: int) -> None:
    """Writes into the record of a run how it is executed from an epoch on, and tells what is another than before.

    Args:
        run: the run, entered.
        now: how it is executed, as plain data.
        first: the number of epochs that are done.
    """
    record = run.record or {}
    before = [entry for entry in record.get("execution", ()) if entry["epoch"] <= first]
    last = before[-1] if before else {"devices": 1}  # all that is known of a run of an early version
    changed = [name for name in _TOLD if name in last and last[name] != now[name]]
    if first and changed:
        then, here = (", ".join(_TOLD[name].format(_word(of[name])) for name in changed) for of in (last, now))
        notice(
            f"The run in {str(run.path)!r} goes on after epoch {first} with {here}, and was with {then} until then: "
            f"its weights may differ in the last digits from those of a run that is executed in one way."
        )
    if not before or {**last, "epoch": 0} != {**now, "epoch": 0}:
        run.note(execution=[*before, {"epoch": first + 1, **now}])


def _word(value: Any) -> Any:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def words(entries: Sequence[dict[str, Any]]) -> str:
    """Describes how a run was executed, from the entries of its record.

    Example:
        >>> from keras_resnets.training.execution import words
        >>> how = {"backend": "jax", "precision": "mixed_bfloat16", "jit": True, "steps_per_execution": 1, "devices": 2}
        >>> words([{"epoch": 1, **how}, {"epoch": 3, **how, "devices": 1}])
        'jax, mixed_bfloat16, compiled by XLA, 2 devices; from epoch 3 on jax, mixed_bfloat16, compiled by XLA'
    """
    return "; ".join(
        (f"from epoch {entry['epoch']} on " if number else "") + ", ".join(_parts(entry))
        for number, entry in enumerate(entries)
    )


def _parts(entry: dict[str, Any]) -> list[str]:
    parts = [entry["backend"], entry["precision"]]
    if entry["jit"]:
        parts.append("compiled by XLA" if entry["backend"] != "torch" else "compiled")
    if entry["steps_per_execution"] > 1:
        parts.append(f"{entry['steps_per_execution']} steps per execution")
    if entry["devices"] > 1:
        processes = f" of {entry['processes']} processes" if entry.get("processes", 1) > 1 else ""
        parts.append(f"{entry['devices']} devices{processes}")
    return parts
