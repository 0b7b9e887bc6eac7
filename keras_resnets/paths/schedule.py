"""`Schedule`: consecutive path policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.paths.kinds import DropPath, FixedSize
from keras_resnets.paths.policy import Policy


@explained
@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class Schedule(Policy):
    """Consecutive policies, each from a given training step on.

    The current policy decides seed and scaling. `survival`, `path_lengths` and `active_blocks` describe the last one;
    `at(step)` returns any other.

    Args:
        phases: pairs of a phase's first step, rising from 0, and its policy; None turns all blocks on.

    Example:
        >>> import keras_resnets as kr
        >>> policy = kr.paths.Schedule(((0, None), (1000, kr.paths.FixedSize(4))))
        >>> policy.at(999) is None, policy.at(1000).blocks
        (True, 4)
    """

    phases: tuple[tuple[int, Policy | None], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = [phase[0] for phase in self.phases if isinstance(phase, tuple) and len(phase) == 2]
        if len(steps) < len(self.phases) or steps[:1] != [0] or steps != sorted(set(steps)):
            raise ArgumentError(
                f"Schedule.phases must be pairs of a first step, rising from 0, and a policy; got {self.phases!r}."
            )
        for _, policy in self.phases:
            if policy is not None and (not isinstance(policy, Policy) or isinstance(policy, DropPath | Schedule)):
                raise ArgumentError(
                    f"Schedule.phases must hold policies that draw for a whole batch, or None; got {policy!r}."
                )

    def at(self, step: int) -> Policy | None:
        """Returns the policy at a step."""
        return [policy for first, policy in self.phases if first <= step][-1]

    def _policy_or_all(self, blocks: int, policy: Policy | None) -> Policy:
        return policy or FixedSize(blocks)

    def check(self, blocks: int) -> None:
        for _, policy in self.phases:
            self._policy_or_all(blocks, policy).check(blocks)

    def survival(self, blocks: int) -> np.ndarray:
        return self._policy_or_all(blocks, self.phases[-1][1]).survival(blocks)

    def active_blocks(self, blocks: int) -> np.ndarray:
        return self._policy_or_all(blocks, self.phases[-1][1]).active_blocks(blocks)

    def draw(self, step, blocks: int, examples=None):
        self.check(blocks)
        gates = None
        for first, policy in self.phases:
            drawn = self._policy_or_all(blocks, policy).replace(seed=self._seed(policy)).draw(step, blocks)
            gates = drawn if gates is None else ops.where(ops.convert_to_tensor(step) >= first, drawn, gates)
        return gates

    def _seed(self, policy: Policy | None) -> int | None:
        return self.seed if policy is None or policy.seed is None else policy.seed

    def scales(self, blocks: int, step: int = 0) -> np.ndarray:
        return self._policy_or_all(blocks, self.at(step)).scales(blocks)

    def get_config(self) -> dict[str, Any]:
        phases = [[step, policy and keras.saving.serialize_keras_object(policy)] for step, policy in self.phases]
        return {"phases": phases, "seed": self.seed, "rescale": self.rescale}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Schedule:
        phases = tuple((s, p and keras.saving.deserialize_keras_object(p)) for s, p in config["phases"])
        return cls(**{**config, "phases": phases})
