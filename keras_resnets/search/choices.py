"""The hyperparameters of a search: which there are, and checks of their values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_resnets import paths as policies
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError, nearest
from keras_resnets.explaining import explained
from keras_resnets.training.recipes import Recipe

BLOCKS, UNIT, PATHS = "blocks", "unit", "paths"
# Fields that the data, the space or the budget determines.
_GIVEN = {"name", "stages", "input_shape", "classes", "width", "hidden", "epochs", "iterations", "boundaries"}
_GIVEN |= {"augmentation", "class_weight", "patience", "freeze"}
OF_RECIPE = {field.name for field in dataclasses.fields(Recipe)} - _GIVEN
OF_SPEC = {field.name for field in dataclasses.fields(Spec)} - _GIVEN - OF_RECIPE
# Fields of a spec that do not affect its costs.
FREE = {"dropout", "bn_momentum", "bn_epsilon", "zero_gamma", "init"}
# Fields of a recipe that the data pipelines depend on.
LOADING = {"batch_size", "normalize", "augmentation", "drop_remainder"}


@explained
@dataclass(frozen=True)
class Range:
    """An interval of numbers for a hyperparameter.

    Args:
        low: the smallest number.
        high: the largest number.
        log: whether to sample on a logarithmic scale instead of a linear one.

    Example:
        >>> import keras_resnets as kr
        >>> kr.search.Range(0.01, 0.3)
        Range(low=0.01, high=0.3, log=True)
    """

    low: float
    high: float
    log: bool = True

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf or (self.log and self.low <= 0):
            raise ArgumentError(
                f"Range must go from a smaller number to a larger one, both finite, and positive where log is set; "
                f"got {self.low!r} to {self.high!r}."
            )


def checked(name: str, values) -> Sequence[Any] | Range:
    """Returns the values of a hyperparameter as a list or a `Range`; raises `ArgumentError` if they break a rule."""
    # The name.
    names = {UNIT, PATHS} | OF_SPEC | OF_RECIPE
    if name not in names:
        raise ArgumentError(f"choices: there is no {name!r} to choose; did you mean one of: {nearest(name, names)}?")

    # The values.
    if isinstance(values, Range):
        if name in OF_SPEC - FREE or name in (UNIT, PATHS):
            raise ArgumentError(f"choices: {name} must be a list of values, not a Range; got {values!r}.")
        return values
    values = list(values) if isinstance(values, list | tuple) else []
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        values, kinds = [float(value) for value in values], {float}
    if len(kinds) != 1 or not kinds <= {str, int, float, bool} or len(set(values)) < len(values):
        raise ArgumentError(
            f"choices: {name} must be a list of different strings, numbers or booleans, or a Range; got {values!r}."
        )
    if name == PATHS:
        for value in values:
            policies.get(None if value == "all" else value)
    return values


def declare(hp, name: str, values: Sequence[Any] | Range) -> None:
    """Adds a hyperparameter to a keras-tuner space."""
    if isinstance(values, Range):
        kind = "log" if values.log else "linear"
        hp.Float(name, values.low, values.high, sampling=kind, default=_middle(values))
    elif len(values) == 1:
        hp.Fixed(name, values[0])
    elif isinstance(values[0], bool):
        hp.Boolean(name, default=values[0])
    else:
        hp.Choice(name, list(values), default=values[0])


def _middle(values: Range) -> float:
    return math.sqrt(values.low * values.high) if values.log else (values.low + values.high) / 2
