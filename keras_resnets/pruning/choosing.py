"""Which blocks go: how many, on which examples that is decided, and in which order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_resnets.data import Data
from keras_resnets.data.batches import BATCH
from keras_resnets.errors import ArgumentError, nearest, one_of, whole_number
from keras_resnets.instruments.evaluation import evaluate, one_more, ranked
from keras_resnets.instruments.lanes import SHORTCUT, program
from keras_resnets.network.chain import ResidualNetwork


@dataclass(frozen=True)
class Choosing:
    """How the blocks that go are chosen, and what is measured of the networks that are left.

    Args:
        method: `"greedy"` or `"one_shot"`, as `keras_resnets.prune` says.
        calibration: `(x, y)` arrays or batched `tf.data` to choose the blocks on, and, unless the data have a training
            split, to take statistics from.
        examples: choose the blocks on no more than so many; None for all.
        recalibrate: whether to take the statistics of batch-norm anew (`keras_resnets.recalibrate`).
        timed: how many of the networks, at least two, the whole and the last among them, are exported and timed, on
            one image of the data; 0 for none.
        budget: bytes, as for `keras_resnets.studies.lesion`.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    method: str = "greedy"
    calibration: Any = None
    examples: int | None = None
    recalibrate: bool = True
    timed: int = 5
    budget: int = 2**30

    def __post_init__(self) -> None:
        one_of("method", self.method, ("greedy", "one_shot"))
        if self.timed != 0:
            whole_number("timed, unless it is 0,", self.timed, 2)
        if self.examples is not None:
            whole_number("examples", self.examples, 1)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Choosing:
        """Makes it from the further arguments of `prune`; an unknown one is an `ArgumentError`."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in fields:
            if name not in known:
                raise ArgumentError(f"prune takes no {name!r}; did you mean one of: {nearest(name, known)}?")
        return cls(**fields)


def number(network: ResidualNetwork, free: int, blocks, share, tolerance) -> int:
    """How many blocks may go at most, `free` of them being free to.

    Raises:
        ArgumentError: not one of the three is given, or it breaks its rule.
    """
    given = {"blocks": blocks, "share": share, "tolerance": tolerance}
    if sum(value is not None for value in given.values()) != 1:
        told = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise ArgumentError(f"blocks, share or tolerance must be given, and no two of them; got {told}.")
    total = len(network.blocks)
    most = min(free, total - 1)
    if most < 1:
        raise ArgumentError(
            f"keep must leave a block of {network.name!r} that can go, and one besides; of its {total} blocks, {free} "
            f"have a residual branch and need not stay. Keep fewer."
        )
    if blocks is not None:
        whole_number("blocks", blocks, 1, most)
        return blocks
    for name in ("share", "tolerance"):
        value = given[name]
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ArgumentError(f"{name} must be a number from 0 up to, not including, 1; got {value!r}.")
    if share is None:
        return most
    if not 1 <= round(share * total) <= most:
        raise ArgumentError(
            f"share must come to 1 to {most} of the {total} blocks of {network.name!r}; got {share!r}, which comes to "
            f"{round(share * total)}."
        )
    return round(share * total)


def split(data, calibration, examples: int | None):
    """Returns the examples that blocks are chosen on, no more than so many, and what they are called.

    Raises:
        ArgumentError: there are none but those that are reported.
    """
    if isinstance(calibration, Data):
        raise ArgumentError(
            f"calibration must be (x, y) arrays or batched tf.data, such as the validation split of "
            f"{calibration.name!r}; got all of it."
        )
    if calibration is None:
        if not isinstance(data, Data):
            raise ArgumentError(
                "calibration must be given with data that has no splits, for blocks are not chosen on the examples "
                "that are reported; got None. Give other examples, or what keras_resnets.data.load gives for data."
            )
        limited = data.first(examples) if examples else data
        held = limited.validation
        return (limited.train_in_order, "the training split") if held is None else (held, "the validation split")
    if examples and isinstance(calibration, tuple):
        calibration = tuple(part if part is None else part[:examples] for part in calibration)
    elif examples:
        calibration = calibration.unbatch().take(examples).batch(BATCH)
    return calibration, "the calibration examples"


def choose(
    network: ResidualNetwork, data, free: Sequence[int], count: int, tolerance: float | None, method: str, **how
) -> tuple[list[int], list[float]]:
    """Chooses the blocks to drop.

    Args:
        network: the network.
        data: what to choose on.
        free: indices of the blocks that may go.
        count: the largest number of them.
        tolerance: as for `prune`, or None.
        method: as for `prune`.
        **how: as for `evaluate`.

    Returns:
        Their indices, in the order they go, and the errors with none, one, two ... of them gone.
    """
    gone: list[int] = []
    found, facts = one_more(network, data, gone, free, task="choosing the first block", **how)
    errors = [facts["intact"]["error"]]
    order = [int(i) for i in ranked(found)["block"][:count]]
    if method == "one_shot":
        programs = [program(network, dict.fromkeys(order[: n + 1], SHORTCUT)) for n in range(count)]
        steps = iter(evaluate(network, data, programs, task="the first blocks together", **how)[0]["error"])
    while len(gone) < count:
        if method == "one_shot":
            block, error = order[len(gone)], float(next(steps))
        else:
            if gone:
                rest = [i for i in free if i not in gone]
                found, _ = one_more(network, data, gone, rest, task=f"choosing block {len(gone) + 1}", **how)
            best = ranked(found).iloc[0]
            block, error = int(best["block"]), float(best["error"])
        if tolerance is not None and error > errors[0] + tolerance + 1e-9:  # errors are ratios of whole numbers
            break
        gone.append(block)
        errors.append(error)
    return gone, errors
