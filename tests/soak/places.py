"""Faults of the place a command works in: disk, target, clock, another process, its output, its working directory."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from soak import oracle
from soak.commands import COMMANDS
from soak.kills import moment
from soak.running import Ran, start
from soak.running import run as run_command
from soak.stage import Stage

AIM = 40
_DAYS = 10 * 86400.0


def subjects() -> list[str]:
    """Returns the faults."""
    return list(FAULTS)


def most(stage: Stage, subject: str) -> int:
    """Returns how many commands meet a fault."""
    return AIM


def run(stage: Stage, subject: str, number: int, rng: random.Random) -> str:
    """Has a command meet a fault; commands take turns."""
    names = [name for name, command in COMMANDS.items() if not command.missing and not command.fresh]
    name = names[(number + list(FAULTS).index(subject)) % len(names)]
    try:
        return FAULTS[subject](stage, name, number, rng)
    except oracle.Lost as error:
        raise oracle.Lost(f"{name}: {error}") from None


@contextlib.contextmanager
def _file_system(size: int) -> Iterator[Path]:
    """Yields the folder of a new file system in memory, of some bytes."""
    folder = Path(tempfile.mkdtemp(prefix="soak"))
    try:
        said = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True)
        if said.returncode:
            raise oracle.Skipped("no small file system can be mounted here, which takes root's rights")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    finally:
        folder.rmdir()


def _remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def disk_full(stage: Stage, name: str, number: int, rng: random.Random) -> str:
    """The disk is full at some byte; when there is room again, the same command goes on."""
    undisturbed = stage.undisturbed(name)
    if COMMANDS[name].alone:
        name = "convert"
        undisturbed = stage.undisturbed(name)
    size = 4096 * rng.randrange(4, 4 + max(8, undisturbed.bytes // 4096))
    with _file_system(size) as disk, stage.place(name, at=disk) as place:
        ran = place.run()
        what = f"a disk of {size} bytes"
        came = "there was room"
        if ran.status:
            oracle.check_refused(ran, what, str(place.path))
            if "space" not in ran.err:
                raise oracle.Lost(f"{what}: the sentence does not say that the disk is full: {ran.err[-400:]!r}")
            oracle.check_clean(place.out, what, refused=True)
            came = "refused, then gone on"
        _remount(disk, "size=1g")
        place.check_same(place.run(), undisturbed, what)
    return came


def file_too_large(stage: Stage, name: str, number: int, rng: random.Random) -> str:
    """No file may be longer than some bytes; without the limit, the same command goes on."""
    if COMMANDS[name].alone:
        name = "convert"
    undisturbed = stage.undisturbed(name)
    limit = int(rng.choice([0, 100, 2000, 20_000, 60_000, 200_000]) * (0.5 + rng.random()))
    what = f"files of at most {limit} bytes"
    with stage.place(name) as place:
        ran = place.run(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        came = "there was room"
        if ran.status:
            if len(ran.err) < limit:  # else it could not even say so
                oracle.check_refused(ran, what, str(place.path))
            oracle.check_clean(place.out, what, refused=True)
            came = "refused, then gone on"
        place.check_same(place.run(), undisturbed, what)
    return came


def read_only(stage: Stage, name: str, number: int, rng: random.Random) -> str:
    """The target cannot be written to: a sentence; or what is read lies where nothing can be written: the result."""
    undisturbed = stage.undisturbed(name)
    with _file_system(2**28) as disk, stage.place(name, at=disk, own=number % 2 == 1) as place:
        if COMMANDS[name].alone or number % 2:
            own = Path(tempfile.mkdtemp(prefix="out", dir=stage.work))
            shutil.rmtree(place.out)
            place.out.symlink_to(own)
            _remount(disk, "ro")
            try:
                place.check_same(place.run(), undisturbed, "what it reads cannot be written to")
            finally:
                shutil.rmtree(own)
                _remount(disk, "rw")
            return "read all the same"
        _remount(disk, "ro")
        oracle.check_refused(place.run(), "a target that cannot be written to", str(place.path))
        _remount(disk, "rw")
    return "refused"


def clock_backwards(stage: Stage, name: str, number: int, rng: random.Random) -> str:
    """A command is killed, and goes on ten days earlier: its files are of the future."""
    undisturbed = stage.undisturbed(name)
    now = time.time

    def earlier() -> None:
        time.time = lambda: now() - _DAYS

    with stage.place(name) as place:
        stop = moment(undisturbed, number, rng, signal.SIGKILL)
        place.run(stop)
        for path in [place.out, *place.out.rglob("*")]:
            os.utime(path, (now() + _DAYS, now() + _DAYS))
        place.check_same(place.run(before=earlier), undisturbed, f"the clock was put back after {stop}")
    return "gone on"


def two_processes(stage: Stage, name: str, number: int, rng: random.Random) -> str:
    """Two of the same command at a time: one works, and the other is refused or has the same result."""
    undisturbed = stage.undisturbed(name)
    with stage.place(name) as place:
        first = start(place.arguments, place.said, under=place.path)
        time.sleep(rng.random() * undisturbed.seconds * 0.8)
        second = start(place.arguments, place.said, under=place.path)
        ends = [second(), first()]
        for ran in ends:
            oracle.check_words(ran, "two processes")
            if ran.status:
                oracle.check_refused(ran, "two processes", str(place.path))
        if all(ran.status for ran in ends):
            raise oracle.Lost("two processes: both were refused")
        place.check_same(place.run(), undisturbed, "two processes")
    return "one refused" if any(ran.status for ran in ends) else "both ended"


def output_closed(stage: Stage, name: str, number: int, rng: random.Random) -> str:
    """Nobody reads what a command prints, as with `| head -1`: it ends without a traceback, with its files."""
    undisturbed = stage.undisturbed(name)
    with stage.place(name) as place:
        arguments = [word for word in place.arguments if word not in ("--quiet", "--json")]
        arguments += [["--json"], ["--quiet"], []][number % 3]
        read, write = os.pipe()
        os.close(read)
        err = place.path / "err"
        with open(err, "wb") as file:
            line = [sys.executable, "-m", "keras_resnets", *arguments]
            status = subprocess.run(line, stdout=write, stderr=file, cwd=place.path).returncode
        os.close(write)
        ran = Ran(status, "", err.read_text(), 0, 0)
        oracle.check_words(ran, f"output closed, {arguments[-1]}")
        place.check_same(place.run(), undisturbed, "output closed before")
    return f"status {status}, then the same result"


def directory_gone(stage: Stage, name: str, number: int, rng: random.Random) -> str:
    """The working directory is removed before the command, which gets absolute paths, or a relative one to write."""
    undisturbed = stage.undisturbed(name)
    with stage.place(name) as place:
        gone = place.path / "gone"
        gone.mkdir()

        def leave() -> None:
            os.chdir(gone)
            gone.rmdir()

        if number % 2 and not COMMANDS[name].alone:
            arguments = COMMANDS[name].arguments(place.path / "base", Path("out"))
            ran = run_command(arguments, place.said, before=leave)
            oracle.check_refused(ran, "a relative path in a working directory that is gone", "out")
            return "refused"
        place.check_same(place.run(before=leave), undisturbed, "the working directory is gone")
    return "the same result"


FAULTS: dict[str, Callable[[Stage, str, int, random.Random], str]] = {
    "disk full": disk_full,
    "file too large": file_too_large,
    "read-only": read_only,
    "clock backwards": clock_backwards,
    "two processes": two_processes,
    "output closed": output_closed,
    "working directory gone": directory_gone,
}
