"""Chooses the blocks to drop: how many, on which examples, and in which order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_resnets import errors
from keras_resnets.data import Data
from keras_resnets.data.passes import first_of
from keras_resnets.errors import ArgumentError, nearest, one_of, whole_number
from keras_resnets.instruments.evaluation import evaluate, one_more, ranked, rounds_for
from keras_resnets.instruments.lanes import MEMORY, SHORTCUT, program
from keras_resnets.network.chain import ResidualNetwork


@dataclass(frozen=True)
class Choosing:
    """How blocks are chosen, and what is measured of the pruned networks.

    Args:
        method: `"greedy"` or `"one_shot"`, as in `keras_resnets.prune`.
        calibration: `(x, y)` arrays or batched `tf.data` to choose the blocks on and, unless the data have a training
            split, to recompute statistics on.
        examples: choose the blocks on at most this many examples; None for all.
        recalibrate: whether to recompute batch-norm statistics (`keras_resnets.recalibrate`).
        control: whether to fine-tune the whole network, too, with the same recipe, epochs and seed; so what fine-tuning
            gains is told from what dropping costs.
        timed: how many of the networks to export and time on one image of the data: at least two, among them the whole
            and the last; 0 for none.
        budget: bytes for intermediate values, as for `keras_resnets.studies.lesion`; as many again hold activations
            between the rounds of greedy choices.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    method: str = "greedy"
    calibration: Any = None
    examples: int | None = None
    recalibrate: bool = True
    control: bool = False
    timed: int = 5
    budget: int = MEMORY

    def __post_init__(self) -> None:
        one_of("method", self.method, ("greedy", "one_shot"))
        if self.timed != 0:
            whole_number("timed, unless it is 0,", self.timed, 2)
        if self.examples is not None:
            whole_number("examples", self.examples, 1)

    def check_control(self, fine_tune: int) -> None:
        """Raises `ArgumentError` where the whole network is to be fine-tuned, and the pruned one is not."""
        if self.control and not fine_tune:
            raise ArgumentError(
                "control fine-tunes the whole network like the pruned one: fine_tune must be at least 1 epoch; got 0."
            )

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Choosing:
        """Makes it from the keyword arguments of `prune`; an unknown one is an `ArgumentError`."""
        names = {field.name for field in dataclasses.fields(cls)}
        for name in fields:
            if name not in names:
                raise ArgumentError(f"prune takes no {name!r}; did you mean one of: {nearest(name, names)}?")
        return cls(**fields)


def count_limit(network: ResidualNetwork, free: int, blocks, share, tolerance) -> int:
    """Returns the largest number of blocks to drop, of the `free` ones that may be dropped.

    Raises:
        ArgumentError: not exactly one of `blocks`, `share` and `tolerance` is given, or it breaks its rule.
    """
    # Exactly one of the three limits is given.
    given = {"blocks": blocks, "share": share, "tolerance": tolerance}
    if sum(value is not None for value in given.values()) != 1:
        values = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise ArgumentError(f"blocks, share or tolerance must be given, and no two of them; got {values}.")

    # At least one block can be dropped, and one stays.
    total = len(network.blocks)
    most = min(free, total - 1)
    if most < 1:
        raise ArgumentError(
            f"keep must leave a block of {network.name!r} that can be dropped, and one besides; of its {total} blocks, "
            f"{free} have a residual branch and need not stay. Keep fewer."
        )

    # The limit itself.
    if blocks is not None:
        whole_number("blocks", blocks, 1, most)
        return blocks
    for name in ("share", "tolerance"):
        if given[name] is not None:
            errors.number(name, given[name], least=0, below=1)
    if share is None:
        return most
    if not 1 <= round(share * total) <= most:
        raise ArgumentError(
            f"share must come to 1 to {most} of the {total} blocks of {network.name!r}; got {share!r}, which comes to "
            f"{round(share * total)}."
        )
    return round(share * total)


def choosing_examples(data, calibration, examples: int | None):
    """Returns the examples to choose blocks on, at most `examples` of them, and a name for them.

    Raises:
        ArgumentError: there are no examples besides those that the study reports.
    """
    if isinstance(calibration, Data):
        raise ArgumentError(
            f"calibration must be (x, y) arrays or batched tf.data, such as the validation split of "
            f"{calibration.name!r}; got all of it."
        )
    if calibration is None:
        if not isinstance(data, Data):
            raise ArgumentError(
                "calibration must be given with data that has no splits, because blocks are not chosen on the "
                "reported examples; got None. Give other examples, or what keras_resnets.data.load gives for data."
            )
        limited = data.first(examples) if examples else data
        held = limited.validation
        return (limited.train_in_order, "the training split") if held is None else (held, "the validation split")
    if examples and isinstance(calibration, tuple):
        calibration = tuple(part if part is None else part[:examples] for part in calibration)
    elif examples:
        calibration = first_of(calibration, examples)
    return calibration, "the calibration examples"


def choose(
    network: ResidualNetwork, data, free: Sequence[int], count: int, tolerance: float | None, method: str, **options
) -> tuple[list[int], list[float]]:
    """Chooses the blocks to drop.

    Args:
        network: the network.
        data: the examples to choose on.
        free: indices of the blocks that may be dropped.
        count: the largest number of blocks to drop.
        tolerance: as for `prune`, or None.
        method: as for `prune`.
        **options: as for `evaluate`.

    Returns:
        The blocks' indices, in the order of dropping, and the errors with none, one, two ... of them dropped.
    """
    # Both methods start with one sweep over all free blocks.
    gone: list[int] = []
    rounds = options | ({"engine": rounds_for(options["engine"], data)} if method == "greedy" and count > 1 else {})
    sweep, facts = one_more(network, data, gone, free, task="choosing the first block", **rounds)
    errors = [facts["intact"]["error"]]
    order = [int(i) for i in ranked(sweep)["block"][:count]]
    if method == "one_shot":
        programs = [program(network, dict.fromkeys(order[: n + 1], SHORTCUT)) for n in range(count)]
        steps = iter(evaluate(network, data, programs, task="the first blocks together", **options)[0]["error"])

    while len(gone) < count:
        if method == "one_shot":
            block, error = order[len(gone)], float(next(steps))
        else:
            if gone:
                remaining = [i for i in free if i not in gone]
                sweep, _ = one_more(network, data, gone, remaining, task=f"choosing block {len(gone) + 1}", **rounds)
            best = ranked(sweep).iloc[0]
            block, error = int(best["block"]), float(best["error"])
        if tolerance is not None and error > errors[0] + tolerance + 1e-9:  # errors are ratios of whole numbers
            break
        gone.append(block)
        errors.append(error)
    return gone, errors
