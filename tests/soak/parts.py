"""The parts of the soak by name, each in a module of its own; `soak` says what a part has."""

from __future__ import annotations

import importlib
from typing import Any

PARTS = {
    "moments": "soak.moments",
    "kills": "soak.kills",
    "signals": "soak.signals",
    "damage": "soak.damage",
    "places": "soak.places",
    "inputs": "soak.inputs",
}


def part(name: str) -> Any:
    """Returns the module of a part."""
    return importlib.import_module(PARTS[name])
