"""The folders of a soak: what commands read, the undisturbed results, and a place for each case."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from soak import oracle
from soak.commands import COMMANDS, PREPARED, materials
from soak.running import Ran, Stop, run


@dataclass(frozen=True)
class Undisturbed:
    """What a command does when nothing happens: files and their size, words, changes of the file system, time."""

    files: dict[str, Any]
    out: str
    changes: int
    seconds: float
    bytes: int = 0


class Place:
    """The folder of one case: `base`, which its command reads, and `out`, which it writes.

    Args:
        path: the folder.
        base: what `base` shows, or is a copy of.
        command: a name of `COMMANDS`.
        said: a folder for what the command says.
        own: whether `base` is a copy, which may be damaged.
    """

    def __init__(self, path: Path, base: Path, command: str, said: Path, own: bool = False):
        self.path, self.said, self.command = path, said, COMMANDS[command]
        self.out = path / "out"
        self.out.mkdir()
        if own:
            shutil.copytree(base, path / "base", symlinks=True)
        else:
            (path / "base").symlink_to(base)

    def run(self, stop: Stop | None = None, **options: Any) -> Ran:
        """Runs the command here."""
        options.setdefault("fresh", self.command.fresh)
        return run(self.arguments, self.said, stop=stop, under=self.path, **options)

    @property
    def arguments(self) -> list[str]:
        return self.command.arguments(self.path / "base", self.out)

    def words(self, ran: Ran) -> str:
        """Returns what a command printed, without the name of this folder."""
        return ran.out.replace(str(self.path), "PLACE")

    def check_same(self, ran: Ran, undisturbed: Undisturbed, what: str) -> None:
        """Raises `Lost` unless the command did what it does undisturbed."""
        oracle.check_same(ran, self.out, undisturbed.files, what, self.command.timed)
        if self.command.alone and self.words(ran) != undisturbed.out:
            raise oracle.Lost(f"{what}: it printed another result")


class Stage:
    """The folders of a soak.

    Args:
        work: where they are.
    """

    def __init__(self, work: Path):
        self.work, self.base = work.absolute(), work.absolute() / "base"
        self._known: dict[str, Undisturbed] = {}

    def prepare(self) -> None:
        """Makes what commands read, once."""
        if (self.base / "done").exists():
            return
        shutil.rmtree(self.base, ignore_errors=True)
        materials(self.base)
        for line in PREPARED:
            ran = run([word.format(base=self.base) for word in line.split()], self.work / "said")
            if ran.status:
                raise SystemExit(f"soak: what commands read could not be made: keras-resnets {line}: {ran.err}")
        (self.base / "done").write_text("")

    @contextlib.contextmanager
    def place(self, command: str, *, own: bool = False, at: Path | None = None) -> Iterator[Place]:
        """Yields a new place for a command, and removes it.

        Args:
            command: a name of `COMMANDS`.
            own: whether it has a copy of `base`.
            at: the folder in which to make it; by default that of the soak.
        """
        parent = at or self.work / "places"
        parent.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix="case", dir=parent))
        try:
            yield Place(path, self.base, command, self.work / "said", own)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def undisturbed(self, command: str) -> Undisturbed:
        """Returns the undisturbed result of a command, which is made once, and twice the same."""
        if command not in self._known:
            file = self.work / "undisturbed" / f"{command.replace(' ', '_')}.json"
            if not file.exists():
                self._make(command, file)
            self._known[command] = Undisturbed(**json.loads(file.read_text()))
        return self._known[command]

    def _make(self, command: str, file: Path) -> None:
        """Runs a command twice; what differs between them is no measure for others."""
        found = []
        for _ in range(2):
            with self.place(command) as place:
                ran = place.run()
                oracle.check_words(ran, "undisturbed")
                if ran.status:
                    raise oracle.Lost(f"undisturbed: status {ran.status}: {ran.err[-400:]!r}")
                oracle.check_clean(place.out, "undisturbed")
                files = oracle.contents(place.out, place.command.timed)
                size = sum(file.stat().st_size for file in place.out.rglob("*") if file.is_file())
                found.append(Undisturbed(files, place.words(ran), ran.changes, ran.seconds, size))
        if different := oracle.differences(found[0].files, found[1].files):
            raise oracle.Lost(f"two undisturbed runs differ in {', '.join(different)}")
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(asdict(found[0])))
        part.replace(file)
