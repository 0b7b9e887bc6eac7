"""Writes the trials of a search for TensorBoard's HParams tab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_resnets.architecture import budget
from keras_resnets.reports.study import Events
from keras_resnets.search.choices import BLOCKS
from keras_resnets.search.space import DepthWidth, Plan

# The columns that the tab shows first.
_FIRST = ("depth", "width", "parameters", "macs")


def write_columns(space: DepthWidth, objective: str, logs: Path) -> None:
    """Writes which columns the tab has, and which it shows; its default is the first in alphabetical order."""
    from tensorboard.plugins.hparams import summary_v2 as api  # `api` itself imports TensorFlow

    strings = _string_choices(space)

    def column(name: str) -> api.HParam:
        kind: Any = api.Discrete if name in strings else api.RealInterval

        class Values(kind):
            def update_hparam_info(self, hparam_info):
                super().update_hparam_info(hparam_info)
                hparam_info.differs = name in _FIRST  # the tab shows these first

        return api.HParam(name, Values(*([strings[name]] if name in strings else [-1e300, 1e300])))

    names = (*_FIRST, BLOCKS, *space.choices, "activations", "epochs")
    summary = api.hparams_config_pb([column(name) for name in names], [api.Metric(objective)])
    Events.remove(logs)
    with Events(logs) as events:
        events.summary(summary)


def write_trial(
    space: DepthWidth, objective: str, logs: Path, trial: str, plan: Plan, epochs: int, score: float
) -> None:
    """Writes the hyperparameters, the costs and the score of a trial."""
    from tensorboard.plugins.hparams import summary_v2 as api  # `api` itself imports TensorFlow

    strings = _string_choices(space)
    values: dict[str, Any] = {"depth": plan.spec.depth, "width": plan.spec.stages[-1].widths[-1], "epochs": epochs}
    values |= budget.costs(plan.spec)
    values |= {name: str(value) if name in strings else value for name, value in plan.values.items()}
    folder = logs / f"trial{trial}"
    Events.remove(folder)
    with Events(folder) as events:
        events.summary(api.hparams_pb(values, trial_id=f"trial {trial}"))
        events.scalar(objective, score, epochs)


def _string_choices(space: DepthWidth) -> dict[str, list[str]]:
    """Returns the hyperparameters whose values are strings, with their values."""
    choices = {BLOCKS: space.blocks, **space.choices}
    return {name: values for name, values in choices.items() if isinstance(values, list) and isinstance(values[0], str)}
