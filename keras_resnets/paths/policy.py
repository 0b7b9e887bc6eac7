"""`Policy`: what all path policies have in common, and the seeds that they draw with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import keras
import numpy as np
from keras import ops

from keras_resnets.errors import one_of, whole_number


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What all policies have in common.

    Args:
        seed: of the draws; None takes 0, and `keras_resnets.train` then gives its own.
        rescale: whether, outside training, the residual branch of each block is multiplied with
            the probability that the block is on, as Huang et al. 2016, section 3, do. It stays so
            in a saved or exported network.
    """

    seed: int | None = None
    rescale: bool = True

    def __post_init__(self) -> None:
        if self.seed is not None:
            whole_number("seed", self.seed, 0, 2**31 - 1)
        one_of("rescale", self.rescale, (True, False))

    # What a policy must say.

    def check(self, blocks: int) -> None:
        """Raises `ArgumentError` if the policy does not fit a network of so many blocks."""

    def survival(self, blocks: int) -> np.ndarray:
        """Returns the probability of each block to be on."""
        raise NotImplementedError

    def choose(self, uniform):
        """Returns the gates, from numbers drawn evenly from 0 to 1, one for each block; here each for itself."""
        return uniform < ops.convert_to_tensor(self.survival(uniform.shape[0]), uniform.dtype)

    def active_blocks(self, blocks: int) -> np.ndarray:
        """Returns the probabilities that 0, 1, ..., `blocks` of the blocks are on."""
        return sum_of_draws(self.survival(blocks))

    # What follows from it.

    def draw(self, step, blocks: int, examples=None):
        """Draws the gates of a step.

        Args:
            step: number of the optimiser's step, a whole number or a tensor of one.
            blocks: number of blocks.
            examples: number of examples in the batch, for policies that draw for each.

        Returns:
            A boolean tensor of (blocks,); or weights of (blocks, examples), where 0 is off.

        Example:
            >>> import keras_resnets as kr, numpy as np
            >>> gates = kr.paths.FixedSize(3).draw(step=7, blocks=10)
            >>> int(np.sum(gates))
            3
        """
        self.check(blocks)
        uniform = keras.random.uniform((blocks,), seed=cast(Any, Stateless(self.seed or 0, step)))
        return self.choose(uniform)

    def path_lengths(self, blocks: int) -> np.ndarray:
        """Returns the probability of each length, 0 to `blocks`, of a path through a network drawn.

        The network of a step with M blocks on has 2^M paths, C(M, k) of which go through k residual branches (Veit et
        al. 2016, section 3). The path is drawn evenly from these, after the network.

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
        """Returns what the residual branches are multiplied with outside training."""
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


# The type of the state of a `keras.random.SeedGenerator`, by backend: Keras says it of one that is made alone, which
# takes a variable, and there is no making one where the draws of a step are traced.
_SEEDS = {"tensorflow": "int64", "jax": "uint32", "torch": "int32", "numpy": "uint32", "openvino": "int32"}


class Stateless(keras.random.SeedGenerator):
    """Hands Keras a seed that is a function of seed, step and stream, without a variable to count calls."""

    def __init__(self, seed: int, step, stream=0):
        # Mixed, since the torch backend adds the two numbers: neighbouring seeds would draw each other's steps.
        word = np.random.SeedSequence([seed, 0x70617468]).generate_state(1)[0] >> 1
        self._pair = ops.cast(ops.stack([ops.cast(word + stream, "int64"), ops.cast(step, "int64")]), "int64")

    def next(self, ordered=True):
        return ops.cast(self._pair, _SEEDS[keras.config.backend()])


def sum_of_draws(chances) -> np.ndarray:
    """Probabilities of 0, 1, ... successes among independent draws: the Poisson binomial distribution.

    Args:
        chances: of each draw to succeed; with further axes, for many such sums at once.

    Example:
        >>> from keras_resnets.paths.policy import sum_of_draws
        >>> sum_of_draws([0.5, 0.5, 0.5]).tolist()
        [0.125, 0.375, 0.375, 0.125]
    """
    chances = np.asarray(chances, "float64")
    found = np.ones((1, *chances.shape[1:]))
    none = np.zeros_like(found)
    for chance in chances:
        found = np.concatenate([found * (1 - chance), none]) + np.concatenate([none, found * chance])
    return found
