"""`Policy`: the base class of path policies, with its draws and what follows from its chances."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_resnets.errors import one_of, whole_number
from keras_resnets.paths.draws import uniform


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The base class of path policies.

    Args:
        seed: seed of the draws; None means the seed of `keras_resnets.train`, else 0.
        rescale: whether, outside training, each residual branch is multiplied by the probability that its block is on,
            as in Huang et al. 2016, section 3. A saved or exported network keeps this scale.
    """

    seed: int | None = None
    rescale: bool = True

    def __post_init__(self) -> None:
        if self.seed is not None:
            whole_number("seed", self.seed, 0, 2**31 - 1)
        one_of("rescale", self.rescale, (True, False))

    # Subclasses override these.

    def check(self, blocks: int) -> None:
        """Raises `ArgumentError` if the policy does not fit a network with this number of blocks."""

    def survival(self, blocks: int) -> np.ndarray:
        """Returns the probability that each block is on."""
        raise NotImplementedError

    def choose(self, uniform):
        """Returns the gates, given one uniform number from 0 to 1 for each block; by default independently."""
        return uniform < ops.convert_to_tensor(self.survival(uniform.shape[0]), uniform.dtype)

    def active_blocks(self, blocks: int) -> np.ndarray:
        """Returns the probabilities that 0, 1, ..., `blocks` of the blocks are on."""
        return sum_of_draws(self.survival(blocks))

    # These follow from them.

    def draw(self, step, blocks: int, examples=None):
        """Draws the gates of a step.

        Args:
            step: number of the optimiser's step, an integer or an integer tensor.
            blocks: number of blocks.
            examples: number of examples in the batch, for policies that draw for each example.

        Returns:
            A boolean tensor of shape (blocks,); or weights of shape (blocks, examples), where 0 is off.

        Example:
            >>> import keras_resnets as kr, numpy as np
            >>> gates = kr.paths.FixedSize(3).draw(step=7, blocks=10)
            >>> int(np.sum(gates))
            3
        """
        self.check(blocks)
        return self.choose(uniform((blocks,), self.seed or 0, step))

    def path_lengths(self, blocks: int) -> np.ndarray:
        """Returns the distribution of the length, 0 to `blocks`, of a random path through the network of a random step.

        A network with M blocks on has 2^M paths, C(M, k) of which go through k residual branches (Veit et al. 2016,
        section 3); all of them are equally likely.

        Example:
            >>> import keras_resnets as kr
            >>> lengths = kr.paths.FixedSize(23).path_lengths(54)
            >>> float(lengths @ range(55))  # Veit et al. 2016, section 4.3: centred on 11.5
            11.5
        """
        from scipy.stats import binom

        self.check(blocks)
        numbers = np.arange(blocks + 1)
        return self.active_blocks(blocks) @ binom.pmf(numbers[None], numbers[:, None], 0.5)

    def scales(self, blocks: int, step: int = 0) -> np.ndarray:
        """Returns the factors of the residual branches outside training."""
        self.check(blocks)
        return self.survival(blocks) if self.rescale else np.ones(blocks)

    def replace(self, **changes: Any) -> Policy:
        """Returns a copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def get_config(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Policy:
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        return cls(**given)


def sum_of_draws(chances) -> np.ndarray:
    """Returns the probabilities of 0, 1, ... successes in independent draws (Poisson binomial distribution).

    Args:
        chances: probability of success of each draw; further axes are independent sums.

    Example:
        >>> from keras_resnets.paths.policy import sum_of_draws
        >>> sum_of_draws([0.5, 0.5, 0.5]).tolist()
        [0.125, 0.375, 0.375, 0.125]
    """
    chances = np.asarray(chances, "float64")
    distribution = np.ones((1, *chances.shape[1:]))
    zero = np.zeros_like(distribution)
    for chance in chances:
        distribution = np.concatenate([distribution * (1 - chance), zero]) + np.concatenate(
            [zero, distribution * chance]
        )
    return distribution
