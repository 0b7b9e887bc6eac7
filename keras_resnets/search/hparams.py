"""The trials of a search for TensorBoard's tab HParams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_resnets.architecture import budget
from keras_resnets.reports.study import Events
from keras_resnets.search.choices import BLOCKS
from keras_resnets.search.space import DepthWidth, Plan

# What the tab shows first.
_FIRST = ("depth", "width", "parameters", "macs")


def begin(space: DepthWidth, objective: str, logs: Path) -> None:
    """Says which columns the tab has, and which it shows; by itself it shows what comes first in the alphabet."""
    from tensorboard.plugins.hparams import api

    texts = _texts(space)

    def column(name: str) -> api.HParam:
        kind: Any = api.Discrete if name in texts else api.RealInterval

        class Values(kind):
            def update_hparam_info(self, hparam_info):
                super().update_hparam_info(hparam_info)
                hparam_info.differs = name in _FIRST  # those come first

        return api.HParam(name, Values(*([texts[name]] if name in texts else [-1e300, 1e300])))

    names = (*_FIRST, BLOCKS, *space.choices, "activations", "epochs")
    summary = api.hparams_config_pb([column(name) for name in names], [api.Metric(objective)])
    _clean(logs)
    with Events(logs) as events:
        events.summary(summary)


def note(space: DepthWidth, objective: str, logs: Path, trial: str, plan: Plan, epochs: int, score: float) -> None:
    """Writes what a trial is of, what it costs, and its score."""
    from tensorboard.plugins.hparams import api

    texts = _texts(space)
    values: dict[str, Any] = {"depth": plan.spec.depth, "width": plan.spec.stages[-1].widths[-1], "epochs": epochs}
    values |= budget.costs(plan.spec)
    values |= {name: str(value) if name in texts else value for name, value in plan.values.items()}
    folder = logs / f"trial{trial}"
    _clean(folder)
    with Events(folder) as events:
        events.summary(api.hparams_pb(values, trial_id=f"trial {trial}"))
        events.scalar(objective, score, epochs)


def _texts(space: DepthWidth) -> dict[str, list[str]]:
    """The values of the hyperparameters that are no numbers."""
    chosen = {BLOCKS: space.blocks, **space.choices}
    return {name: values for name, values in chosen.items() if isinstance(values, list) and isinstance(values[0], str)}


def _clean(folder: Path) -> None:
    """Removes what a process wrote that did not come to the end."""
    for old in folder.glob("events.*"):
        old.unlink()
