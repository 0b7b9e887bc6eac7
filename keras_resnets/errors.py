"""`ArgumentError`, checks of arguments that raise it, and `notice`."""

from __future__ import annotations

import difflib
import importlib.util
import math
import sys
import warnings
from collections.abc import Hashable, Iterable

# Names of libraries as their makers write them.
_PROPER = {"tensorflow": "TensorFlow", "tensorflow_datasets": "tensorflow-datasets", "ray": "Ray", "jax": "JAX"}
# Characters of a sentence.
_LONGEST = 600


class ArgumentError(ValueError):
    """An argument breaks a rule.

    The message is one sentence with the argument, the rule, the value given and the remedy, on one line and of at most
    600 characters: of a value that is longer, such as an array, the middle is left out. The command line prints it and
    exits with status 2 (wrong usage).
    """

    def __init__(self, text: object = "") -> None:
        line = " ".join(str(text).split())
        if len(line) > _LONGEST:
            line = f"{line[: _LONGEST // 2 - 5]} [...] {line[-(_LONGEST // 2) :]}"
        super().__init__(line)


class Notice(UserWarning):
    """What a user is told in a sentence; the command line prints it."""


def notice(text: str) -> None:
    """Warns of something that was mended, left out or found in a user's files or training."""
    level, frame = 3, sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") == "keras_resnets.explaining":
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(text, Notice, stacklevel=level)


def needs(library: str, what: str, remedy: str | None = None) -> None:
    """Raises a sentence where a library that only some of the package needs is not installed; imports nothing.

    Args:
        library: the name under which Python imports it.
        what: what needs it, the beginning of the sentence: `"Export to LiteRT"`.
        remedy: what to do; None to install it.

    Raises:
        ImportError: it is not installed.
    """
    if library in sys.modules and sys.modules[library] is not None:
        return
    if library in sys.modules or importlib.util.find_spec(library) is None:
        remedy = remedy or f"Install it: pip install {library}."
        raise ImportError(f"{what} needs {_PROPER.get(library, library)}, which is not installed. {remedy}")


def nearest(word: str, choices: Iterable[str], most: int = 3) -> str:
    """Returns the `most` choices that are closest to `word`, as the remedy in an error message."""
    choices = sorted(choices)
    close = difflib.get_close_matches(word, choices, n=most, cutoff=0.4) or choices[:most]
    return ", ".join(close)


def listed(names: Iterable[str], most: int = 10, between: str = ", ") -> str:
    """Joins names; of more than `most`, the first, and says how many more there are."""
    names = list(names)
    rest = len(names) - most
    return between.join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def one_of(argument: str, value: object, allowed: Iterable[object]) -> None:
    """Raises `ArgumentError` unless `value` is among `allowed`."""
    allowed = tuple(allowed)
    # An array, which has no hash, is equal to a text in each of its elements.
    if not isinstance(value, Hashable) or value not in allowed:
        raise ArgumentError(f"{argument} must be one of {', '.join(map(repr, allowed))}; got {value!r}.")


def whole_number(argument: str, value: object, least: int, most: int | None = None) -> None:
    """Raises `ArgumentError` unless `value` is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        rule = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ArgumentError(f"{argument} must be a whole number {rule}; got {value!r}.")


def number(
    argument: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    rule: str | None = None,
) -> None:
    """Raises `ArgumentError` unless `value` is a finite number within bounds; NaN and booleans are refused.

    Args:
        argument: the argument's name, for the message.
        value: what was given.
        least: the smallest number allowed.
        above: a number that must be exceeded.
        most: the largest number allowed.
        below: a number that must not be reached.
        rule: the rule in words, "a share of ..."; None derives it from the bounds.

    Example:
        >>> from keras_resnets.errors import number
        >>> number("dropout", 1.5, least=0, below=1)
        Traceback (most recent call last):
        ...
        keras_resnets.errors.ArgumentError: dropout must be a number from 0 up to, not including, 1; got 1.5.
    """
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -math.inf < value < math.inf
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
    )
    if not fits:
        raise ArgumentError(f"{argument} must be {rule or _bounds(least, above, most, below)}; got {value!r}.")


def _bounds(least: float | None, above: float | None, most: float | None, below: float | None) -> str:
    """Describes a range of numbers in words."""
    if above == 0 and most is None and below is None:
        return "a positive number"
    if above is not None and below is not None:
        return f"a number between {above} and {below}, both excluded"
    parts = ["a finite number" if least is above is most is below is None else "a number"]
    parts += [f"from {least}"] if least is not None else [f"above {above}"] if above is not None else []
    parts += [f"to {most}"] if most is not None else [f"up to, not including, {below}"] if below is not None else []
    return " ".join(parts)
