"""Evaluates programs round after round, each going on from what the last one computed.

A greedy choice measures all deletions of one more block, chooses one, and measures all deletions of one more again. Up
to the block that was chosen, the networks of a round are those of the last one, and so are their activations there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_resnets.instruments.beginnings import Known, beginnings, bytes_of
from keras_resnets.instruments.lanes import Lanes, Program
from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.runs import fingerprint


@dataclass
class _Batch:
    """Where the lanes of one batch stood in the last round: by number of steps, the beginnings and their rows."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    places: dict[int, list[tuple[list[int], Any]]] = field(default_factory=dict)


class Rounds:
    """Evaluates programs as `Lanes` does, and remembers activations for the next round.

    What is remembered are the activations behind some links, for every lane. The next programs start behind the last of
    these links up to which they all are programs of the last round. Results are the same, to the bit. A batch is
    recognised by its contents; one that is new, or for which there was no memory left, is walked from its start. The
    network's weights must stay what they are.

    Args:
        lanes: evaluates the programs.
        examples: how many examples there are; None if that is not known: then as many are remembered as there is
            memory for.
        limit: the largest number of bytes to remember.

    Attributes:
        held: the bytes that are remembered.
        full: whether there was not enough memory for all batches.
    """

    def __init__(self, lanes: Lanes, examples: int | None, limit: int):
        self.lanes, self.limit = lanes, limit
        self.places = places(lanes.chain, examples, limit)
        self.held, self.full = 0, False
        self._batches: dict[str, _Batch] = {}
        self._known: Known = {}
        self._round: tuple[Sequence[Program], list[dict[int, int]]] = ((), [])
        self._lock = threading.Lock()

    def rows(self, most: int) -> int:
        return self.lanes.rows(most)

    def outputs(self, x, programs: Sequence[Program], tick: Callable[[int], None] | None = None) -> np.ndarray:
        """Returns the outputs of `Lanes.outputs`."""
        contents = fingerprint([x])
        with self._lock:
            batch = self._batches.setdefault(contents, _Batch())
            if self._round[0] is not programs:
                self._round = programs, [self._beginnings(program) for program in programs]
            numbers = self._round[1]
        with batch.lock:  # of two equal batches, the second finds what the first left
            return self.lanes.outputs(x, programs, tick, _Past(self, batch, numbers))

    def _beginnings(self, program: Program) -> dict[int, int]:
        """Returns, for each place, the number that stands for the program's steps up to there."""
        numbers = enumerate(beginnings(program.steps, self._known), 1)
        return {n: number for n, number in numbers if n in self.places or n == len(program.steps)}

    @property
    def told(self) -> str:
        """What a progress bar adds to its label: whether some of the work is done again for want of memory."""
        return ", too large to remember whole: a larger budget is faster" if self.full else ""

    def hold(self, size: int) -> bool:
        """Returns whether that many bytes more may be remembered, and counts them."""
        with self._lock:
            fits = self.held + size <= self.limit
            self.held += size * fits
            self.full |= not fits
        return fits


class _Past:
    """What a walk along the chain takes from the last round, and leaves to the next."""

    def __init__(self, rounds: Rounds, batch: _Batch, numbers: list[dict[int, int]]):
        self.rounds, self.batch, self.numbers = rounds, batch, numbers

    def starts(self, programs: Sequence[Program]) -> tuple[list[tuple[Any, list[list[int]], int]], list[int]]:
        """Returns rows, lanes and steps to go on from, and the programs that must be walked from the start."""
        # The whole network is the first program of every round, and needs no step at all.
        pending, left, end = [], list(range(len(programs))), len(programs[0].steps)
        ended = self._at(end)
        finished = [i for i in left if self.numbers[i][end] in ended]
        if finished:
            pending.append((*self._restored(finished, end), end))
            left = [i for i in left if i not in set(finished)]

        # All others go on from one place, so that they stay together.
        known = [n for n in self.batch.places if n < end]
        known = [n for n in known if self._at(n).keys() >= {self.numbers[i][n] for i in left}]
        start = max(known, default=0) if left else end
        self._forget(n for n in list(self.batch.places) if start < n < end)
        if start and left:
            pending.append((*self._restored(left, start), start))
            left = []
        return pending, left

    def keep(self, rows, lanes: list[list[int]], step: int) -> None:
        """Remembers rows behind a link, if it is a place for that."""
        end = max(self.numbers[0])
        if step == end:
            lanes = [lane for lane in lanes if 0 in lane]
            rows = rows.chosen([0]) if lanes else rows
        if not lanes or (step != end and step not in self.rounds.places) or not self.rounds.hold(rows.nbytes):
            return
        standing = [self.numbers[lane[0]][step] for lane in lanes]
        self.batch.places.setdefault(step, []).append((standing, rows))

    def _at(self, place: int) -> dict[int, tuple[int, int]]:
        """Returns the part and the lane of each beginning that is remembered at a place."""
        parts = self.batch.places.get(place, [])
        return {number: (i, lane) for i, (numbers, _) in enumerate(parts) for lane, number in enumerate(numbers)}

    def _restored(self, programs: list[int], place: int) -> tuple[Any, list[list[int]]]:
        """Returns the rows at a place, and the programs of each lane."""
        at: dict[int, tuple[int, int]] = self._at(place)
        by_part: dict[int, dict[int, list[int]]] = {}
        for i in programs:
            part, lane = at[self.numbers[i][place]]
            by_part.setdefault(part, {}).setdefault(lane, []).append(i)
        parts = self.batch.places[place]
        rows = [parts[i][1].chosen(list(lanes)) for i, lanes in by_part.items()]
        return type(rows[0]).joined(rows), [lane for lanes in by_part.values() for lane in lanes.values()]

    def _forget(self, places: Iterable[int]) -> None:
        for place in places:
            self.rounds.hold(-sum(rows.nbytes for _, rows in self.batch.places.pop(place)))


def places(chain: Sequence[keras.Layer], examples: int | None, limit: int) -> set[int]:
    """Returns behind how many links to remember activations, so that they fit and save most.

    Any block is as likely to be chosen as another; where the activations before it are remembered, the blocks before
    that place are not run again, for any lane. Places are added by what they save for their bytes.

    Args:
        chain: the links.
        examples: as for `Rounds`.
        limit: as for `Rounds`.
    """
    # For each number of links: the lanes that there are, the blocks that they have run, and the bytes of their rows.
    is_block = np.array([isinstance(link, ResidualBlock) for link in chain])
    lanes = 1 + np.cumsum(is_block)
    run = np.cumsum(lanes * is_block)
    sizes = [bytes_of(link.output.shape[1:], link.output.dtype) for link in chain]
    cost = lanes * np.array(sizes, float) * (examples or 1)

    # The last link ends the walk.
    chosen: list[int] = []
    saved = np.zeros(len(chain), int)  # what is saved by a choice behind each link
    while True:
        gain = np.array([(np.maximum(run[n] - saved, 0) * is_block)[n + 1 :].sum() for n in range(len(chain))], float)
        gain[[*chosen, len(chain) - 1]] = 0
        fits = gain * (cost + cost[chosen].sum() <= limit)
        if examples is None or (not chosen and not fits.any()):
            fits = gain * (len(chosen) == 0)  # some of the examples
        if not fits.any():
            return {n + 1 for n in chosen}
        best = int(np.argmax(fits / cost))
        chosen.append(best)
        saved[best + 1 :] = np.maximum(saved[best + 1 :], run[best])
