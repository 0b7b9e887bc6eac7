"""A connection to a Ray cluster, or one that is started on this machine: what searches and trainings run on."""

from __future__ import annotations

import contextlib
import os
import socket
import warnings
from collections.abc import Iterator
from typing import Any

from keras_resnets.errors import ArgumentError

LOCAL = "local"
# How often the processes of one task may be killed; more is no accident.
MOST = 10
# Seconds for which an address may not answer.
_PATIENCE = 10


@contextlib.contextmanager
def connected(address: str = LOCAL, processes: int = 1) -> Iterator[None]:
    """Connects to a Ray cluster, or starts one on this machine for as long as the context lasts.

    A connection that the caller has made is used, and left.

    Args:
        address: of a cluster, such as `10.0.0.1:6379`, or `"auto"` for the one on this machine; `"local"` starts one.
        processes: how many processes a cluster that is started has.

    Raises:
        ArgumentError: Ray is not installed.
        OSError: no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ArgumentError(
            "workers: several processes need Ray, which is not installed; pip install 'keras_resnets[ray]'."
        ) from error
    if ray.is_initialized():
        yield
        return
    if address not in (LOCAL, "auto"):
        _check_answers(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        with warnings.catch_warnings():
            # JAX warns of every fork, also where another program is started at once.
            warnings.filterwarnings("ignore", r"os\.fork", RuntimeWarning)
            if address == LOCAL:
                ray.init(num_cpus=processes, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
            else:
                ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise OSError(
            f"No Ray cluster answers at {address!r} ({str(error).strip().splitlines()[0][:200]}). Start one with "
            f"`ray start --head`, or give 'local' for one on this machine."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises `OSError` where nothing answers at an address, which Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 1 << 16:
        raise ArgumentError(f"ray must be 'local', 'auto' or HOST:PORT, such as 10.0.0.1:6379; got {address!r}.")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise OSError(
            f"No Ray cluster answers at {address!r} ({error.strerror or error}). Start one with `ray start --head`, or "
            f"give 'local' for one on this machine."
        ) from error


def gpus_each(gpus: float | None, tasks: int = 1) -> float:
    """Returns the GPUs for each task on the cluster that is connected: one where it has any, if `gpus` is None.

    Args:
        gpus: those asked for.
        tasks: how many tasks run at the same time, or none does.

    Raises:
        ArgumentError: the cluster has fewer, so that a task would wait for ever.
    """
    import ray

    has = ray.cluster_resources().get("GPU", 0)
    if gpus is None:
        return 1 if has >= tasks and has else 0
    if gpus * tasks > has:
        each = "" if tasks == 1 else f" for {tasks} workers"
        raise ArgumentError(
            f"gpus must be at most those of the cluster, {has:g}{each}; got {gpus!r}, for which a worker would wait "
            f"for ever."
        )
    return gpus
