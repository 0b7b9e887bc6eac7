"""Inputs that Hypothesis makes, for every public function and command: `tests/inputs`, with a seed for each case.

A fault is told with the smallest example of it, which the tests show too:
`pytest tests/inputs --hypothesis-profile=soak --hypothesis-seed=SEED`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from soak import oracle

TESTS = Path(__file__).parents[1] / "inputs"
# Seconds for each test of a file in a case.
SECONDS = 20


def subjects() -> list[str]:
    return sorted(file.stem.removeprefix("test_inputs_") for file in TESTS.glob("test_inputs_*.py"))


def most(stage: Any, subject: str) -> int:
    return 1000


def run(stage: Any, subject: str, number: int, rng: random.Random) -> dict[str, int]:
    """Runs the tests of one file under a seed; returns how many examples were answered and refused."""
    table = Path(stage.place()) / "tried.json"
    seed = rng.randrange(2**31)
    options = [f"--hypothesis-seed={seed}", "--hypothesis-profile=soak", f"--seconds={SECONDS}", f"--tried={table}"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS / f"test_inputs_{subject}.py"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=TESTS.parents[1], env=environment)
    rows = json.loads(table.read_text()) if table.exists() else []
    if done.returncode:
        faults = [f"{row['name']}: {fault}" for row in rows for fault in row["faults"]] or [done.stdout[-300:]]
        raise oracle.Lost(f"seed {seed}: {'; '.join(faults[:3])}")
    return {what: sum(row[what] for row in rows) for what in ("answered", "refused")}
