"""`explained`: a call that fails on an argument of a wrong type says which, in the sentence of an `ArgumentError`."""

from __future__ import annotations

import builtins
import collections.abc
import dataclasses
import functools
import inspect
import numbers
import os
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from keras_resnets.errors import ArgumentError, nearest

F = TypeVar("F", bound=Callable[..., Any])

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    os.PathLike: "a path",
    type(None): "None",
    bytes: "bytes",
}


def explained(function: F) -> F:
    """Decorates a public function: where it fails, and an argument is not of the type in its signature, that is told.

    Of a class, that is done for what makes its objects.

    A number of NumPy, as `labels.max() + 1` is one, comes to the function as Python's, also in a tuple or a list, so
    that whole numbers are whole and what is written as text or JSON is plain.

    Nothing is checked before: what a function can use, it uses, whatever its type. What it raises to explain itself
    (`ArgumentError`, and that something is absent or not installed) stays, and so does what Python says of a call with
    arguments that the function does not have.

    Example:
        >>> from keras_resnets.explaining import explained
        >>> @explained
        ... def double(number: int) -> int:
        ...     return len(range(number)) * 2
        >>> double("3")
        Traceback (most recent call last):
        ...
        keras_resnets.errors.ArgumentError: number must be a whole number; got '3'.
    """

    if isinstance(function, type):
        function.__init__ = explained(function.__init__)  # type: ignore[misc]
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        args = tuple(map(_plain, args))
        kwargs = {name: _plain(value) for name, value in kwargs.items()}
        try:
            return function(*args, **kwargs)
        except (ArgumentError, OSError, ImportError, MemoryError):
            raise
        except Exception as error:
            refusal = _refusal(function, args, kwargs)
            if refusal is None:
                raise
            raise refusal from error

    return typing.cast(F, call)


def made_of(cls: type, values: Any, label: str) -> Any:
    """Makes an object of a dataclass of its fields by name, as JSON has them: lists become tuples.

    Args:
        cls: the class.
        values: its fields.
        label: what messages call it.

    Raises:
        ArgumentError: there is no such field, one is missing, or the class refuses its value.
    """
    if not isinstance(values, collections.abc.Mapping):
        raise ArgumentError(f"{label} must be a dictionary of fields; got {values!r}.")
    check_fields(cls, values, label)
    for field in dataclasses.fields(cls):
        if field.default is field.default_factory is dataclasses.MISSING and field.name not in values:
            raise ArgumentError(f"{label} must have the field {field.name!r}; got {', '.join(values) or 'none'}.")
    return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def check_fields(cls: type, names: collections.abc.Iterable[Any], label: str) -> None:
    """Raises `ArgumentError` for a name that is not a field of a dataclass, which messages call `label`."""
    fields = [field.name for field in dataclasses.fields(cls)]
    for name in names:
        if name not in fields:
            raise ArgumentError(f"{label} has no field {name!r}; did you mean one of: {nearest(str(name), fields)}?")


def _plain(value: Any) -> Any:
    """Returns a scalar of NumPy, and those in a tuple or a list, as Python's; anything else as it is."""
    if isinstance(value, np.number | np.bool_ | np.str_):
        return value.item()
    if type(value) in (tuple, list):
        parts = [_plain(part) for part in value]
        if any(plain is not part for plain, part in zip(parts, value, strict=True)):
            return type(value)(parts)
    return value


def _refusal(function: Callable, args: tuple, kwargs: dict[str, Any]) -> ArgumentError | None:
    """Returns what is to be said of the first argument that is not of its type."""
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:
        return None
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in given or parameter.annotation is parameter.empty:
            continue
        hint = _hint(parameter.annotation, inspect.unwrap(function))
        values = given[name] if parameter.kind == parameter.VAR_POSITIONAL else (given[name],)
        if parameter.kind == parameter.VAR_KEYWORD:
            values = tuple(given[name].values())
        for value in values:
            if not _fits(value, hint):
                return ArgumentError(f"{name} must be {_described(hint)}; got {value!r}.")
    return None


def _hint(annotation: Any, function: Any) -> Any:
    """Returns the type that an annotation stands for; any, where its name is known to type checkers alone."""
    if not isinstance(annotation, str):
        return annotation
    names = {**vars(builtins), **getattr(function, "__globals__", vars(sys.modules[function.__module__]))}
    try:
        return eval(annotation, names)
    except Exception:
        return Any


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, as far as that can be said."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is typing.Literal:
        return isinstance(value, collections.abc.Hashable) and value in parts
    if hint is None or hint is Any:
        return hint is Any or value is None
    if hint in (int, float):
        return isinstance(value, numbers.Integral if hint is int else numbers.Real) and not isinstance(value, bool)
    if isinstance(origin, type):
        return _holds(value, origin, parts)
    return isinstance(value, hint) if isinstance(hint, type) else True


def _holds(value: Any, origin: type, parts: tuple) -> bool:
    """Whether a value is a container of a kind, with parts of their types."""
    if origin is collections.abc.Callable:
        return callable(value)
    if not isinstance(value, origin) or isinstance(value, str | bytes):
        return False
    if isinstance(value, collections.abc.Mapping) and len(parts) == 2:
        return all(_fits(k, parts[0]) and _fits(v, parts[1]) for k, v in value.items())
    if origin is tuple and parts and parts[-1] is not ...:
        inside: Any = value
        return len(inside) == len(parts) and all(_fits(v, part) for v, part in zip(inside, parts, strict=True))
    if isinstance(value, list | tuple) and parts:
        return all(_fits(part, parts[0]) for part in value)
    return True


def _described(hint: Any) -> str:
    """Says in words what a type is."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        words = list(dict.fromkeys(map(_described, parts)))
        return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
    if origin is typing.Literal:
        return " or ".join(map(repr, parts))
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return "a function"
    if origin is tuple and parts and parts[-1] is not ...:
        return f"a tuple ({', '.join(map(_described, parts))})"
    if isinstance(origin, type):
        if issubclass(origin, collections.abc.Mapping):
            return "a dictionary"
        what = "a list" if origin is list else "a tuple" if origin is tuple else "a sequence"
        return f"{what} of which each is {_described(parts[0])}" if parts else what
    name = "None" if hint is None else getattr(hint, "__name__", str(hint))
    return _WORDS.get(hint) or ("None" if hint is None else f"{'an' if name[0] in 'AEIOU' else 'a'} {name}")
