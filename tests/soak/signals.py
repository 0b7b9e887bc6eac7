"""Ctrl-C and SIGTERM at any moment: a word and the status 1, and then the same command goes on."""

from __future__ import annotations

import random
import signal

from keras_resnets.__main__ import STOPPED
from soak import oracle
from soak.commands import COMMANDS
from soak.kills import moment
from soak.running import Stop
from soak.stage import Stage

AIM = 12
# Seconds that a process which is started anew takes to import everything, and more.
_START = 12.0
# Seconds that one that is forked may take to reach the command on a busy machine.
_FORK = 0.2


def subjects() -> list[str]:
    """Returns the commands."""
    return list(COMMANDS)


def most(stage: Stage, subject: str) -> int:
    """Returns how often a command is stopped."""
    return AIM


def run(stage: Stage, subject: str, number: int, rng: random.Random) -> str:
    """Stops a command by a signal; each fourth is in a process that is started anew, most often while it imports."""
    if COMMANDS[subject].missing:
        raise oracle.Skipped(str(COMMANDS[subject].missing))
    undisturbed = stage.undisturbed(subject)
    kind = signal.SIGINT if number % 2 else signal.SIGTERM
    with stage.place(subject) as place:
        fresh = number % 4 == 3 or place.command.fresh
        stop = moment(undisturbed, number, rng, kind)
        if fresh:
            stop = Stop(kind, seconds=0.5 + rng.random() * (_START + undisturbed.seconds))
        ran = place.run(stop, fresh=fresh)
        what = f"{stop}{' of a new process' if fresh else ''}"
        came = "stopped with a word"
        if ran.status == 0:
            came = "too late"
        elif ran.status == -kind:
            # Before the command is reached there is nobody to say a word.
            began = not fresh and (stop.seconds is None or stop.seconds > _FORK)
            if began or ran.out or ran.err:
                raise oracle.Lost(f"{what}: it ended without a word: {ran.err[-400:]!r}")
            came = "stopped before it began"
        else:
            oracle.check_words(ran, what)
            if ran.status != 1 or STOPPED not in ran.err:
                raise oracle.Lost(f"{what}: status {ran.status}: {ran.err[-400:]!r}")
        place.check_same(place.run(), undisturbed, what)
    return came
