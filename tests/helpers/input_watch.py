"""Watches one call: how long it takes, what it writes and where, and whether it answers or refuses in one sentence."""

import contextlib
import faulthandler
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis

from keras_resnets.errors import ArgumentError, Notice

SECONDS = 60
# What a refusal may be, beside an `ArgumentError`: something is absent or cannot be read or written, or a library is
# not installed, or memory does not suffice. All of them are told as sentences.
DOCUMENTED = (ArgumentError, OSError, ImportError, MemoryError)
# What changes the file system, with the positions of its paths.
WRITES = {"os.mkdir": (0,), "os.rename": (0, 1), "os.remove": (0,), "os.rmdir": (0,), "os.link": (1,)}
WRITES |= {"os.symlink": (1,), "os.truncate": (0,), "shutil.rmtree": (0,), "os.chmod": (0,), "os.utime": (0,)}
# Where libraries and the interpreter keep what is not of the call.
ELSEWHERE = ("/dev/", "/proc/", "__pycache__", "/.hypothesis/", "/matplotlib/", "/.cache/")


class Fault(AssertionError):
    """A call did what no call may do."""


class Late(BaseException):
    """A call has not ended in time; nothing that it calls may take this for an error of its own."""


class Enough(BaseException):
    """The time to look for faults is over; Hypothesis hands on what is no `Exception`."""


@dataclass
class Tried:
    """How often a function or command was called, and what came of it."""

    examples: int = 0
    answered: int = 0
    refused: int = 0
    seconds: float = 0.0
    faults: Counter = field(default_factory=Counter)


TRIED: dict[str, Tried] = {}


@dataclass
class Search:
    """How faults are looked for.

    Attributes:
        all: whether to go on after a fault, so that one run finds all kinds; else the first is made small and raised.
        until: when to stop, as of `time.monotonic`.
    """

    all: bool = False
    until: float = float("inf")


SEARCH = Search()


def table():
    """What was tried, as rows of plain values."""
    return [
        {
            "name": name,
            **{k: getattr(t, k) for k in ("examples", "answered", "refused")},
            "seconds": round(t.seconds, 1),
        }
        | {"faults": dict(t.faults)}
        for name, t in sorted(TRIED.items())
    ]


class _Writes:
    """Notes writing outside of folders where it is allowed. There is one: hooks cannot be removed."""

    def __init__(self):
        self.allowed: tuple[str, ...] | None = None
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event, args):
        if self.allowed is None:
            return
        if event == "open":
            mode, flags = (args[1], args[2]) if len(args) > 2 else (None, 0)
            writing = (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            paths = [args[0]] if writing else []
        else:
            paths = [args[i] for i in WRITES.get(event, ()) if i < len(args)]
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike):
                text = os.path.abspath(os.fsdecode(path))
                if not text.startswith(self.allowed) and not any(part in text for part in ELSEWHERE):
                    self.seen.append(f"{event} {text!r}")


WRITTEN = _Writes()


def _late(*_):
    raise Late


@contextlib.contextmanager
def limited(seconds=SECONDS):
    """Ends what takes longer: by an exception in Python, and the process in code that does not come back to it."""
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(4 * seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    except Late:
        raise Fault(f"not done after {seconds} s") from None
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def sentence(text):
    """Demands that a refusal is one sentence that can be read."""
    if "\n" in text or "\r" in text:
        raise Fault(f"a refusal of several lines: {text!r}")
    if len(text) >= 700:
        raise Fault(f"a refusal of {len(text)} characters: {text!r}")
    if not text.startswith("[Errno") and (not text or text[-1] not in ".?)"):  # the system's words, with the path
        raise Fault(f"a refusal that is no sentence: {text!r}")


def ask(name, call, *, out=(), work=None, seconds=SECONDS):
    """Calls something; returns its answer and None, or None and the sentence that refused it.

    Args:
        name: of the function or command, in the table of what was tried.
        call: what is called.
        out: folders in which it may write.
        work: a folder that is made the working directory meanwhile.
        seconds: how long it may take.

    Raises:
        Fault: it raised something else, was not done in time, or wrote elsewhere.
    """
    tried = TRIED.setdefault(name, Tried())
    if time.monotonic() > SEARCH.until and (SEARCH.all or not tried.faults):  # a fault is still made small
        raise Enough
    tried.examples += 1
    begun = time.perf_counter()
    try:
        return _ask(tried, call, tuple(map(str, out)), work, seconds)
    except Fault as fault:
        tried.faults[_kind(fault)] += 1
        if SEARCH.all:
            print(f"{name}: {_kind(fault)}", file=sys.__stderr__, flush=True)
            hypothesis.reject()
        raise
    finally:
        tried.seconds += time.perf_counter() - begun


def _kind(fault):
    """What went wrong, and where in the package."""
    cause = fault.__cause__
    if cause is None:
        return str(fault)[:160]
    frames = [f for f in traceback.extract_tb(cause.__traceback__) if "/keras_resnets/" in f.filename]
    where = "".join(f" < {f.filename.partition('/keras_resnets/')[2]}:{f.lineno}" for f in frames[-1:-4:-1])
    return f"{type(cause).__name__}: {' '.join(str(cause).split())[:90]}{where}"


def _ask(tried, call, out, work, seconds):
    here = os.getcwd()
    if work is not None:
        os.chdir(work)
    WRITTEN.seen, WRITTEN.allowed = [], tuple(os.path.abspath(o) for o in out) or ("\0",)
    value = refusal = None
    try:
        with limited(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)
            value = call()
    except DOCUMENTED as error:
        refusal = str(error)
    except Fault:
        raise
    except Exception as error:
        raise Fault(f"{type(error).__name__}: {error}") from error
    finally:
        WRITTEN.allowed = None
        os.chdir(here)
    if WRITTEN.seen:
        raise Fault(f"wrote elsewhere: {WRITTEN.seen[:3]}")
    if refusal is not None:
        sentence(refusal)
        tried.refused += 1
    else:
        tried.answered += 1
    return value, refusal


def snapshot(folder):
    """Returns what lies in a folder: names, kinds, sizes and times."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (status.st_mode, path.is_dir() or (status.st_size, status.st_mtime_ns))
    return found


def write_table(path):
    Path(path).write_text(json.dumps(table(), indent=1))
