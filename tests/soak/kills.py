"""Kills without a warning: before a change of the file system, or at any moment; then the same command goes on."""

from __future__ import annotations

import random
import signal

from soak.commands import COMMANDS
from soak.oracle import Lost, Skipped
from soak.running import Stop
from soak.stage import Stage, Undisturbed

# Kills per command that the soak aims at.
AIM = 50


def subjects() -> list[str]:
    """Returns the commands."""
    return list(COMMANDS)


def most(stage: Stage, subject: str) -> int:
    """Returns how many kills a command gets."""
    return AIM


def moment(undisturbed: Undisturbed, number: int, rng: random.Random, kind: int, fresh: bool = False) -> Stop:
    """Returns when the n-th process is stopped: two of three at a change, spread over all of them."""
    if number % 3 < 2 and undisturbed.changes and not fresh:
        spread = (number * 0.6180339887 + rng.random() / 50) % 1  # the golden ratio leaves no gaps
        return Stop(kind, change=1 + int(spread * undisturbed.changes))
    return Stop(kind, seconds=rng.random() * undisturbed.seconds)


def run(stage: Stage, subject: str, number: int, rng: random.Random) -> str:
    """Kills a command once or twice, and lets it go on to its end."""
    if COMMANDS[subject].missing:
        raise Skipped(str(COMMANDS[subject].missing))
    undisturbed = stage.undisturbed(subject)
    with stage.place(subject) as place:
        said, came = [], "too late"
        for again in range(2 if number % 5 == 4 else 1):
            stop = moment(undisturbed, number + 7 * again, rng, signal.SIGKILL, place.command.fresh)
            ran = place.run(stop)
            said.append(str(stop))
            if ran.status == -signal.SIGKILL:
                came = "gone on"
            elif ran.status:
                raise Lost(f"{', '.join(said)}: status {ran.status}: {ran.err[-400:]!r}")
        place.check_same(place.run(), undisturbed, ", ".join(said))
    return came
