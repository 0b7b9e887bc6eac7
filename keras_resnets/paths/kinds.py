"""The policies, each a distribution over sets of blocks. A new one goes here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import keras
import numpy as np
from keras import ops

from keras_resnets.errors import ArgumentError, one_of, whole_number
from keras_resnets.paths.policy import Policy, Stateless, sum_of_draws


@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class FixedSize(Policy):
    """Exactly `blocks` of the network's blocks, every such set alike: Veit et al. 2016, section 4.3, 23 of 54.

    Args:
        blocks: how many are on.
        seed: as for `Policy`.
        rescale: as for `Policy`. The paper does not say what it did; left out, a network trained on
            23 of 54 blocks meets sums at test time that it has never seen, and fails.

    Example:
        >>> import keras_resnets as kr
        >>> model = kr.build("preresnet20")
        >>> model.compile("sgd", "sparse_categorical_crossentropy", paths=kr.paths.FixedSize(4))
    """

    blocks: int

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("FixedSize.blocks", self.blocks, 0)

    def check(self, blocks: int) -> None:
        if self.blocks > blocks:
            raise ArgumentError(f"FixedSize.blocks must be at most {blocks}, the network's blocks; got {self.blocks}.")

    def survival(self, blocks: int) -> np.ndarray:
        return np.full(blocks, self.blocks / blocks)

    def active_blocks(self, blocks: int) -> np.ndarray:
        return np.eye(blocks + 1)[self.blocks]

    def choose(self, uniform):
        return _smallest(uniform, self.blocks)


@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class Bernoulli(Policy):
    """Each block is on with a probability of its own, independently of the others.

    Args:
        probability: one number for all blocks, or one for each.
        seed: as for `Policy`.
        rescale: as for `Policy`.

    Example:
        >>> import keras_resnets as kr
        >>> kr.paths.Bernoulli((1.0, 0.5)).active_blocks(2).tolist()
        [0.0, 0.5, 0.5]
    """

    probability: float | tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        many = isinstance(self.probability, tuple)
        for value in self.probability if isinstance(self.probability, tuple) else (self.probability,):
            _share(f"Bernoulli.probability{' of each block' * many}", value)

    def check(self, blocks: int) -> None:
        if isinstance(self.probability, tuple):
            _one_each("Bernoulli.probability", self.probability, blocks)

    def survival(self, blocks: int) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.probability, "float64"), (blocks,)).copy()


@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class StochasticDepth(Policy):
    """Huang et al. 2016: block l of L is on with probability `1 - l/L (1 - final_survival)`, a draw for each batch.

    Args:
        final_survival: probability of the last block to be on.
        decay: `"linear"`, as above, or `"uniform"`, `final_survival` for all blocks.
        seed: as for `Policy`.
        rescale: as for `Policy`.

    Example:
        >>> import keras_resnets as kr
        >>> float(kr.paths.StochasticDepth(0.5).survival(54).sum().round(6))  # (3L - 1) / 4, section 3
        40.25
    """

    final_survival: float
    decay: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        _share("StochasticDepth.final_survival", self.final_survival)
        one_of("StochasticDepth.decay", self.decay, ("linear", "uniform"))

    def survival(self, blocks: int) -> np.ndarray:
        if self.decay == "uniform":
            return np.full(blocks, float(self.final_survival))
        return 1 - np.arange(1, blocks + 1) / blocks * (1 - self.final_survival)


@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class Weighted(Policy):
    """Exactly `blocks` of the network's blocks, drawn one after the other with chances proportional to their weights.

    Args:
        blocks: how many are on.
        weights: a positive number for each block of the network.
        seed: as for `Policy`.
        rescale: as for `Policy`.

    Example:
        >>> import keras_resnets as kr
        >>> kr.paths.Weighted(1, (3.0, 1.0)).survival(2).round(6).tolist()
        [0.75, 0.25]
    """

    blocks: int
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.weights, tuple) or not all(
            isinstance(w, int | float) and 0 < w < float("inf") for w in self.weights
        ):
            raise ArgumentError(f"Weighted.weights must be a tuple of positive numbers; got {self.weights!r}.")
        whole_number("Weighted.blocks", self.blocks, 0, len(self.weights))

    def check(self, blocks: int) -> None:
        _one_each("Weighted.weights", self.weights, blocks)

    def survival(self, blocks: int) -> np.ndarray:
        # Drawing in turn is a race of exponential clocks (Efraimidis & Spirakis 2006): with t = -log(u), a block rings
        # before t with probability 1 - u^w, and is on if it rings at t while fewer than `blocks` others have.
        rates = np.asarray(self.weights, "float64") / np.mean(self.weights)
        points, shares = np.polynomial.legendre.leggauss(400)
        # u = v^p keeps the integrand smooth at both ends for weights far from their mean.
        v, power = (points + 1) / 2, max(1.0, 1 / rates.min())
        rung = 1 - v ** (power * rates[:, None])
        rings = power * rates[:, None] * v ** (power * rates[:, None] - 1)
        fewer = [sum_of_draws(np.delete(rung, i, axis=0))[: self.blocks].sum(0) for i in range(blocks)]
        return (np.array(fewer) * rings) @ (shares / 2)

    def active_blocks(self, blocks: int) -> np.ndarray:
        return np.eye(blocks + 1)[self.blocks]

    def choose(self, uniform):
        return _smallest(-ops.log1p(-uniform) / ops.convert_to_tensor(self.weights, uniform.dtype), self.blocks)


@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class DropPath(Policy):
    """A draw for each example: stochastic depth as later networks use it, under the name of DropPath.

    Block i of N, counted from 0, is on with probability `1 - rate i/(N - 1)`. What is on is divided by that
    probability in training, and nothing is scaled outside. All branches are computed: no time is saved.

    Args:
        rate: probability of the last block to be off.
        seed: as for `Policy`.

    Example:
        >>> import keras_resnets as kr
        >>> kr.paths.DropPath(0.2).survival(3).tolist()
        [1.0, 0.9, 0.8]
    """

    rate: float
    rescale: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _share("DropPath.rate", self.rate, open_end=True)
        if self.rescale:
            raise ArgumentError("DropPath.rescale must be False, for its branches are scaled in training; got True.")

    def survival(self, blocks: int) -> np.ndarray:
        return 1 - self.rate * np.arange(blocks) / max(1, blocks - 1)

    def draw(self, step, blocks: int, examples=None):
        if examples is None:
            raise ArgumentError("examples must be the number of examples, for DropPath draws for each; got None.")
        keep = ops.convert_to_tensor(self.survival(blocks)[:, None], "float32")
        generator = cast(Any, Stateless(self.seed or 0, step, _replica()))
        return ops.cast(keras.random.uniform((blocks, examples), seed=generator) < keep, "float32") / keep


def _replica():
    """The number of this replica, so that examples on different replicas are drawn apart."""
    if keras.config.backend() != "tensorflow":
        return 0
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return 0 if context is None or context.num_replicas_in_sync == 1 else context.replica_id_in_sync_group


def _smallest(keys, count: int):
    """Gates that are on for the `count` smallest keys."""
    return ops.argsort(ops.argsort(keys)) < count


def _share(argument: str, value: Any, open_end: bool = False) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    if not good or (open_end and value == 1):
        end = "up to, not including, 1" if open_end else "to 1"
        raise ArgumentError(f"{argument} must be a number from 0 {end}; got {value!r}.")


def _one_each(argument: str, values: Sequence, blocks: int) -> None:
    if len(values) != blocks:
        raise ArgumentError(f"{argument} must have a number for each of the {blocks} blocks; got {len(values)}.")
