"""Many edited copies of a network in one walk along its chain.

A program says how to go through the chain: an order of links with a choice for each. Programs that
agree up to a link share the work up to there; from where they part, each is a lane, a run of extra
rows in the batch. Deleting each of N blocks in turn so costs about half of the N + 1 forward
passes in arithmetic, and less in overhead, and nothing is traced anew for a program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_resnets.blocks import ResidualBlock
from keras_resnets.network import ResidualNetwork

BOTH, RESIDUAL, SHORTCUT = "both", "residual", "shortcut"


@dataclass(frozen=True)
class Program:
    """A way through the chain: for each step, the index of a link and which branches to take."""

    steps: tuple[tuple[int, str], ...]


def program(model: ResidualNetwork, choices: dict[int, str] | None = None) -> Program:
    """Returns the chain in order, with the choices given for some blocks.

    Args:
        model: the network.
        choices: for some indices of `model.blocks`, `"residual"` or `"shortcut"` instead of both.
    """
    choices, steps, block = choices or {}, [], 0
    for i, link in enumerate(model.chain):
        is_block = isinstance(link, ResidualBlock)
        steps.append((i, choices.get(block, BOTH) if is_block else BOTH))
        block += is_block
    return Program(tuple(steps))


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

    def _apply(self, link: int, choice: str, x):
        key = (link, choice)
        if key not in self._functions:
            self._functions[key] = self._compile(self.chain[link], choice)
        return self._functions[key](x)

    def _compile(self, link, choice: str):
        def run(x):
            if choice == BOTH:
                return link(x, training=False)
            branch = link.residual if choice == RESIDUAL else link.shortcut
            return link.join(branch(link.branch_input(x)))

        if keras.config.backend() != "tensorflow":
            return run
        import tensorflow as tf

        # One trace for any number of rows.
        spec = tf.TensorSpec((None, *link.input.shape[1:]), link.input.dtype)
        return tf.function(run, autograph=False).get_concrete_function(spec)

    def outputs(self, x, programs: Sequence[Program]) -> np.ndarray:
        """Returns the network's output for each program.

        Args:
            x: a batch of inputs.
            programs: what to evaluate.

        Returns:
            An array of (programs, examples, ...).
        """
        results: dict[int, np.ndarray] = {}
        self._walk(
            ops.convert_to_tensor(x, self.chain[0].input.dtype), [list(range(len(programs)))], programs, 0, results
        )
        return np.stack([results[i] for i in range(len(programs))])

    def _walk(self, x, lanes: list[list[int]], programs: Sequence[Program], step: int, results) -> None:
        """Walks on from `step`; `x` holds the rows of each lane in turn, a lane the programs it stands for."""
        rows = x.shape[0] // len(lanes)
        while step < len(programs[0].steps):
            groups = self._groups(lanes, programs, step)
            if len(groups) > 1 and self._too_large(groups, rows):
                half = len(lanes) // 2 if len(lanes) > 1 else 0
                if half:
                    self._walk(x[: half * rows], lanes[:half], programs, step, results)
                    self._walk(x[half * rows :], lanes[half:], programs, step, results)
                    return
                # One lane that parts in many: half of its programs at a time.
                middle = len(lanes[0]) // 2
                for part in (lanes[0][:middle], lanes[0][middle:]):
                    self._walk(x, [part], programs, step, results)
                return
            parts, after = [], []
            for (link, choice), members in groups.items():
                parts.append(self._apply(link, choice, _rows(x, [i for i, _ in members], len(lanes), rows)))
                after += [lane for _, lane in members]
            x, lanes = (parts[0] if len(parts) == 1 else ops.concatenate(parts)), after
            step += 1
        y = ops.convert_to_numpy(x)
        for i, lane in enumerate(lanes):
            for index in lane:
                results[index] = y[i * rows : (i + 1) * rows]

    @staticmethod
    def _groups(lanes, programs, step) -> dict[tuple[int, str], list[tuple[int, list[int]]]]:
        """Sorts the lanes by what they do next; a lane whose programs part is in several groups."""
        groups: dict[tuple[int, str], list[tuple[int, list[int]]]] = {}
        for i, lane in enumerate(lanes):
            parting: dict[tuple[int, str], list[int]] = {}
            for index in lane:
                parting.setdefault(programs[index].steps[step], []).append(index)
            for key, members in parting.items():
                groups.setdefault(key, []).append((i, members))
        return groups

    def _too_large(self, groups, rows: int) -> bool:
        count = sum(len(members) for members in groups.values())
        widest = max(
            np.prod([n or 1 for n in shape[1:]])
            for link, _ in groups
            for shape in (self.chain[link].input.shape, self.chain[link].output.shape)
        )
        return count > 1 and 2 * 4 * count * rows * int(widest) > self.budget


def _rows(x, chosen: list[int], lanes: int, rows: int):
    """The rows of some lanes, without a copy where they are all or lie side by side."""
    if chosen == list(range(lanes)):
        return x
    if chosen == list(range(chosen[0], chosen[-1] + 1)):
        return x[chosen[0] * rows : (chosen[-1] + 1) * rows]
    return ops.reshape(
        ops.take(ops.reshape(x, (lanes, rows, *x.shape[1:])), np.array(chosen), axis=0), (-1, *x.shape[1:])
    )
