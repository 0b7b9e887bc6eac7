"""What a skip connection does to what it carries (He et al. 2016, section 3), laid out as the parts of a block."""

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

    An exclusive gate is made once, in front of the branches, and handed to both as further channels, so that whatever
    goes through one branch alone, or another branch in its place, finds the gate there.

    Args:
        skip: what the skip does.
        planned: the block, as the network's plan has it.
        shared: the layers in front of both branches.
        branch: the layers of the residual branch.
        shortcut: the layers of the shortcut, none for an identity; None where there is no skip.
        gate: the layers of the gate's convolution; none without a gate.
    """
    channels, width, stride = planned.channels, planned.width, planned.stride
    found = {"preactivation": chained(shared, "preactivation") if shared else None}
    if shortcut is None:
        return found | {"residual": chained(branch, "residual"), "shortcut": None}
    if skip.kind == "gate":

        def gated(branch: Layers, rest: Layers, name: str) -> Graph:
            values = [TakeChannels(width, channels, name="gate"), *resample(width, width, stride), *rest]
            return _merged([], [TakeChannels(channels, name="read"), *branch], values, _product(), name)

        return {
            "preactivation": _merged(shared, [], gate, layers.Concatenate(name="beside"), "preactivation"),
            "residual": gated(branch, [], "residual"),
            "shortcut": gated(shortcut, [_rest()], "shortcut"),
        }
    if skip.residual != 1:
        branch = [*branch, layers.Rescaling(skip.residual, name="scale")]
    if skip.shortcut != 1:
        shortcut = [*shortcut, layers.Rescaling(skip.shortcut, name="scale")]
    if skip.rate:
        shortcut = [*shortcut, layers.Dropout(skip.rate, name="dropout")]
    carried = chained(shortcut, "shortcut")
    if skip.kind == "shortcut_gate":
        carried = _merged([], shortcut, [*gate, _rest()], _product(), "shortcut")
    return found | {"residual": chained(branch, "residual"), "shortcut": carried}


def _rest() -> keras.Layer:
    """1 - g."""
    return layers.Rescaling(-1.0, 1.0, name="rest")


def _product() -> keras.Layer:
    return layers.Multiply(name="gated")


def _merged(trunk: Layers, one: Layers, other: Layers, merge: keras.Layer, name: str) -> Graph:
    """Two chains of layers behind a common one, and the layer in which they meet."""
    steps: list[Step] = []

    def through(chain: Layers, value: Value) -> Value:
        for layer in chain:
            steps.append(Step(layer, (value,), {}, (len(steps) + 1,)))
            value = Value(len(steps))
        return value

    entry = through(trunk, Value(0))
    ends = [through(one, entry), through(other, entry)]
    steps.append(Step(merge, (ends,), {}, (len(steps) + 1,)))
    return Graph(steps, len(steps), owns=True, name=name)
