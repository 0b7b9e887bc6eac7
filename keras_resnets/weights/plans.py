"""`Plan`: the tensors of a weight file that fill each variable, as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from keras_resnets.architecture.preprocessing import Preprocessing
from keras_resnets.errors import ArgumentError, listed
from keras_resnets.showing import Description, Shown, Table, describes
from keras_resnets.weights.roles import role


@dataclass(frozen=True)
class Row:
    """One variable of the network.

    Attributes:
        variable: its path.
        source: the names in the file that its value is computed from, joined with " and "; empty if there are none.
        shape: the variable's shape.
        status: `"fits"`, `"missing"`, `"wrong shape"` or `"wrong type"`.
        found: the shapes of these tensors in the file, without those that are missing.
    """

    variable: str
    source: str
    shape: tuple[int, ...]
    status: str
    found: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Plan(Shown):
    """The match of a weight file with a network; `str(plan)` is a table.

    Attributes:
        file: the weight file.
        format: the name of its family.
        preprocessing: the preprocessing that the weights need; None if unknown.
        rows: a `Row` for each variable, in the network's order.
        unused: names of tensors of the file's network that fill no variable.
        left: names of tensors ignored on purpose: a classifier if the network has none, batch counters, and tensors
            outside the network, such as an optimiser's state.
        notes: what the file cannot tell, and what was taken.
    """

    file: str
    format: str
    preprocessing: Preprocessing | None
    rows: tuple[Row, ...]
    unused: tuple[str, ...]
    left: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def _with_status(self, *status: str) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.status in status)

    @property
    def missing(self) -> tuple[str, ...]:
        """Paths of the variables that the file lacks."""
        return tuple(row.variable for row in self._with_status("missing"))

    @property
    def wrong_shape(self) -> tuple[str, ...]:
        """Paths of the variables whose tensor has another shape, or a dtype that is not floating-point."""
        return tuple(row.variable for row in self._with_status("wrong shape", "wrong type"))

    @property
    def is_complete(self) -> bool:
        """Whether every variable is filled, and no tensor of the file's network is unused."""
        return not (self.missing or self.wrong_shape or self.unused)

    def __str__(self) -> str:
        lines = [f"{self.file}: {self.format}"]
        table = [
            (row.variable, row.source or "-", "x".join(map(str, row.shape)), _describe_status(row)) for row in self.rows
        ]
        widths = [max(len(cells[i]) for cells in [*table, ("",) * 4]) for i in range(4)]
        lines += ["  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip() for cells in table]
        lines += [f"unused: {name}" for name in self.unused]
        return "\n".join([*lines, *self.notes, self.summary])

    @property
    def summary(self) -> str:
        """The counts of each status, in one line."""
        counts = Counter(row.status for row in self.rows)
        parts = [f"{counts[status]} {status}" for status in ("fits", "missing", "wrong shape", "wrong type")]
        nonzero = [part for part in parts if not part.startswith("0 ")]
        return f"{', '.join(nonzero)} of {len(self.rows)} variables; {len(self.unused)} unused, {len(self.left)} left"

    def check(self, *, derived: bool = False) -> None:
        """Raises `ArgumentError` unless the plan is complete; the message names the first few problems of each kind.

        Args:
            derived: whether the network was derived from the file, and no other would fit better.
        """
        if self.is_complete:
            return
        problems = [
            ("lacks", [f"{row.source or 'anything'} for {row.variable}" for row in self._with_status("missing")]),
            (
                "has otherwise",
                [f"{row.source} ({_describe_status(row)})" for row in self._with_status("wrong shape", "wrong type")],
            ),
            ("has what the network lacks", list(self.unused)),
        ]
        texts = [f"{problem}: {listed(names, 3)}" for problem, names in problems if names]
        start = f"{self.file!r} is of another network. It {'; it '.join(texts)}."
        wrong = self._with_status("missing", "wrong shape", "wrong type")
        if not self.unused and all(_is_classifiers(row.variable) for row in wrong):
            raise ArgumentError(
                f"{start} All else fits: with other classes than the file's, build the network with include_top=False, "
                f"or keep its own classifier with keras_resnets.weights.load(model, file, head=False)."
            )
        if derived:
            raise ArgumentError(
                f"{start} No network of this package has its layers; build it with the code that it comes from."
            )
        raise ArgumentError(
            f"{start} keras_resnets.weights.plan(model, file) shows all of it, keras_resnets.weights.network(file) "
            f"builds the network that fits."
        )


def _is_classifiers(path: str) -> bool:
    position = role(path)
    return position is not None and position.is_classifier


def _describe_status(row: Row) -> str:
    """Returns the status of a row, with the shapes in the file if they are wrong."""
    if not row.status.startswith("wrong"):
        return row.status
    return f"{row.status}: {' and '.join('x'.join(map(str, shape)) or 'a number' for shape in row.found)}"


@describes(Plan)
def _shown(plan: Plan) -> Description:
    """Returns what notebooks show: the variables that are not filled come first."""
    steps = plan.preprocessing
    facts = [
        ("format", plan.format),
        ("preprocessing", "not known" if steps is None else f"{steps.channels}, mean {steps.mean}, std {steps.std}"),
        *[("unused", listed(plan.unused, 3))] * bool(plan.unused),
    ]
    ordered = sorted(plan.rows, key=lambda row: row.status == "fits")
    rows = [(r.variable, r.source or "-", "x".join(map(str, r.shape)), _describe_status(r)) for r in ordered]
    table = Table(("variable", "source", "shape", "status"), rows)
    return Description(plan.file, facts, [plan.summary, *plan.notes], [table])
