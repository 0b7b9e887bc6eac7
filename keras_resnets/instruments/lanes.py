"""Evaluates many edited copies of a network in one walk along its chain.

A program describes a way through the chain: an order of links with a choice for each. Programs that
agree up to a link share the computation up to there; from where they differ, each is a lane, a
group of additional rows in the batch. Deleting each of N blocks in turn thus costs about half of
the N + 1 forward passes in arithmetic, and less in overhead, and no program needs a new trace.
"""

from __future__ import annotations

import collections
import functools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnets.data.batches import check_inputs
from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.instruments.beginnings import Known, Past, beginnings, bytes_of
from keras_resnets.instruments.differentiation import without_gradients
from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.tracing import TracedOnce, any_rows, called, stateless, with_values

CHOICES = BOTH, RESIDUAL, SHORTCUT = "both", "residual", "shortcut"

# Default bound, in bytes, on a link's input, output and intermediate values for all lanes evaluated at once.
MEMORY = 2**30

# How many tensors of the size of a link's input its computation holds at once, with the allocator's overhead: measured.
COPIES = 16

# For each next step (link and choice), the lanes that take it and which of their programs do.
Groups = dict[tuple[int, str], list[tuple[int, list[int]]]]


@dataclass(frozen=True)
class Program:
    """A way through the chain: for each step, the index of a link and which branches to use."""

    steps: tuple[tuple[int, str], ...]


@explained
def program(
    model: ResidualNetwork, choices: dict[int, str] | None = None, order: Sequence[int] | None = None
) -> Program:
    """Returns the program that runs the chain with the given choices and order of its blocks.

    Args:
        model: the network.
        choices: for some indices of `model.blocks`, `"residual"` or `"shortcut"` instead of both.
        order: the indices of all blocks in a new order; other links stay in place.
    """
    choices, places = choices or {}, [i for i, link in enumerate(model.chain) if isinstance(link, ResidualBlock)]
    steps = [(i, BOTH) for i in range(len(model.chain))]
    if order is not None and sorted(order) != list(range(len(places))):
        raise ArgumentError(f"order must hold each number from 0 to {len(places) - 1} once; got {order!r}.")
    for place, block in zip(places, range(len(places)) if order is None else order, strict=True):
        steps[place] = (places[block], choices.get(block, BOTH))
    return Program(tuple(steps))


@explained
def work(programs: Sequence[Program]) -> int:
    """Returns how many links an evaluation of the programs runs, with shared beginnings counted once."""
    known: Known = {}
    for path in programs:
        collections.deque(beginnings(path.steps, known), maxlen=0)
    return len(known)


@explained
def traced(run: Callable, link: keras.Layer) -> Callable:
    """Returns `run`, a function of a link's input that reads its variables, traced once for this link."""
    function = TracedOnce(lambda _, values, x: with_values(link, values, run, x), any_rows)
    return functools.partial(function, link)


class Lanes:
    """Evaluates programs on a network.

    Args:
        model: the network; its weights are read at every call.
        budget: bytes for a link's input, output and intermediate values, as estimated from their
            shapes; programs that would need more are evaluated in groups, one after the other. At
            least one program is evaluated at a time.
        others: additional choices by name: for a link, the function of its input that replaces it.
    """

    def __init__(
        self,
        model: ResidualNetwork,
        budget: int = MEMORY,
        others: Mapping[str, Callable[[keras.Layer], Callable]] | None = None,
    ):
        self.input_shape = tuple(model.input_shape[1:])
        self.chain, self.budget, self.others = model.chain, budget, dict(others or {})
        self._most = 0
        self._functions = {choice: TracedOnce(functools.partial(_run, choice), any_rows) for choice in CHOICES}
        self._others: dict[tuple[int, str], Callable] = {}
        self._traced: set[tuple[int, str, float]] = set()
        self._tracing = threading.Lock()

    def _apply(self, link: int, choice: str, x):
        # A schedule of path policies may have changed the scale since.
        key = (link, choice, getattr(self.chain[link], "scale", 1.0))
        if key in self._traced:
            return self._function(link, choice)(x)
        with self._tracing:  # batches that run in parallel trace a link once
            y = self._function(link, choice)(x)
            self._traced.add(key)
        return y

    def _function(self, link: int, choice: str) -> Callable:
        if choice in self._functions:
            return functools.partial(self._functions[choice], self.chain[link])
        if (link, choice) not in self._others:
            self._others[link, choice] = traced(self.others[choice](self.chain[link]), self.chain[link])
        return self._others[link, choice]

    def outputs(
        self, x, programs: Sequence[Program], tick: Callable[[int], None] | None = None, past: Past | None = None
    ) -> np.ndarray:
        """Returns the network's output for each program.

        Args:
            x: a batch of inputs.
            programs: the programs.
            tick: called with the number of lanes after each link; the numbers add up to `work(programs)`,
                less what `past` saves.
            past: where lanes of an earlier walk of this batch stood, to go on from.

        Returns:
            An array of (programs, examples, ...).
        """
        check_inputs(x, self.input_shape)
        walk, rows = _Walk(self, programs, tick or (lambda lanes: None), past), len(x)
        if (
            keras.config.backend() == "jax"
        ):  # compiles each number of rows, so the last batch of a data set is filled up
            self._most = max(self._most, rows)
            x = np.concatenate([x, np.repeat(x[:1], self._most - rows, 0)])
        with without_gradients():
            walk.run(ops.convert_to_tensor(x, self.chain[0].input.dtype))
        return np.stack([walk.results[i][:rows] for i in range(len(programs))])

    def rows(self, most: int) -> int:
        """Returns how many examples, up to `most`, to evaluate at once so that a few lanes fit into the budget."""
        widest = max(self._size(link) for link in range(len(self.chain)))
        return max(1, min(most, self.budget // (4 * COPIES * 4 * widest)))

    def too_large(self, groups: Groups, rows: int) -> bool:
        """Returns whether a step of several lanes would exceed the budget."""
        count = sum(len(members) for members in groups.values())
        widest = max(self._size(link) for link, _ in groups)
        return count > 1 and COPIES * 4 * count * rows * widest > self.budget

    def _size(self, link: int) -> int:
        """Returns the elements of the larger of a link's input and output, for one example."""
        ends = self.chain[link].input.shape, self.chain[link].output.shape
        return max(math.prod(n or 1 for n in shape[1:]) for shape in ends)


def _run(choice: str, link: keras.Layer, values, x):
    """Returns a link's output with one of its branches, or both, as a function for `TracedOnce`."""
    if choice == BOTH:
        return stateless(link, values, x, False)[0]
    stand_in = link.stand_in() if choice == SHORTCUT else None

    def run(x):
        h = link.branch_input(x, training=False)
        return link.join(called(stand_in, False, h) if stand_in else link.scaled(called(link.residual, False, h)))

    return with_values(link, values, run, x)


class _Walk:
    """The walk of one batch along the chain."""

    def __init__(
        self, engine: Lanes, programs: Sequence[Program], tick: Callable[[int], None], past: Past | None = None
    ):
        self.engine, self.programs, self.tick, self.past = engine, programs, tick, past
        self.results: dict[int, np.ndarray] = {}
        self._kind: Any = _Apart if keras.config.backend() == "jax" else _Joined

    def run(self, x) -> None:
        """Fills `results` for a batch of inputs."""
        # The rows of all lanes, the programs of each lane, and the number of steps done.
        pending, left = self.past.starts(self.programs) if self.past else ([], list(range(len(self.programs))))
        if left:
            pending.append((self._kind([x]), [left], 0))
        while pending:
            rows, lanes, step = pending.pop()
            while step < len(self.programs[0].steps):
                groups = self._group(lanes, step)
                if self.engine.too_large(groups, rows.each):
                    pending += [(*half, step) for half in self._halve(rows, lanes)]
                    break
                rows, lanes = self._advance(rows, lanes, groups)
                step += 1
                if self.past:
                    self.past.keep(rows, lanes, step)
            else:
                for values, lane in zip(rows.arrays(), lanes, strict=True):
                    self.results.update(dict.fromkeys(lane, values))

    def _advance(self, rows: _Joined | _Apart, lanes: list[list[int]], groups: Groups):
        """Runs the next link of every lane; returns the rows of the new lanes, and the programs of each."""
        outputs, new_lanes = [], []
        for (link, choice), members in groups.items():
            chosen = rows.chosen([i for i, _ in members])
            outputs.append(chosen.through(functools.partial(self.engine._apply, link, choice)))
            self.tick(len(members))
            new_lanes += [lane for _, lane in members]
        return self._kind.joined(outputs), new_lanes

    @staticmethod
    def _halve(rows: _Joined | _Apart, lanes: list[list[int]]):
        """Splits the lanes, or the programs of a single lane, into halves."""
        if len(lanes) == 1:
            middle = len(lanes[0]) // 2
            return [(rows, [lanes[0][middle:]]), (rows, [lanes[0][:middle]])]
        order, middle = list(range(len(lanes))), len(lanes) // 2
        parts = order[middle:], order[:middle]
        return [(rows.chosen(part), [lanes[i] for i in part]) for part in parts]

    def _group(self, lanes: list[list[int]], step: int) -> Groups:
        """Groups the lanes by their next step; a lane whose programs differ there is in several groups."""
        groups: Groups = {}
        for i, lane in enumerate(lanes):
            by_step: dict[tuple[int, str], list[int]] = {}
            for index in lane:
                by_step.setdefault(self.programs[index].steps[step], []).append(index)
            for key, members in by_step.items():
                groups.setdefault(key, []).append((i, members))
        return groups


class _Joined:
    """The rows of several lanes, one lane behind the other in a tensor.

    Args:
        parts: tensors of rows, which are joined.
        lanes: how many lanes they hold.

    Attributes:
        each: how many rows a lane has.
    """

    def __init__(self, parts: list, lanes: int = 1):
        self.x = parts[0] if len(parts) == 1 else ops.concatenate(parts)
        self.lanes, self.each = lanes, self.x.shape[0] // lanes

    @classmethod
    def joined(cls, several: list[_Joined]) -> _Joined:
        return cls([rows.x for rows in several], sum(rows.lanes for rows in several))

    def chosen(self, chosen: list[int]) -> _Joined:
        """Returns the rows of some lanes, without a copy if these are all lanes or adjacent."""
        if chosen == list(range(self.lanes)):
            return self
        if chosen == list(range(chosen[0], chosen[-1] + 1)):
            return _Joined([self.x[chosen[0] * self.each : (chosen[-1] + 1) * self.each]], len(chosen))
        lanes = ops.reshape(self.x, (self.lanes, self.each, *self.x.shape[1:]))
        return _Joined([ops.reshape(ops.take(lanes, np.array(chosen), axis=0), (-1, *self.x.shape[1:]))], len(chosen))

    def through(self, function: Callable) -> _Joined:
        """Returns the rows that a function makes of these."""
        return _Joined([function(self.x)], self.lanes)

    @property
    def nbytes(self) -> int:
        """The bytes that the rows take."""
        return bytes_of(self.x.shape, self.x.dtype)

    def arrays(self) -> np.ndarray:
        """Returns arrays of the rows of each lane."""
        return ops.convert_to_numpy(self.x).reshape(self.lanes, self.each, *self.x.shape[1:])


class _Apart:
    """As `_Joined`, with a tensor for each lane: JAX compiles each number of rows anew, and each way to pick some."""

    def __init__(self, parts: list):
        self.parts, self.each = parts, parts[0].shape[0]

    @classmethod
    def joined(cls, several: list[_Apart]) -> _Apart:
        return cls([part for rows in several for part in rows.parts])

    def chosen(self, chosen: list[int]) -> _Apart:
        return _Apart([self.parts[i] for i in chosen])

    def through(self, function: Callable) -> _Apart:
        return _Apart([function(part) for part in self.parts])

    @property
    def nbytes(self) -> int:
        return sum(bytes_of(part.shape, part.dtype) for part in self.parts)

    def arrays(self) -> list[np.ndarray]:
        return [ops.convert_to_numpy(part) for part in self.parts]
