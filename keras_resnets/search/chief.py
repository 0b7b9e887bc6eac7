"""The chief of a search by many workers: hands out trials over keras-tuner's gRPC protocol."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from keras_resnets.errors import ArgumentError
from keras_resnets.runs import write_json
from keras_resnets.search import private

# Where a chief says at which address it is.
ADDRESS = "chief.json"
# Where a worker says why it could not go on.
FAILURE = "failure.json"
# Seconds for which a chief that is done still answers, so that every worker hears it.
_FAREWELL = 3.0


class _Servicer:
    """Answers as keras-tuner's does, and notes when it last heard of a trial, and keeps an error for the chief."""

    def __init__(self, oracle):
        self._answering = private.servicer(oracle)
        self.heard: dict[str, float] = {}
        self.began = time.monotonic()
        self.failure: Exception | None = None

    def __getattr__(self, name: str):
        return getattr(self._answering, name)

    def silence(self, trial: str) -> float:
        """Seconds since the worker of a trial was last heard of."""
        return time.monotonic() - self.heard.get(trial, self.began)

    def CreateTrial(self, request, context):
        try:
            response = self._answering.CreateTrial(request, context)
        except Exception as error:
            self.failure = error
            raise
        self.heard[response.trial.trial_id] = time.monotonic()
        return response

    def GetTrial(self, request, context):
        self.heard[request.trial_id] = time.monotonic()
        return self._answering.GetTrial(request, context)

    def EndTrial(self, request, context):
        try:
            return self._answering.EndTrial(request, context)
        except Exception as error:
            self.failure = error
            raise


def host_of(address: str) -> str:
    """Returns the host of `HOST:PORT`, or says what is wrong with it."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ArgumentError(f"address must be HOST:PORT, such as 10.0.0.1:4000; got {address!r}.")
    return host


def serve(
    oracle: Any,
    out: Path,
    address: str = "127.0.0.1:0",
    lost_after: float = 60.0,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Hands out an oracle's trials until all are done.

    A trial whose worker has not been heard of for `lost_after` seconds is given to the next worker that
    asks, whatever its name; that one goes on from the trial's last epoch. As long as no worker asks, the
    chief waits.

    Args:
        oracle: a `Journaled` oracle.
        out: the directory of the search; workers read the address there.
        address: `HOST:PORT` to listen at; port 0 takes a free one. The protocol knows no passwords:
            whoever reaches the port can take part, so it should be that of a private network.
        lost_after: seconds; workers make themselves heard every few of them.
        watch: called a few times a second; an exception from it ends the chief.

    Raises:
        ArgumentError: the address cannot be listened at.
        RuntimeError: a worker failed, as all others would that got its trial.
    """
    failure = out / FAILURE
    failure.unlink(missing_ok=True)
    servicer = _Servicer(oracle)
    oracle.lost = lambda trial: servicer.silence(trial) > lost_after
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.so_reuseport", 0)])
    private.answers(server, servicer)
    host = host_of(address)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        raise ArgumentError(
            f"address must be one of this machine with a free port, or port 0 for any; got {address!r}."
        ) from None
    server.start()
    write_json(out / ADDRESS, {"address": f"{socket.gethostname() if host in ('0.0.0.0', '[::]') else host}:{bound}"})
    try:
        while not servicer.stop_triggered:
            time.sleep(0.2)
            if servicer.failure is not None:
                raise servicer.failure
            if failure.exists():
                told = json.loads(failure.read_text())
                raise RuntimeError(f"Worker {told['worker']} failed: {told['error']} The same command goes on.")
            watch()
        time.sleep(_FAREWELL)
    finally:
        (out / ADDRESS).unlink(missing_ok=True)
        server.stop(grace=None)
