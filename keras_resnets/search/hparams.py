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
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from tensorboard.plugins.hparams.summary_v2 import Discrete, HParam, Metric, RealInterval, hparams_config_pb

    numbers = RealInterval(-1e300, 1e300)
    names = (*_FIRST, BLOCKS, *space.choices, "activations", "epochs")
    texts = _texts(space)
    columns = [HParam(name, Discrete(texts[name]) if name in texts else numbers) for name in names]
    summary = hparams_config_pb(columns, [Metric(objective)])
    held = summary.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(held.content)
    for column in content.experiment.hparam_infos:
        column.differs = column.name in _FIRST  # those come first
    held.content = content.SerializeToString()
    _clean(logs)
    with Events(logs) as events:
        events.summary(summary)


def note(space: DepthWidth, objective: str, logs: Path, trial: str, plan: Plan, epochs: int, score: float) -> None:
    """Writes what a trial is of, what it costs, and its score."""
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    texts = _texts(space)
    values: dict[str, Any] = {"depth": plan.spec.depth, "width": plan.spec.stages[-1].widths[-1], "epochs": epochs}
    values |= budget.costs(plan.spec)
    values |= {name: str(value) if name in texts else value for name, value in plan.values.items()}
    folder = logs / f"trial{trial}"
    _clean(folder)
    with Events(folder) as events:
        events.summary(hparams_pb(values, trial_id=f"trial {trial}"))
        events.scalar(objective, score, epochs)


def _texts(space: DepthWidth) -> dict[str, list[str]]:
    """The values of the hyperparameters that are no numbers."""
    chosen = {BLOCKS: space.blocks, **space.choices}
    return {name: values for name, values in chosen.items() if isinstance(values, list) and isinstance(values[0], str)}


def _clean(folder: Path) -> None:
    """Removes what a process wrote that did not come to the end."""
    for old in folder.glob("events.*"):
        old.unlink()
