"""Many edited copies of a network in one walk along its chain.

A program says how to go through the chain: an order of links with a choice for each. Programs that
agree up to a link share the work up to there; from where they part, each is a lane, a run of extra
rows in the batch. Deleting each of N blocks in turn so costs about half of the N + 1 forward
passes in arithmetic, and less in overhead, and nothing is traced anew for a program.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnets.blocks import ResidualBlock
from keras_resnets.network import ResidualNetwork

BOTH, RESIDUAL, SHORTCUT = "both", "residual", "shortcut"

# What is done next, link and choice, by which lanes and for which of their programs.
Groups = dict[tuple[int, str], list[tuple[int, list[int]]]]


@dataclass(frozen=True)
class Program:
    """A way through the chain: for each step, the index of a link and which branches to take."""

    steps: tuple[tuple[int, str], ...]


def program(
    model: ResidualNetwork, choices: dict[int, str] | None = None, order: Sequence[int] | None = None
) -> Program:
    """Returns the chain with the choices and the order given for its blocks.

    Args:
        model: the network.
        choices: for some indices of `model.blocks`, `"residual"` or `"shortcut"` instead of both.
        order: the indices of all blocks in a new order; what is not a block stays in place.
    """
    choices, places = choices or {}, [i for i, link in enumerate(model.chain) if isinstance(link, ResidualBlock)]
    steps = [(i, BOTH) for i in range(len(model.chain))]
    for place, block in zip(places, range(len(places)) if order is None else order, strict=True):
        steps[place] = (places[block], choices.get(block, BOTH))
    return Program(tuple(steps))


def work(programs: Sequence[Program]) -> int:
    """How many links are gone through in evaluating the programs, shared beginnings counted once."""
    return len({program.steps[:n] for program in programs for n in range(1, len(program.steps) + 1)})


class Lanes:
    """Evaluates programs on a network.

    Args:
        model: the network; its weights are read at every call.
        budget: bytes that the rows of one link's input and output may take; programs that would
            need more are walked in groups, one after the other.
    """

    def __init__(self, model: ResidualNetwork, budget: int = 2**30):
        self.chain, self.budget = model.chain, budget
        self._functions: dict[tuple[int, str], Callable] = {}
        self._compiling = threading.Lock()

    def _apply(self, link: int, choice: str, x):
        key = (link, choice)
        with self._compiling:
            if key not in self._functions:
                self._functions[key] = self._compile(self.chain[link], choice)
        return self._functions[key](x)

    def _compile(self, link, choice: str):
        branch: Any = None
        if choice != BOTH:
            branch = link.residual if choice == RESIDUAL else link.stand_in()

        def run(x):
            return link(x, training=False) if branch is None else link.join(branch(link.branch_input(x)))

        if keras.config.backend() != "tensorflow":
            return run
        import tensorflow as tf

        # One trace for any number of rows.
        spec = tf.TensorSpec((None, *link.input.shape[1:]), link.input.dtype)
        return tf.function(run, autograph=False).get_concrete_function(spec)

    def outputs(self, x, programs: Sequence[Program], tick: Callable[[int], None] | None = None) -> np.ndarray:
        """Returns the network's output for each program.

        Args:
            x: a batch of inputs.
            programs: what to evaluate.
            tick: called with a number of lanes whenever these have gone one link further;
                the numbers add up to `work(programs)`.

        Returns:
            An array of (programs, examples, ...).
        """
        walk = _Walk(self, programs, tick or (lambda lanes: None))
        walk.on(ops.convert_to_tensor(x, self.chain[0].input.dtype), [list(range(len(programs)))], 0)
        return np.stack([walk.results[i] for i in range(len(programs))])

    def too_large(self, groups: Groups, rows: int) -> bool:
        """Whether a step would need more than the budget, and could do with less."""
        count = sum(len(members) for members in groups.values())
        widest = max(
            np.prod([n or 1 for n in shape[1:]])
            for link, _ in groups
            for shape in (self.chain[link].input.shape, self.chain[link].output.shape)
        )
        return count > 1 and 2 * 4 * count * rows * int(widest) > self.budget


class _Walk:
    """One batch on its way along the chain."""

    def __init__(self, engine: Lanes, programs: Sequence[Program], tick: Callable[[int], None]):
        self.engine, self.programs, self.tick = engine, programs, tick
        self.results: dict[int, np.ndarray] = {}

    def on(self, x, lanes: list[list[int]], step: int) -> None:
        """Goes on from `step`; `x` holds the rows of each lane in turn, a lane the programs it stands for."""
        rows = x.shape[0] // len(lanes)
        while step < len(self.programs[0].steps):
            groups = self._groups(lanes, step)
            if len(groups) > 1 and self.engine.too_large(groups, rows):
                if len(lanes) > 1:
                    half = len(lanes) // 2
                    self.on(x[: half * rows], lanes[:half], step)
                    self.on(x[half * rows :], lanes[half:], step)
                else:
                    # One lane that parts in many: half of its programs at a time.
                    middle = len(lanes[0]) // 2
                    for part in (lanes[0][:middle], lanes[0][middle:]):
                        self.on(x, [part], step)
                return
            parts, after = [], []
            for (link, choice), members in groups.items():
                chosen = _rows(x, [i for i, _ in members], len(lanes), rows)
                parts.append(self.engine._apply(link, choice, chosen))
                self.tick(len(members))
                after += [lane for _, lane in members]
            x, lanes = (parts[0] if len(parts) == 1 else ops.concatenate(parts)), after
            step += 1
        y = ops.convert_to_numpy(x)
        for i, lane in enumerate(lanes):
            for index in lane:
                self.results[index] = y[i * rows : (i + 1) * rows]

    def _groups(self, lanes: list[list[int]], step: int) -> Groups:
        """Sorts the lanes by what they do next; a lane whose programs part is in several groups."""
        groups: Groups = {}
        for i, lane in enumerate(lanes):
            parting: dict[tuple[int, str], list[int]] = {}
            for index in lane:
                parting.setdefault(self.programs[index].steps[step], []).append(index)
            for key, members in parting.items():
                groups.setdefault(key, []).append((i, members))
        return groups


def _rows(x, chosen: list[int], lanes: int, rows: int):
    """The rows of some lanes, without a copy where they are all or lie side by side."""
    if chosen == list(range(lanes)):
        return x
    if chosen == list(range(chosen[0], chosen[-1] + 1)):
        return x[chosen[0] * rows : (chosen[-1] + 1) * rows]
    return ops.reshape(
        ops.take(ops.reshape(x, (lanes, rows, *x.shape[1:])), np.array(chosen), axis=0), (-1, *x.shape[1:])
    )
