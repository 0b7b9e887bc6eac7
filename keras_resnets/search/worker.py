"""A worker of a search: trains the trials that a chief hands out, on this machine or another."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import grpc
from keras_tuner.engine.trial import Trial

from keras_resnets.runs import Run, write_json
from keras_resnets.search import private
from keras_resnets.search.chief import ADDRESS, FAILURE
from keras_resnets.search.journal import IDLE
from keras_resnets.search.trials import Setting, Trials

# Seconds between heartbeats, and between attempts to reach a chief that does not answer.
_HEARTBEAT = 5.0
_RETRY = 1.0


class SearchOver(Exception):
    """The search ended while this worker waited."""


class _Stub:
    """Calls the chief, and retries at its new address if it was restarted.

    Calls can be repeated safely: a worker that asks again gets the trial it already has, and a trial that
    has ended does not change.
    """

    def __init__(self, out: Path, patience: float):
        self.out, self.patience = out, patience
        self._address: str | None = None
        self._stub: Any = None

    def __getattr__(self, name: str):
        def call(request):
            began = time.monotonic()
            while True:
                try:
                    return getattr(self._connect(), name)(request, timeout=60)
                except grpc.RpcError as error:
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                        raise RuntimeError(
                            f"The chief failed: {error.details()}. See the chief's own error message."
                        ) from error
                except FileNotFoundError:
                    pass
                if Run(self.out, {}).finished:
                    raise SearchOver
                if time.monotonic() - began > self.patience:
                    raise OSError(
                        f"No chief of the search in {str(self.out)!r} has answered for {self.patience:.0f} s. "
                        f"Start it again with --role chief, then this worker."
                    )
                time.sleep(_RETRY)

        return call

    def _connect(self):
        """Returns a stub for the chief's current address."""
        address = _read_address(self.out)
        if address != self._address:
            self._address = address
            self._stub = private.stub(grpc.insecure_channel(address))
        return self._stub


def _read_address(out: Path) -> str:
    """Returns the chief's address; raises `FileNotFoundError` if there is none or it is being written."""
    try:
        return json.loads((out / ADDRESS).read_text())["address"]
    except ValueError:
        raise FileNotFoundError from None


class _RemoteOracle:
    """The methods of an oracle that `Trials` uses, executed by the chief, which may be unreachable for a while."""

    def __init__(self, stub: _Stub):
        self.stub = stub

    def create_trial(self, tuner_id: str) -> Trial:
        request = private.messages().CreateTrialRequest(tuner_id=tuner_id)
        trial = Trial.from_proto(self.stub.CreateTrial(request).trial)
        if trial.status == IDLE:
            time.sleep(_RETRY)
        return trial

    def get_trial(self, trial_id: str) -> Trial:
        request = private.messages().GetTrialRequest(trial_id=trial_id)
        return Trial.from_proto(self.stub.GetTrial(request).trial)

    def update_trial(self, trial_id: str, metrics: dict[str, float]) -> None:
        self.stub.UpdateTrial(private.messages().UpdateTrialRequest(trial_id=trial_id, metrics=metrics, step=0))

    def end_trial(self, trial: Trial) -> None:
        self.stub.EndTrial(private.messages().EndTrialRequest(trial=trial.to_proto()))


@contextlib.contextmanager
def _reserve_name(out: Path) -> Iterator[str]:
    """Reserves a name that no other running worker of the search has.

    It is the first free name, so a worker that replaces a killed one gets its name, and therefore its
    trial at once.
    """
    host = socket.gethostname()
    folder = out / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(1000):
        lock = filelock.FileLock(folder / f"{host}-{k}.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            continue
        try:
            yield f"{host}-{k}"
        finally:
            lock.release()
        return
    raise OSError(f"1,000 workers of {host} take part in the search in {str(out)!r} already.")


def work(
    setting: Setting,
    oracle: Any,
    *,
    patience: float = 3600.0,
    parent: int | None = None,
    tell: Callable[[str], None] = print,
    verbose: int = 0,
) -> None:
    """Trains the trials that a chief hands out, until there are no more.

    Args:
        setting: the settings that the trials share; its `out` is shared with the chief.
        oracle: an oracle with the chief's settings, for its objective.
        patience: seconds to wait for a chief that does not answer, for example while it is restarted.
        parent: the id of a parent process; this process ends with it.
        tell: as for `Trials`.
        verbose: as for `Trials`.

    Raises:
        OSError: no chief has answered within the patience.
    """
    stub = _Stub(setting.out, patience)
    with _reserve_name(setting.out) as name, _Heartbeat(_Stub(setting.out, 0), parent) as heartbeat:
        trials = Trials(setting, oracle, name, tell, verbose)
        trials.oracle = _RemoteOracle(stub)
        trials.on_trial_begin = lambda trial: heartbeat.set_trial(trial.trial_id)
        try:
            trials.search()
        except SearchOver:
            pass
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            write_json(setting.out / FAILURE, {"worker": name, "error": reason.rstrip(".") + "."})
            raise


class _Heartbeat(threading.Thread):
    """Tells the chief every few seconds that a trial is in progress; ends the process with its parent."""

    def __init__(self, stub: _Stub, parent: int | None):
        super().__init__(daemon=True)
        self.stub, self.parent = stub, parent
        self._trial: str | None = None
        self._ended = threading.Event()

    def set_trial(self, trial: str) -> None:
        self._trial = trial

    def run(self) -> None:
        while not self._ended.wait(_HEARTBEAT if self.parent is None else min(1.0, _HEARTBEAT)):
            if self.parent is not None and os.getppid() != self.parent:
                os._exit(1)
            if self._trial is not None:
                with contextlib.suppress(SearchOver, RuntimeError, OSError):
                    self.stub.GetTrial(private.messages().GetTrialRequest(trial_id=self._trial))

    def __enter__(self) -> _Heartbeat:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
