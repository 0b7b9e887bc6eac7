"""The one exception of ours: an argument that breaks a rule, told in a sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ArgumentError(ValueError):
    """An argument breaks a rule.

    The message is one sentence that names the argument, the rule, the value that came and the
    remedy. The command line prints it and leaves with status 2 (wrong usage).
    """


def nearest(word: str, known: Iterable[str], most: int = 3) -> str:
    """Returns the `most` words of `known` closest to `word`, for an error's remedy."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=most, cutoff=0.4) or known[:most]
    return ", ".join(close)


def one_of(argument: str, value: object, allowed: Iterable[object]) -> None:
    """Raises `ArgumentError` unless `value` is among `allowed`."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ArgumentError(f"{argument} must be one of {', '.join(map(repr, allowed))}; got {value!r}.")


def whole_number(argument: str, value: object, least: int, most: int | None = None) -> None:
    """Raises `ArgumentError` unless `value` is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        rule = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ArgumentError(f"{argument} must be a whole number {rule}; got {value!r}.")
