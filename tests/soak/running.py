"""Runs a command of the package in a process that can be killed at any of its writes, or at any moment.

The process is forked from one that has imported everything and computed nothing, which saves the seconds that an import
of TensorFlow takes; faults in starting and ending are looked for in a process that is started anew.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Seconds after which a command is stuck, on a busy machine.
STUCK = 300
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}


@dataclass(frozen=True)
class Stop:
    """When a command is sent a signal.

    Attributes:
        signal: such as `signal.SIGKILL`.
        change: before its n-th change of the file system, from 1; None for none.
        seconds: after so many seconds; None for none.
    """

    signal: int
    change: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        where = f"change {self.change}" if self.change is not None else f"{self.seconds:.2f} s"
        return f"{signal.Signals(self.signal).name} at {where}"


@dataclass(frozen=True)
class Ran:
    """How a command ended: its status (minus the signal that killed it), its words, its changes of the file system."""

    status: int
    out: str
    err: str
    changes: int
    seconds: float


def warm() -> None:
    """Imports all that commands import, and computes nothing, so that forked processes can."""
    from keras_resnets.commands import console

    console.start()
    import keras_resnets

    names = ["pandas", "matplotlib.pyplot", "sklearn.datasets", "h5py", "safetensors.numpy", "PIL.Image", "scipy.stats"]
    names += ["ai_edge_litert.interpreter", "keras_resnets.commands.cli"]
    names += [name for _, name, _ in pkgutil.walk_packages(keras_resnets.__path__, "keras_resnets.")]
    for name in names:
        if not name.endswith(("__main__", "hdf5_child")):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def run(arguments: Sequence[str], where: Path, **options: Any) -> Ran:
    """Runs `keras-resnets` to its end, or to the signal; arguments are those of `start`."""
    return start(arguments, where, **options)()


def start(
    arguments: Sequence[str],
    where: Path,
    *,
    stop: Stop | None = None,
    before: Callable[[], None] = lambda: None,
    fresh: bool = False,
    under: Path | None = None,
) -> Callable[[], Ran]:
    """Begins to run `keras-resnets`.

    Args:
        arguments: of the command line.
        where: the folder for what it says; also its working directory.
        stop: when it is sent a signal.
        before: called in the forked process before the command.
        fresh: whether to start Python anew; `before` and changes are then not observed.
        under: the folder whose changes count; by default `where`.

    Returns:
        What waits for its end, or for the signal.
    """
    where.mkdir(parents=True, exist_ok=True)
    files = [where / f"{time.monotonic_ns()}.{name}" for name in ("out", "err", "changes")]
    for file in files[:2]:
        file.touch()  # a process that is killed at once would not get to it
    began = time.monotonic()
    if fresh:
        with open(files[0], "wb") as out, open(files[1], "wb") as err:
            line = [sys.executable, "-m", "keras_resnets", *arguments]
            pid = subprocess.Popen(line, stdout=out, stderr=err, cwd=where, process_group=0).pid
    else:
        pid = os.fork()
        if pid == 0:
            _child(arguments, where, files, stop, before, under or where)

    def end() -> Ran:
        status = _wait(pid, began, stop.seconds if stop else None, stop.signal if stop else 0)
        out, err = (file.read_text(errors="replace") for file in files[:2])
        changes = int(files[2].read_text()) if files[2].exists() else 0
        for file in files:
            file.unlink(missing_ok=True)
        return Ran(status, out, err, changes, time.monotonic() - began)

    return end


def _child(arguments, where: Path, files: list[Path], stop: Stop | None, before, under: Path) -> None:
    """Is the forked process; never returns."""
    status = 70
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(where)
        for number, file in enumerate(files[:2], 1):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
        sys.argv = ["keras-resnets", *arguments]
        counted = _count(str(under), stop)
        before()
        from keras_resnets.commands import cli

        status = cli.main(list(arguments))
        files[2].write_text(str(counted[0]))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _is_change(event: str, arguments, under: str) -> bool:
    """Whether an audit event is a change of the file system below a folder that is about to happen."""
    if event == "open":
        path, _, flags = arguments
        if not isinstance(path, str | os.PathLike) or not isinstance(flags, int) or not flags & 3:
            return False
    elif event in _CHANGES:
        path = arguments[0]
    else:
        return False
    path = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    # Paths relative to an open folder are those of `shutil.rmtree`.
    return isinstance(path, str) and bool(path) and (not os.path.isabs(path) or path.startswith(under))


def _count(under: str, stop: Stop | None) -> list[int]:
    """Counts this process's changes of files below a folder, and sends it the signal before the n-th."""
    counted = [0]

    def hook(event: str, arguments) -> None:
        if not _is_change(event, arguments, under):
            return
        counted[0] += 1
        if stop is not None and counted[0] == stop.change:
            os.kill(os.getpid(), stop.signal)

    sys.addaudithook(hook)
    return counted


@contextlib.contextmanager
def watched(under: Path, look: Callable[[], None]) -> Iterator[None]:
    """Calls a function before each change of files below a folder by this process, at which a kill could come.

    What lies there then is what a kill would leave.
    """
    active = True

    def hook(event: str, arguments) -> None:
        nonlocal active
        if active and _is_change(event, arguments, str(under)):
            active = False
            try:
                look()
            finally:
                active = True

    sys.addaudithook(hook)  # for as long as the process lives
    try:
        yield
    finally:
        active = False


def _wait(pid: int, began: float, after: float | None, number: int) -> int:
    """Waits for a process, which is sent a signal after some seconds, and killed when it is stuck."""
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # what it started and left behind
            return os.waitstatus_to_exitcode(status)
        passed = time.monotonic() - began
        if after is not None and passed >= after:
            os.kill(pid, number)
            after = None
        if passed > STUCK:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGALRM
        time.sleep(0.005)
