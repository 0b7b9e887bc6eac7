"""What came of each case, a line of a file, and the table of all."""

from __future__ import annotations

import collections
import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

LOST, SKIPPED = "lost", "skipped"


@dataclass(frozen=True)
class Line:
    """What came of a case: how often each word, and a sentence on what was lost or why it was skipped."""

    part: str
    subject: str
    number: int
    came: dict[str, int]
    words: str
    seconds: float


class Ledger:
    """A file with a line for each case that was tried.

    Args:
        file: the file; what it holds already is not tried again.
    """

    def __init__(self, file: Path):
        self.file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.lines = [Line(**json.loads(line)) for line in lines if line.endswith("}")]
        # What was lost is tried again, for it may have been mended since.
        self.lines = [line for line in self.lines if LOST not in line.came]

    @property
    def done(self) -> set[tuple[str, str, int]]:
        return {(line.part, line.subject, line.number) for line in self.lines}

    def skips(self, part: str, subject: str) -> bool:
        """Whether a subject cannot be tried here."""
        return any(SKIPPED in one.came for one in self.lines if (one.part, one.subject) == (part, subject))

    def add(self, line: Line) -> None:
        """Writes a line, and prints it if something was lost."""
        self.lines.append(line)
        with self.file.open("a") as file:
            file.write(json.dumps(asdict(line)) + "\n")
        if LOST in line.came:
            print(f"LOST  {line.part}, {line.subject}, case {line.number}: {line.words}", flush=True)

    def lost(self, parts: list[str]) -> list[Line]:
        """Returns the lines of these parts in which something was lost."""
        return [line for line in self.lines if line.part in parts and LOST in line.came]

    def rows(self, parts: list[str]) -> list[dict[str, str]]:
        """Returns a row for each part and subject."""
        found: dict[tuple[str, str], list[Line]] = collections.defaultdict(list)
        for line in sorted(self.lines, key=lambda line: parts.index(line.part) if line.part in parts else -1):
            if line.part in parts:
                found[line.part, line.subject].append(line)
        rows = []
        for (part, subject), lines in found.items():
            came: collections.Counter[str] = collections.Counter()
            for line in lines:
                came.update(line.came)
            skipped = next((line.words for line in lines if SKIPPED in line.came), "")
            counts = {word: n for word, n in came.items() if word not in (LOST, SKIPPED)}
            rows.append(
                {
                    "part": part,
                    "of": subject,
                    "cases": str(sum(counts.values()) + came[LOST]),
                    "what came": skipped or ", ".join(f"{n} {word}" for word, n in sorted(counts.items())),
                    "lost": str(came[LOST]),
                    "seconds": f"{sum(line.seconds for line in lines):.0f}",
                }
            )
        return rows

    def table(self, parts: list[str]) -> str:
        """Returns the table in Markdown."""
        rows = self.rows(parts)
        if not rows:
            return "nothing was tried"
        lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
        lines += [" | ".join(row.values()) for row in rows]
        return "\n".join(f"| {line} |" for line in lines) + "\n"

    def csv(self, parts: list[str]) -> str:
        """Returns the table as CSV."""
        text, rows = io.StringIO(), self.rows(parts)
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["part"])
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
