"""Runs workers of a search as processes on this machine, and restarts those that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# How many workers may be killed in one search; more are no accident.
_MOST = 10


class LocalWorkers:
    """Starts workers, and replaces a killed one; the new process gets its name, and so its trial.

    Args:
        out: the directory of the search.
        size: the number of workers.
        tell: called with a line of text for each replacement.
    """

    def __init__(self, out: Path, size: int, tell: Callable[[str], None]):
        self.out, self.tell = out, tell
        self._killed = 0
        self._processes: list[subprocess.Popen] = []
        self._size = size

    def __enter__(self) -> LocalWorkers:
        self._processes = [self._start() for _ in range(self._size)]
        return self

    def _start(self) -> subprocess.Popen:
        command = ["search", "--role", "worker", "--out", str(self.out), "--parent", str(os.getpid())]
        return subprocess.Popen([sys.executable, "-m", "keras_resnets", *command])

    def watch(self) -> None:
        """Replaces workers that were killed.

        Raises:
            RuntimeError: a worker failed by itself, or too many were killed.
        """
        for k, process in enumerate(self._processes):
            code = process.poll()
            if code is None or code == 0:
                continue
            if code > 0:  # it failed before its first trial; otherwise the chief would have the error
                raise RuntimeError(
                    f"Worker {k + 1} failed, for the reason given above; run the same command again to continue."
                )
            self._killed += 1
            if self._killed > _MOST:
                raise RuntimeError(
                    f"{self._killed} workers were killed, the last by {signal.Signals(-code).name}, which may mean "
                    f"that memory is short. Give fewer workers, and run the same command again to continue."
                )
            self.tell(f"worker {k + 1} was killed by {signal.Signals(-code).name}; another takes its trial")
            self._processes[k] = self._start()

    def __exit__(self, kind, *_) -> None:
        for process in self._processes:
            if kind is not None:
                process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
