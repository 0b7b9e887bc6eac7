"""Workers of a search as processes of this machine, started again when something kills them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# So many deaths by signal in one search are no accident.
_MOST = 10


class Crew:
    """Starts workers, and replaces one that was killed; it gets the dead one's name, and so its trial.

    Args:
        out: the directory of the search.
        size: how many.
        tell: is told of a replacement.
    """

    def __init__(self, out: Path, size: int, tell: Callable[[str], None]):
        self.out, self.tell = out, tell
        self._died = 0
        self._members: list[subprocess.Popen] = []
        self._size = size

    def __enter__(self) -> Crew:
        self._members = [self._start() for _ in range(self._size)]
        return self

    def _start(self) -> subprocess.Popen:
        command = ["search", "--role", "worker", "--out", str(self.out), "--parent", str(os.getpid())]
        return subprocess.Popen([sys.executable, "-m", "keras_resnets", *command])

    def watch(self) -> None:
        """Replaces workers that were killed.

        Raises:
            RuntimeError: one failed by itself, or they are killed again and again.
        """
        for k, member in enumerate(self._members):
            code = member.poll()
            if code is None or code == 0:
                continue
            if code > 0:  # it could not even begin, or the chief would know why
                raise RuntimeError(f"Worker {k + 1} failed, for the reason given above; the same command goes on.")
            self._died += 1
            if self._died > _MOST:
                raise RuntimeError(
                    f"{self._died} workers were killed, the last by {signal.Signals(-code).name}, as happens where "
                    f"memory is short. Give fewer workers; the same command goes on."
                )
            self.tell(f"worker {k + 1} was killed by {signal.Signals(-code).name}; another takes its trial")
            self._members[k] = self._start()

    def __exit__(self, kind, *_) -> None:
        for member in self._members:
            if kind is not None:
                member.terminate()
            try:
                member.wait(timeout=20)
            except subprocess.TimeoutExpired:
                member.kill()
                member.wait()
