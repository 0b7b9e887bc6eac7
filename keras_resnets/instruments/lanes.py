"""Evaluates many edited copies of a network in one walk along its chain.

A program describes a way through the chain: an order of links with a choice for each. Programs that
agree up to a link share the computation up to there; from where they differ, each is a lane, a
group of additional rows in the batch. Deleting each of N blocks in turn thus costs about half of
the N + 1 forward passes in arithmetic, and less in overhead, and no program needs a new trace.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_resnets.data.batches import check_inputs
from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.tracing import called

BOTH, RESIDUAL, SHORTCUT = "both", "residual", "shortcut"

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
    for place, block in zip(places, range(len(places)) if order is None else order, strict=True):
        steps[place] = (places[block], choices.get(block, BOTH))
    return Program(tuple(steps))


def work(programs: Sequence[Program]) -> int:
    """Returns how many links an evaluation of the programs runs, with shared beginnings counted once."""
    return len({program.steps[:n] for program in programs for n in range(1, len(program.steps) + 1)})


def traced(run: Callable, link: keras.Layer) -> Callable:
    """Returns `run`, a function of a link's input, traced for any number of rows if the backend is TensorFlow."""
    if keras.config.backend() != "tensorflow":
        return run
    import tensorflow as tf

    spec = tf.TensorSpec((None, *link.input.shape[1:]), link.input.dtype)
    return tf.function(run, autograph=False).get_concrete_function(spec)


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
        self._functions: dict[tuple[int, str, float], Callable] = {}
        self._compiling = threading.Lock()

    def _apply(self, link: int, choice: str, x):
        # A schedule of path policies may have changed the scale since.
        key = (link, choice, getattr(self.chain[link], "scale", 1.0))
        with self._compiling:
            if key not in self._functions:
                self._functions[key] = self._compile(self.chain[link], choice)
        return self._functions[key](x)

    def _compile(self, link, choice: str):
        if choice in self.others:
            return traced(self.others[choice](link), link)
        stand_in = link.stand_in() if choice == SHORTCUT else None

        def run(x):
            if choice == BOTH:
                return link(x, training=False)
            h = link.branch_input(x, training=False)
            return link.join(called(stand_in, False, h) if stand_in else link.scaled(called(link.residual, False, h)))

        return traced(run, link)

    def outputs(self, x, programs: Sequence[Program], tick: Callable[[int], None] | None = None) -> np.ndarray:
        """Returns the network's output for each program.

        Args:
            x: a batch of inputs.
            programs: the programs.
            tick: called with the number of lanes after each link; the numbers add up to `work(programs)`.

        Returns:
            An array of (programs, examples, ...).
        """
        check_inputs(x, self.input_shape)
        walk = _Walk(self, programs, tick or (lambda lanes: None))
        walk.run(ops.convert_to_tensor(x, self.chain[0].input.dtype))
        return np.stack([walk.results[i] for i in range(len(programs))])

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


class _Walk:
    """The walk of one batch along the chain."""

    def __init__(self, engine: Lanes, programs: Sequence[Program], tick: Callable[[int], None]):
        self.engine, self.programs, self.tick = engine, programs, tick
        self.results: dict[int, np.ndarray] = {}

    def run(self, x) -> None:
        """Fills `results` for a batch of inputs."""
        # The rows of all lanes, the programs of each lane, and the number of steps done.
        pending = [(x, [list(range(len(self.programs)))], 0)]
        while pending:
            x, lanes, step = pending.pop()
            while step < len(self.programs[0].steps):
                groups = self._group(lanes, step)
                if self.engine.too_large(groups, x.shape[0] // len(lanes)):
                    pending += [(*half, step) for half in self._halve(x, lanes)]
                    break
                x, lanes = self._advance(x, lanes, groups)
                step += 1
            else:
                y = ops.convert_to_numpy(x).reshape(len(lanes), -1, *x.shape[1:])
                for rows, lane in zip(y, lanes, strict=True):
                    self.results.update(dict.fromkeys(lane, rows))

    def _advance(self, x, lanes: list[list[int]], groups: Groups):
        """Runs the next link of every lane; returns the rows of the new lanes, and the programs of each."""
        rows, outputs, new_lanes = x.shape[0] // len(lanes), [], []
        for (link, choice), members in groups.items():
            inputs = _rows_of(x, [i for i, _ in members], len(lanes), rows)
            outputs.append(self.engine._apply(link, choice, inputs))
            self.tick(len(members))
            new_lanes += [lane for _, lane in members]
        return (outputs[0] if len(outputs) == 1 else ops.concatenate(outputs)), new_lanes

    @staticmethod
    def _halve(x, lanes: list[list[int]]):
        """Splits the lanes, or the programs of a single lane, into halves."""
        if len(lanes) == 1:
            middle = len(lanes[0]) // 2
            return [(x, [lanes[0][middle:]]), (x, [lanes[0][:middle]])]
        middle = len(lanes) // 2
        border = x.shape[0] // len(lanes) * middle
        return [(x[border:], lanes[middle:]), (x[:border], lanes[:middle])]

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


def _rows_of(x, chosen: list[int], lanes: int, rows: int):
    """Returns the rows of some lanes, without a copy if these are all lanes or adjacent."""
    if chosen == list(range(lanes)):
        return x
    if chosen == list(range(chosen[0], chosen[-1] + 1)):
        return x[chosen[0] * rows : (chosen[-1] + 1) * rows]
    return ops.reshape(
        ops.take(ops.reshape(x, (lanes, rows, *x.shape[1:])), np.array(chosen), axis=0), (-1, *x.shape[1:])
    )
