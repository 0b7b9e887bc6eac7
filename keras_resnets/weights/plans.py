"""`Plan`: which tensor of a weight file fills which variable, as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.errors import ArgumentError


@dataclass(frozen=True)
class Row:
    """One variable of the network.

    Attributes:
        variable: its path.
        source: the names in the file that its value is made of, joined with " and "; empty where none is needed.
        shape: the variable's shape.
        status: `"fits"`, `"missing"`, `"wrong shape"` or `"wrong type"`.
        found: the shapes in the file, as far as they are there.
    """

    variable: str
    source: str
    shape: tuple[int, ...]
    status: str
    found: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Plan:
    """What would fill what; `str(plan)` is a table.

    Attributes:
        file: the weight file.
        format: the name of its family.
        preprocessing: what the weights call for; None where that is not known.
        rows: a `Row` for each variable of the network, in its order.
        unused: names of the file's tensors that belong to a network, and that nothing reads.
        left: names of those that are left on purpose: a classifier where the network has none, counters of batches,
            and what lies outside the network, such as an optimiser's state.
    """

    file: str
    format: str
    preprocessing: Preprocessing | None
    rows: tuple[Row, ...]
    unused: tuple[str, ...]
    left: tuple[str, ...]

    def _of(self, *status: str) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.status in status)

    @property
    def missing(self) -> tuple[str, ...]:
        """Paths of the variables for which the file has nothing."""
        return tuple(row.variable for row in self._of("missing"))

    @property
    def wrong_shape(self) -> tuple[str, ...]:
        """Paths of the variables for which the file has something of another shape, or no numbers."""
        return tuple(row.variable for row in self._of("wrong shape", "wrong type"))

    @property
    def is_complete(self) -> bool:
        """Whether every variable is filled, and nothing of the file's network is left over."""
        return not (self.missing or self.wrong_shape or self.unused)

    def __str__(self) -> str:
        lines = [f"{self.file}: {self.format}"]
        table = [(row.variable, row.source or "-", "x".join(map(str, row.shape)), _told(row)) for row in self.rows]
        widths = [max(len(cells[i]) for cells in [*table, ("",) * 4]) for i in range(4)]
        lines += ["  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip() for cells in table]
        lines += [f"unused: {name}" for name in self.unused]
        return "\n".join([*lines, self.summary])

    @property
    def summary(self) -> str:
        """The counts in a line."""
        counts = Counter(row.status for row in self.rows)
        parts = [f"{counts[status]} {status}" for status in ("fits", "missing", "wrong shape", "wrong type")]
        told = [part for part in parts if not part.startswith("0 ")]
        return f"{', '.join(told)} of {len(self.rows)} variables; {len(self.unused)} unused, {len(self.left)} left"

    def check(self) -> None:
        """Raises `ArgumentError` unless the plan is complete; the message has the first few of each kind."""
        if self.is_complete:
            return
        listed = [
            ("lacks", [f"{row.source or 'anything'} for {row.variable}" for row in self._of("missing")]),
            ("has otherwise", [f"{row.source} ({_told(row)})" for row in self._of("wrong shape", "wrong type")]),
            ("has what the network lacks", list(self.unused)),
        ]
        told = [f"{what}: {some(names)}" for what, names in listed if names]
        raise ArgumentError(
            f"{self.file!r} is of another network. It {'; it '.join(told)}. keras_resnets.weights.plan(model, file) "
            f"shows all of it, keras_resnets.weights.network(file) builds the network that fits."
        )


def _told(row: Row) -> str:
    """The status, with what the file has instead."""
    if not row.status.startswith("wrong"):
        return row.status
    return f"{row.status}: {' and '.join('x'.join(map(str, shape)) or 'a number' for shape in row.found)}"


def some(names: list[str], most: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
