"""The chief of a search by many workers: hands out trials over keras-tuner's gRPC protocol."""

from __future__ import annotations

import json
import re
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

# The file with the chief's address.
ADDRESS = "chief.json"
# The file with the error of a worker that failed.
FAILURE = "failure.json"
# Seconds for which a chief still answers after the last trial, so that every worker learns of the end.
_FAREWELL = 3.0


class _Servicer:
    """Wraps keras-tuner's servicer: records the time of the last request for each trial, and errors for the chief."""

    def __init__(self, oracle):
        self._servicer = private.servicer(oracle)
        self.last_request: dict[str, float] = {}
        self.began = time.monotonic()
        self.failure: Exception | None = None

    def __getattr__(self, name: str):
        return getattr(self._servicer, name)

    def silence(self, trial: str) -> float:
        """Returns the seconds since the last request for a trial."""
        return time.monotonic() - self.last_request.get(trial, self.began)

    def CreateTrial(self, request, context):
        try:
            response = self._servicer.CreateTrial(request, context)
        except Exception as error:
            self.failure = error
            raise
        self.last_request[response.trial.trial_id] = time.monotonic()
        return response

    def GetTrial(self, request, context):
        self.last_request[request.trial_id] = time.monotonic()
        return self._servicer.GetTrial(request, context)

    def EndTrial(self, request, context):
        try:
            return self._servicer.EndTrial(request, context)
        except Exception as error:
            self.failure = error
            raise


def host_of(address: str) -> str:
    """Returns the host of `HOST:PORT`; raises `ArgumentError` if the address has another form."""
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ArgumentError(
            f"address must be HOST:PORT with a port of at most 65535, such as 10.0.0.1:4000; got {address!r}."
        )
    return host


def serve(
    oracle: Any,
    out: Path,
    address: str = "127.0.0.1:0",
    lost_after: float = 60.0,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Hands out an oracle's trials until all are done.

    If a trial's worker sends nothing for `lost_after` seconds, the next worker that asks gets the trial,
    and continues from its last epoch. Without workers, the chief waits.

    Args:
        oracle: a `Journaled` oracle.
        out: the directory of the search; workers read the address there.
        address: `HOST:PORT` to listen at; port 0 takes a free one. The protocol has no passwords:
            everyone who reaches the port can take part, so use a private network.
        lost_after: seconds; workers send a request every few seconds.
        watch: called a few times a second; an exception from it ends the chief.

    Raises:
        ArgumentError: the address cannot be used.
        RuntimeError: a worker failed, as any other worker would with the same trial.
    """
    # Start the server and publish its address.
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

    # Wait for the end, or for an error of the oracle or of a worker.
    try:
        while not servicer.stop_triggered:
            time.sleep(0.2)
            if servicer.failure is not None:
                raise servicer.failure
            if failure.exists():
                report = json.loads(failure.read_text())
                raise RuntimeError(
                    f"Worker {report['worker']} failed: {report['error']} Run the same command again to continue."
                )
            watch()
        time.sleep(_FAREWELL)
    finally:
        (out / ADDRESS).unlink(missing_ok=True)
        server.stop(grace=None)
