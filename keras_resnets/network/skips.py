"""Creates the parts of a block for each kind of skip connection: scaled, gated or with dropout (He et al. 2016, 3)."""

from __future__ import annotations

import keras
from keras import layers

from keras_resnets.architecture.plan import Block
from keras_resnets.architecture.unit import Skip
from keras_resnets.network.blocks import chained, resample
from keras_resnets.network.graph import Graph, Step, Value
from keras_resnets.network.layers import TakeChannels

Layers = list[keras.Layer]


def parts(
    skip: Skip, planned: Block, shared: Layers, branch: Layers, shortcut: Layers | None, gate: Layers
) -> dict[str, keras.Layer | None]:
    """Returns the parts of a block by name: `preactivation`, `residual` and `shortcut`.

    An exclusive gate is computed once, before the branches, and passed to both as additional channels, so that it is
    also available to a single branch, or to another branch in its place.

    Args:
        skip: the kind of skip connection.
        planned: the block in the network's plan.
        shared: the layers before both branches.
        branch: the layers of the residual branch.
        shortcut: the layers of the shortcut, none for an identity; None without a skip connection.
        gate: the layers of the gate's convolution; none without a gate.
    """
    channels, width, stride = planned.channels, planned.width, planned.stride
    preactivation = {"preactivation": chained(shared, "preactivation") if shared else None}
    if shortcut is None:
        return preactivation | {"residual": chained(branch, "residual"), "shortcut": None}

    # An exclusive gate g: g * residual + (1 - g) * shortcut.
    if skip.kind == "gate":

        def gated(branch: Layers, after_gate: Layers, name: str) -> Graph:
            values = [TakeChannels(width, channels, name="gate"), *resample(width, width, stride), *after_gate]
            return _merge([], [TakeChannels(channels, name="read"), *branch], values, _product(), name)

        return {
            "preactivation": _merge(shared, [], gate, layers.Concatenate(name="beside"), "preactivation"),
            "residual": gated(branch, [], "residual"),
            "shortcut": gated(shortcut, [_complement()], "shortcut"),
        }

    # Constant scaling, dropout, or a gate of the shortcut alone.
    if skip.residual != 1:
        branch = [*branch, layers.Rescaling(skip.residual, name="scale")]
    if skip.shortcut != 1:
        shortcut = [*shortcut, layers.Rescaling(skip.shortcut, name="scale")]
    if skip.rate:
        shortcut = [*shortcut, layers.Dropout(skip.rate, name="dropout")]
    carried = chained(shortcut, "shortcut")
    if skip.kind == "shortcut_gate":
        carried = _merge([], shortcut, [*gate, _complement()], _product(), "shortcut")
    return preactivation | {"residual": chained(branch, "residual"), "shortcut": carried}


def _complement() -> keras.Layer:
    """Computes 1 - g of a gate g."""
    return layers.Rescaling(-1.0, 1.0, name="rest")


def _product() -> keras.Layer:
    return layers.Multiply(name="gated")


def _merge(trunk: Layers, one: Layers, other: Layers, merge: keras.Layer, name: str) -> Graph:
    """Returns two sequences of layers behind a common one, and the layer that merges them, as one layer."""
    steps: list[Step] = []

    def append(sequence: Layers, value: Value) -> Value:
        for layer in sequence:
            steps.append(Step(layer, (value,), {}, (len(steps) + 1,)))
            value = Value(len(steps))
        return value

    entry = append(trunk, Value(0))
    ends = [append(one, entry), append(other, entry)]
    steps.append(Step(merge, (ends,), {}, (len(steps) + 1,)))
    return Graph(steps, len(steps), owns=True, name=name)
