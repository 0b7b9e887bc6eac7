"""The toy network of Littwin & Wolf 2016: a residual perceptron that learns to tell Gaussians apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers as keras_layers

from keras_resnets.instruments.energy import measure, norms, scale
from keras_resnets.network.blocks import ResidualBlock, Segment
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.layers import BatchNorm

# Ours: a batch, the examples that errors are counted on, those of them that branches are measured on, and how often.
BATCH, TESTED, MEASURED, MOMENTS = 100, 2000, 500, 20


def toy(
    layers: int = 10, width: int = 100, dimension: int = 20, classes: int = 50, normalised: bool = True
) -> ResidualNetwork:
    """Builds the network, with a classifier on top.

    `N_l = (lambda_l / sigma_l) ReLU(W_l^T N_{l-1}) + N_{l-1}` (Eq. 20), the first layer without the
    skip; not normalised, `N_l = ReLU(W_l^T N_{l-1}) + N_{l-1}` (Eq. 7). Normalised is by an
    ordinary batch-norm without an offset behind the ReLU: it divides by the standard deviation of
    what comes in, but takes its mean off, too, which Eq. 20 does not write. Only so do the
    energies grow as the paper has it, `E[N_{l+1}^2] = 1 + E[N_l^2]`: a ReLU's output not centred
    has more energy than variance, and adds up with the others. Each unit has a lambda of its own.
    Weights start with the variance 1/n of the paper, `C = 1 / sqrt(n)`.

    Args:
        layers: how many, the first included.
        width: n, units in a layer.
        dimension: of the input.
        classes: of the output.
        normalised: whether there are batch-norms.

    Returns:
        A `ResidualNetwork` whose links are `layer1` to `layerN` and `head`.

    Example:
        >>> from keras_resnets.studies.littwin import toy
        >>> [block.name for block in toy(layers=3).blocks]
        ['layer2', 'layer3']
    """

    def unit(name: str) -> keras.Sequential:
        start = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")
        parts = [keras_layers.Dense(width, use_bias=False, kernel_initializer=start), keras_layers.ReLU()]
        return keras.Sequential([*parts, BatchNorm(center=False)] if normalised else parts, name=name)

    blocks = [
        ResidualBlock(unit("residual"), keras_layers.Identity(name="shortcut"), name=f"layer{number}")
        for number in range(2, layers + 1)
    ]
    head = Segment(keras_layers.Dense(classes, activation="softmax", name="body"), name="head")
    return ResidualNetwork([Segment(unit("body"), name="layer1"), *blocks, head], (dimension,), name="toy")


def learn(
    network: ResidualNetwork, means: np.ndarray, samples: int, steps: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Trains a compiled toy network on Gaussians of unit variance, and measures it as it goes.

    Args:
        network: the network.
        means: of the Gaussians, a row for each class.
        samples: how many examples there are to train on.
        steps: of the optimiser.
        rng: draws the examples and the batches.

    Yields:
        For each moment and layer, `step`, `layer`, `scale`, `norm`, `energy_ratio`, `cosine` and
        `error`, as `littwin` has them.
    """

    def examples(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(0, len(means), count)
        return (means[labels] + rng.normal(size=(count, means.shape[1]))).astype("float32"), labels

    (x, y), (unseen, answers) = examples(samples), examples(TESTED)
    every = max(1, steps // MOMENTS)
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            error = float((network.predict_on_batch(unseen).argmax(1) != answers).mean())
            for row in _layers(network, unseen[:MEASURED]):
                yield {"step": step, **row, "error": error}
        if step < steps:
            batch = rng.integers(0, samples, BATCH)
            network.train_on_batch(x[batch], y[batch])


def _layers(network: ResidualNetwork, x: np.ndarray) -> Iterator[dict[str, Any]]:
    branches = measure(network, x).set_index("block")[["energy_ratio", "cosine"]].to_dict("index")
    nothing = {"energy_ratio": float("nan"), "cosine": float("nan")}  # of the first layer, which has no shortcut
    for number, link in enumerate(network.chain[:-1], 1):
        unit = link.body if isinstance(link, Segment) else link.residual
        yield {
            "layer": number,
            "scale": scale(norms(unit, link.input.shape)),
            "norm": float(np.linalg.norm(keras.ops.convert_to_numpy(unit.layers[0].kernel))),
            **branches.get(link.name, nothing),
        }
