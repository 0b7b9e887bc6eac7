"""The policies, each a distribution over sets of blocks. Add new policies here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_resnets import replicas
from keras_resnets.errors import ArgumentError, number, one_of, whole_number
from keras_resnets.explaining import explained
from keras_resnets.paths.draws import uniform
from keras_resnets.paths.policy import Policy, sum_of_draws


@explained
@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class FixedSize(Policy):
    """Exactly `blocks` of the network's blocks, all such sets equally likely: Veit et al. 2016, section 4.3, 23 of 54.

    Args:
        blocks: number of blocks that are on.
        seed: as for `Policy`.
        rescale: as for `Policy`. The paper does not say whether it rescales; without it, a network trained on 23 of 54
            blocks fails at test time, where sums are unlike all in training.

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


@explained
@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class Bernoulli(Policy):
    """Each block is on with its own probability, independently of the others.

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
        if isinstance(self.probability, tuple):
            for value in self.probability:
                number("Bernoulli.probability of each block", value, least=0, most=1)
        else:
            number("Bernoulli.probability", self.probability, least=0, most=1)

    def check(self, blocks: int) -> None:
        if isinstance(self.probability, tuple):
            _check_length("Bernoulli.probability", self.probability, blocks)

    def survival(self, blocks: int) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.probability, "float64"), (blocks,)).copy()


@explained
@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class StochasticDepth(Policy):
    """Block l of L is on with probability `1 - l/L (1 - final_survival)`, drawn for each batch (Huang et al. 2016).

    Args:
        final_survival: probability that the last block is on.
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
        number("StochasticDepth.final_survival", self.final_survival, least=0, most=1)
        one_of("StochasticDepth.decay", self.decay, ("linear", "uniform"))

    def survival(self, blocks: int) -> np.ndarray:
        if self.decay == "uniform":
            return np.full(blocks, float(self.final_survival))
        return 1 - np.arange(1, blocks + 1) / blocks * (1 - self.final_survival)


@explained
@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class Weighted(Policy):
    """Exactly `blocks` of the network's blocks, drawn in turn with probabilities proportional to their weights.

    Args:
        blocks: number of blocks that are on.
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
        _check_length("Weighted.weights", self.weights, blocks)

    def survival(self, blocks: int) -> np.ndarray:
        # Drawing in turn equals a race of exponential clocks (Efraimidis & Spirakis 2006): with t = -log(u), a block
        # rings before t with probability 1 - u^w, and is on if fewer than `blocks` others have rung before it.
        rates = np.asarray(self.weights, "float64") / np.mean(self.weights)
        points, shares = np.polynomial.legendre.leggauss(400)
        # Substituting u = v^p keeps the integrand smooth at both ends, also for weights far from their mean.
        v, power = (points + 1) / 2, max(1.0, 1 / rates.min())
        rung = 1 - v ** (power * rates[:, None])
        rings = power * rates[:, None] * v ** (power * rates[:, None] - 1)
        fewer = [sum_of_draws(np.delete(rung, i, axis=0))[: self.blocks].sum(0) for i in range(blocks)]
        return (np.array(fewer) * rings) @ (shares / 2)

    def active_blocks(self, blocks: int) -> np.ndarray:
        return np.eye(blocks + 1)[self.blocks]

    def choose(self, uniform):
        return _smallest(-ops.log1p(-uniform) / ops.convert_to_tensor(self.weights, uniform.dtype), self.blocks)


@explained
@keras.saving.register_keras_serializable("keras_resnets")
@dataclass(frozen=True)
class DropPath(Policy):
    """Stochastic depth with a draw for each example, known in later networks as DropPath.

    Block i of N, counted from 0, is on with probability `1 - rate i/(N - 1)`. In training, branches that are on are
    divided by that probability; otherwise nothing is scaled. All branches are computed, so training is not faster.

    Args:
        rate: probability that the last block is off.
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
        number("DropPath.rate", self.rate, least=0, below=1)
        if self.rescale:
            raise ArgumentError(
                "DropPath.rescale must be False, because its branches are scaled in training; got True."
            )

    def survival(self, blocks: int) -> np.ndarray:
        return 1 - self.rate * np.arange(blocks) / max(1, blocks - 1)

    def draw(self, step, blocks: int, examples=None):
        if examples is None:
            raise ArgumentError("examples must be the number of examples, because DropPath draws for each; got None.")
        keep = ops.convert_to_tensor(self.survival(blocks)[:, None], "float32")
        # Replicas draw for the whole batch, as one device does, and take what is for their part of it.
        drawn = uniform((blocks, examples * replicas.count()), self.seed or 0, step)
        if replicas.count() > 1:
            drawn = drawn[:, replicas.number() * examples : (replicas.number() + 1) * examples]
        return ops.cast(drawn < keep, "float32") / keep


def _smallest(keys, count: int):
    """Returns gates that are on for the `count` smallest keys."""
    return ops.argsort(ops.argsort(keys)) < count


def _check_length(argument: str, values: Sequence, blocks: int) -> None:
    if len(values) != blocks:
        raise ArgumentError(f"{argument} must have a number for each of the {blocks} blocks; got {len(values)}.")
