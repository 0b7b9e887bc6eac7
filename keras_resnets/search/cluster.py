"""Trains trials in several processes, on this machine or on a cluster, by Ray."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from keras_resnets.errors import ArgumentError
from keras_resnets.search.trials import Setting, Trial, score

LOCAL = "local"
# How often the process of one trial may be killed; more is no accident.
_MOST = 10
# Seconds for which an address may not answer.
_PATIENCE = 10


class Cluster:
    """Trains trials as Ray's tasks; Ray places them, and starts a task anew whose process or machine is lost.

    A task that is started anew goes on from the trial's last epoch, because its directory is shared.

    Args:
        setting: the settings that the trials share.
        places: how many trials are trained at a time.
        gpus: GPUs for each trial, which may be a fraction; None for one where the cluster has any.
    """

    def __init__(self, setting: Setting, places: int, gpus: float | None = None):
        import ray

        has = ray.cluster_resources()
        if gpus is None:
            gpus = 1 if has.get("GPU") else 0
        elif gpus > has.get("GPU", 0):
            raise ArgumentError(
                f"gpus must be at most those of the cluster, {has.get('GPU', 0):g}; got {gpus!r}, for which a trial "
                f"would wait for ever."
            )
        self.places, self._config = places, json.dumps(setting.config())
        self._task = ray.remote(score).options(
            num_cpus=1, num_gpus=gpus, max_retries=_MOST, retry_exceptions=False, name="trial"
        )

    def start(self, trial: Trial) -> Future:
        """Hands a trial to Ray."""
        return self._task.remote(self._config, trial.trial.hyperparameters.get_config(), trial.epochs).future()

    def result(self, future: Future, trial: Trial) -> list[float]:
        """Returns the scores of a future.

        Raises:
            RuntimeError: the trial failed, as it would anywhere else, or its processes were killed too often.
        """
        import ray

        again = "Run the same command again to continue."
        try:
            return future.result()
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            reason = (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(".")
            raise RuntimeError(f"Trial {trial.trial.trial_id} failed: {reason}. {again}") from error
        except ray.exceptions.RayError as error:
            raise RuntimeError(
                f"The process of trial {trial.trial.trial_id} was killed {_MOST + 1} times, which may mean that memory "
                f"is short. Give fewer workers. {again}"
            ) from error


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
