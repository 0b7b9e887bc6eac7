"""Files that are emptied, cut, changed by one bit, replaced by a folder or removed, and the commands that read them.

A command that is run again over damaged files ends with the undisturbed result, or is refused by a sentence that names
the file; it may leave a damaged file that it does not read, if whoever reads it is told.
"""

from __future__ import annotations

import collections
import random
import re
import shutil
import signal
from pathlib import Path

from soak import oracle
from soak.commands import COMMANDS
from soak.running import Ran, Stop
from soak.stage import Place, Stage, Undisturbed

AIM = 12
# Damages tried in one state of a folder, which is put back after each.
EACH = 6
KINDS = ("emptied", "cut", "flipped", "a folder", "gone")


def subjects() -> list[str]:
    """Returns the commands; those that start others go on from the same files as theirs."""
    return [name for name, command in COMMANDS.items() if not command.fresh]


def most(stage: Stage, subject: str) -> int:
    """Returns how many states are damaged."""
    return AIM


def harm(file: Path, kind: str, rng: random.Random) -> None:
    """Damages a file.

    Args:
        file: the file.
        kind: one of `KINDS`.
        rng: which bit is flipped.
    """
    content = bytearray(file.read_bytes())
    if kind == "emptied":
        file.write_bytes(b"")
    elif kind == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif kind == "flipped" and content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
    elif kind in ("a folder", "gone"):
        file.unlink()
        if kind == "a folder":
            file.mkdir()
            (file / "precious").write_text("kept")


def run(stage: Stage, subject: str, number: int, rng: random.Random) -> dict[str, int]:
    """Damages what a command wrote, finished or killed on the way, or what it reads."""
    if COMMANDS[subject].missing:
        raise oracle.Skipped(str(COMMANDS[subject].missing))
    undisturbed = stage.undisturbed(subject)
    command = COMMANDS[subject]
    states = [*([] if command.alone else ["finished", "stopped"]), *(["read"] if command.reads else [])]
    state = states[number % len(states)]
    came: collections.Counter[str] = collections.Counter()
    lost = []
    with stage.place(subject, own=state == "read") as place:
        if state == "finished":
            oracle.check_same(place.run(), place.out, undisturbed.files, state, command.timed)
        elif state == "stopped":
            share = (0.35, 0.6, 0.85)[number // len(states) % 3]
            place.run(Stop(signal.SIGKILL, change=1 + int(share * undisturbed.changes)))
        harmed = place.path / "base" / str(command.reads) if state == "read" else place.out
        files = [file for file in sorted(harmed.rglob("*")) if file.is_file() and not file.is_symlink()]
        if not files:
            return {"nothing written yet": 1}
        kept = place.path / "kept"
        shutil.copytree(harmed, kept)
        for _ in range(EACH):
            # Each file as often as another, but the checksums of files and what nobody reads again more seldom.
            file = rng.choice(files)
            if oracle.SEEN_BY_EYE.search(str(file.relative_to(harmed))):
                file = rng.choice(files)
            kind = rng.choice(KINDS)
            harm(file, kind, rng)
            what = f"{state}, {file.relative_to(harmed)} {kind}"
            try:
                came[judged(place, place.run(), file, kind, undisturbed, what)] += 1
            except oracle.Lost as error:
                lost.append(str(error))
            for folder, source in ((harmed, kept), (place.out, None)):
                if source or state == "read":
                    shutil.rmtree(folder, ignore_errors=True)
                    shutil.copytree(source, folder) if source else folder.mkdir()
    if lost:
        raise oracle.Lost("; ".join(lost))
    return dict(came)


def judged(place: Place, ran: Ran, file: Path, kind: str, undisturbed: Undisturbed, what: str) -> str:
    """Returns what came of a damage, in a word.

    Raises:
        Lost: a wrong result, or none without a sentence that names the file; a folder's content that is gone.
    """
    oracle.check_words(ran, what)
    if kind == "a folder" and not list(place.path.rglob("precious")):
        raise oracle.Lost(f"{what}: what was in the folder is gone")
    if ran.status:
        # The file is named, or the run whose file it is.
        name = file.name if file.name in ran.err else file.parent.name
        oracle.check_refused(ran, what, name)
        return "refused"
    # A report says on its page what is damaged.
    said = ran.err + "".join(page.read_text() for page in place.out.glob("report.html") if page.is_file())
    told = file.name in ran.err or "damaged" in said or f"{file.name}, is gone" in said
    different = [
        name
        for name in oracle.differences(oracle.contents(place.out, place.command.timed), undisturbed.files)
        if place.out / name != file
        and not re.search(r"checkpoints/(previous|best)\.", name)
        # What was in the way was moved aside, or stays in the folder.
        and not name.endswith(("/precious",))
    ]
    wrong = place.command.alone and place.words(ran) != undisturbed.out
    if (different or wrong) and not told:
        raise oracle.Lost(f"{what}: another result without a word: {', '.join(different[:4]) or 'what is printed'}")
    if different or wrong:
        return "told"
    name = str(file.relative_to(place.path)).partition("/")[2]
    if file.is_relative_to(place.out) and oracle.contents(place.out).get(name) != undisturbed.files.get(name):
        return "told" if told else left(file, name, what)
    return "mended and told" if told else "the same result"


def left(file: Path, name: str, what: str) -> str:
    """Returns that a damaged file which nothing read is told by its checksum, or is only looked at."""
    from keras_resnets.runs import changed, sound

    if oracle.SEEN_BY_EYE.search(name) or not file.exists() or file.is_dir() or changed(file) or not sound(file):
        return "not read, and seen by whoever reads it"
    raise oracle.Lost(f"{what}: it stays damaged, and nothing would tell")
