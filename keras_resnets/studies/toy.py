"""The toy network of Littwin & Wolf 2016: a residual perceptron that learns to classify Gaussians."""

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

# Not from the paper: batch size, test examples, those of them that branches are measured on, number of measurements.
BATCH, TESTED, MEASURED, MEASUREMENTS = 100, 2000, 500, 20


def toy(
    layers: int = 10, width: int = 100, dimension: int = 20, classes: int = 50, normalised: bool = True
) -> ResidualNetwork:
    """Builds the network, with a classifier on top.

    `N_l = (lambda_l / sigma_l) ReLU(W_l^T N_{l-1}) + N_{l-1}` (Eq. 20), the first layer without the
    skip; without normalisation, `N_l = ReLU(W_l^T N_{l-1}) + N_{l-1}` (Eq. 7). The normalisation is an
    ordinary batch-norm without an offset behind the ReLU: it divides by the standard deviation of
    its input, but also subtracts the mean, which Eq. 20 does not. Only then do the
    energies grow as in the paper, `E[N_{l+1}^2] = 1 + E[N_l^2]`: the output of a ReLU, if not centred,
    has more energy than variance, and its mean adds up over layers. Each unit has its own lambda.
    Initial weights have the paper's variance of 1/n, `C = 1 / sqrt(n)`.

    Args:
        layers: number of layers, including the first.
        width: n, units in a layer.
        dimension: dimension of the input.
        classes: number of outputs.
        normalised: whether to use batch-norm.

    Returns:
        A `ResidualNetwork` whose links are `layer1` to `layerN` and `head`.

    Example:
        >>> from keras_resnets.studies.littwin import toy
        >>> [block.name for block in toy(layers=3).blocks]
        ['layer2', 'layer3']
    """
    # In this order: a seed gives the initial weights in the order in which layers are made.
    blocks = [
        ResidualBlock(
            _unit("residual", width, normalised), keras_layers.Identity(name="shortcut"), name=f"layer{number}"
        )
        for number in range(2, layers + 1)
    ]
    head = Segment(keras_layers.Dense(classes, activation="softmax", name="body"), name="head")
    first = Segment(_unit("body", width, normalised), name="layer1")
    return ResidualNetwork([first, *blocks, head], (dimension,), name="toy")


def _unit(name: str, width: int, normalised: bool) -> keras.Sequential:
    """Makes the layers of one residual branch: dense, ReLU and, if normalised, batch-norm."""
    start = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")
    parts = [keras_layers.Dense(width, use_bias=False, kernel_initializer=start), keras_layers.ReLU()]
    return keras.Sequential([*parts, BatchNorm(center=False)] if normalised else parts, name=name)


def learn(
    network: ResidualNetwork, means: np.ndarray, samples: int, steps: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Trains a compiled toy network on Gaussians of unit variance, and measures it meanwhile.

    Args:
        network: the network.
        means: means of the Gaussians, a row for each class.
        samples: number of training examples.
        steps: steps of the optimiser.
        rng: draws the examples and the batches.

    Yields:
        For each measured step and layer, `step`, `layer`, `scale`, `norm`, `energy_ratio`, `cosine` and
        `error`, as in `littwin`.
    """
    (x, y), (x_test, y_test) = _draw_examples(means, samples, rng), _draw_examples(means, TESTED, rng)
    every = max(1, steps // MEASUREMENTS)
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            error = float((network.predict_on_batch(x_test).argmax(1) != y_test).mean())
            for row in _measure_layers(network, x_test[:MEASURED]):
                yield {"step": step, **row, "error": error}
        if step < steps:
            batch = rng.integers(0, samples, BATCH)
            network.train_on_batch(x[batch], y[batch])


def _draw_examples(means: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws examples of the Gaussians, with their classes."""
    labels = rng.integers(0, len(means), count)
    return (means[labels] + rng.normal(size=(count, means.shape[1]))).astype("float32"), labels


def _measure_layers(network: ResidualNetwork, x: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields scale, weight norm and branch measures of each layer."""
    branches = measure(network, x).set_index("block")[["energy_ratio", "cosine"]].to_dict("index")
    no_shortcut = {"energy_ratio": float("nan"), "cosine": float("nan")}  # of the first layer
    for number, link in enumerate(network.chain[:-1], 1):
        unit = link.body if isinstance(link, Segment) else link.residual
        yield {
            "layer": number,
            "scale": scale(norms(unit, link.input.shape)),
            "norm": float(np.linalg.norm(keras.ops.convert_to_numpy(unit.layers[0].kernel))),
            **branches.get(link.name, no_shortcut),
        }
