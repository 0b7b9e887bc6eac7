"""What evaluations of many programs share: the beginnings of the programs, and activations of an earlier walk."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import keras

# Numbers for beginnings of programs, each by that of the beginning without its last step, and the last step.
Known = dict[tuple[int, tuple[int, str]], int]


def beginnings(steps: Sequence[tuple[int, str]], known: Known) -> Iterator[int]:
    """Yields, for each number of steps, the number that stands for the steps up to there.

    Args:
        steps: those of a program.
        known: what the numbers stand for; new ones are entered.
    """
    number = -1
    for step in steps:
        number = known.setdefault((number, step), len(known))
        yield number


def bytes_of(shape: Sequence[int | None], dtype: Any) -> int:
    """Returns the bytes of a tensor, or, of a shape without rows, those of an example; an unknown side counts as 1."""
    bits = re.search(r"\d+$", keras.backend.standardize_dtype(dtype))
    return math.prod(n or 1 for n in shape) * (int(bits[0]) // 8 if bits else 1)


class Past(Protocol):
    """What a walk takes from an earlier one, and leaves to a later one: as of `rounds.Rounds`."""

    def starts(self, programs: Sequence[Any]) -> tuple[list[tuple[Any, list[list[int]], int]], list[int]]: ...

    def keep(self, rows: Any, lanes: list[list[int]], step: int) -> None: ...
