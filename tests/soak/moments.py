"""Every moment at which a kill could come: before each change of the file system, all files are opened.

A kill leaves what lies there then. `kills` goes on from some of these states; here each of them is looked at.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

from soak import oracle
from soak.commands import COMMANDS
from soak.running import watched
from soak.stage import Stage


def subjects() -> list[str]:
    """Returns the commands that write, in this process."""
    return [name for name, command in COMMANDS.items() if not command.alone and not command.fresh]


def most(stage: Stage, subject: str) -> int:
    """Returns 1: all moments are of one run."""
    return 1


def run(stage: Stage, subject: str, number: int, rng: random.Random) -> dict[str, int]:
    """Runs a command once, and opens whatever it has written before each further change."""
    if COMMANDS[subject].missing:
        raise oracle.Skipped(str(COMMANDS[subject].missing))
    with stage.place(subject) as place, contextlib.ExitStack() as stack:
        found, look = place.path / "found", Looks(place.out)

        def before() -> None:
            stack.enter_context(watched(place.path, lambda: look(found)))

        ran = place.run(before=before)
        oracle.check_words(ran, "watched")
        if found.exists():
            raise oracle.Lost(found.read_text())
        stack.pop_all()
        return {"moments": ran.changes}


class Looks:
    """Opens the files of a folder that are new or have changed since the last look."""

    def __init__(self, folder: Path):
        self.folder, self.count = folder, 0
        self.seen: dict[Path, tuple[int, int]] = {}

    def __call__(self, found: Path | None = None) -> None:
        """Looks; what is not whole is raised, or written to a file."""
        self.count += 1
        for file in self.folder.rglob("*"):
            if any(part.startswith(".") for part in file.relative_to(self.folder).parts) or not file.is_file():
                continue
            stat = file.stat()
            if self.seen.get(file) == (stat.st_ino, stat.st_mtime_ns):
                continue
            self.seen[file] = stat.st_ino, stat.st_mtime_ns
            try:
                oracle.opens(file)
            except Exception as error:
                said = f"before change {self.count}, {file.relative_to(self.folder)}: {type(error).__name__}: {error}"
                if found is None:
                    raise oracle.Lost(said) from error
                with found.open("a") as handle:
                    handle.write(said + "\n")
