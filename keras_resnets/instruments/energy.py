"""Measures the energy of each block's residual branch relative to its shortcut while a network trains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_resnets.data.batches import check_inputs
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments.differentiation import without_gradients
from keras_resnets.network import private
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.cost import leaves

if TYPE_CHECKING:
    import pandas as pd


def measure(network: ResidualNetwork, x) -> pd.DataFrame:
    """Measures the branches of every block that has both.

    Batch-norm normalises by the batch statistics of the examples, as it does in training (if a
    layer is not frozen); everything else is as in inference, without dropout. The moving averages
    are unsuitable: before training they come from no data, and a network with batch-norm then
    computes something else. The network, its averages and its random state do not change.

    Args:
        network: the network.
        x: examples, measured as one batch.

    Returns:
        A pandas.DataFrame with a row for each block, in order: `block`, `stage`, `energy_ratio`
        (the sum of squares of the residual branch's output over that of the shortcut's; infinite
        or NaN beside a shortcut of zeros), `cosine` (of the angle between the two outputs: 0, the
        energies add; 1, the amplitudes) and `gamma` (the mean magnitude of the scale of the
        residual branch's last batch-norm that has one: the one before the addition, or, if there is
        none, as in pre-activation blocks, the one before the last convolution; NaN without any).

    Raises:
        ArgumentError: no block has both branches.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> from keras_resnets.instruments.energy import measure
        >>> x = np.random.default_rng(0).normal(size=(4, 8, 8, 1))
        >>> measure(kr.build("resnet8", (8, 8, 1)), x)[["block", "gamma"]].values.tolist()
        [['stage1_block1', 1.0], ['stage2_block1', 1.0], ['stage3_block1', 1.0]]
    """
    import pandas as pd

    stages = dict(zip([block.name for block in network.blocks], network.stages, strict=True))
    chosen = [block for block in network.blocks if block.residual is not None and block.shortcut is not None]
    if not chosen:
        raise ArgumentError(
            f"model: no block of {network.name!r} has a residual branch and a shortcut; use a residual network."
        )
    check_inputs(x, network.input_shape[1:])
    h: Any = ops.convert_to_tensor(x, network.chain[0].input.dtype)
    rows = []
    with without_gradients(), _batch_statistics(norms(network, (1, *h.shape[1:]))):
        for link in network.chain[: network.chain.index(chosen[-1]) + 1]:
            if link not in chosen:
                h = link(h, training=False)
                continue
            branch_input = link.branch_input(h, training=False)
            branches = link.branches(branch_input, training=False)
            rows.append(
                {
                    "block": link.name,
                    "stage": stages[link.name],
                    **_compare(*branches),
                    "gamma": scale(norms(link.residual, (1, *branch_input.shape[1:]))),
                }
            )
            h = link.join(*branches)
    return pd.DataFrame(rows)


def norms(layer: keras.Layer, shape: tuple) -> list[keras.layers.BatchNormalization]:
    """Returns the batch-norms of a network or branch in execution order, for an input of `shape`."""
    layers = (leaf.layer for leaf in leaves(layer, shape))
    return [inner for inner in layers if isinstance(inner, keras.layers.BatchNormalization)]


def _compare(residual, shortcut) -> dict[str, float]:
    """Returns the ratio of the energies of two outputs, and the cosine of the angle between them."""
    energies = np.array([_inner_product(residual, residual), _inner_product(shortcut, shortcut)])
    product = _inner_product(residual, shortcut)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "energy_ratio": float(energies[0] / energies[1]),
            "cosine": float(product / np.sqrt(energies[0] * energies[1])),
        }


def _inner_product(one, other) -> float:
    # Summed for each example in float32 on the device, then over examples in float64: precise, and without a copy.
    flat = [ops.cast(ops.reshape(output, (output.shape[0], -1)), "float32") for output in (one, other)]
    return float(ops.convert_to_numpy(ops.sum(flat[0] * flat[1], axis=1)).astype("float64").sum())


def scale(layers: Sequence[keras.layers.BatchNormalization]) -> float:
    """Returns the mean magnitude of the scale of the last batch-norm that has one; NaN without any."""
    gammas = [layer.gamma for layer in layers if layer.scale]
    return float(np.abs(ops.convert_to_numpy(gammas[-1])).mean()) if gammas else float("nan")


@contextlib.contextmanager
def _batch_statistics(layers: Sequence[keras.layers.BatchNormalization]) -> Iterator[None]:
    """Makes layers normalise by batch statistics in any mode, without updating their moving averages."""

    def normalise(layer):
        return lambda inputs, training=None, mask=None: type(layer).call(layer, inputs, training=True, mask=mask)

    # The scope discards the new moving averages.
    with private.replaced((layer, "call", normalise(layer)) for layer in layers), keras.StatelessScope():
        yield
