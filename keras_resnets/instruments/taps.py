"""Reads inner layers' outputs without changing the model."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained
from keras_resnets.instruments.differentiation import without_gradients
from keras_resnets.network import private
from keras_resnets.network.blocks import ResidualBlock
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.graph import run
from keras_resnets.network.inside import parts_of, steps_of
from keras_resnets.network.tracing import TracedOnce, any_rows, called, with_values


@dataclass(frozen=True)
class Tap:
    """A place to read: the output of a layer inside a link.

    Attributes:
        link: name of the link.
        part: which part of it: `"body"`, `"preactivation"`, `"residual"` or `"shortcut"`; empty for
            a link that is an ordinary layer.
        step: index of the layer within the part, in execution order.
        layer: the layer, or another operation of a functional model.
        then: the tap of the only layer that reads this output; None if several layers read it, or
            none within the part.
        linear: whether to read the layer's output before its own activation.
    """

    link: str
    part: str
    step: int
    layer: Any = field(compare=False)
    then: Tap | None = field(compare=False, repr=False)
    linear: bool = False

    @property
    def name(self) -> str:
        """Link and layer, such as `stage1_block2/conv1`."""
        return f"{self.link}/{self.layer.name}" if self.part else self.link


@explained
def taps_of(network: ResidualNetwork) -> list[Tap]:
    """Lists the taps of a network in execution order; residual branches before shortcuts.

    Nested models are unfolded. A link inside a branch of another link counts as one layer. The
    activation behind a sum has no tap, because its output is the block's.

    Example:
        >>> import keras_resnets as kr
        >>> [tap.name for tap in kr.taps.taps_of(kr.build("resnet20"))][:4]
        ['stem/conv', 'stem/bn', 'stem/relu', 'stage1_block1/conv1']
    """
    return [tap for link in network.chain for part, layer in parts_of(link) for tap in _taps_of_part(link, part, layer)]


def _taps_of_part(link: keras.Layer, part: str, layer: keras.Layer) -> list[Tap]:
    steps, output = steps_of(layer)
    taps: dict[int, Tap] = {}
    for i in reversed(range(len(steps))):
        readers = [k for k, step in enumerate(steps) if set(steps[i].outputs) & set(step.reads)]
        single = len(readers) == 1 and output not in steps[i].outputs
        taps[i] = Tap(link.name, part, i, steps[i].operation, taps[readers[0]] if single else None)
    return [taps[i] for i in range(len(steps))]


class Reader:
    """Reads taps of a network in one walk along its chain, in inference mode.

    The layers do not change, and only the values of one link are held at a time.

    Args:
        network: the network; its weights are read at every call.
        taps: the taps to read, some of `taps_of(network)`.

    Raises:
        ArgumentError: a tap belongs to another network.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> network = kr.build("resnet8", (8, 8, 1))
        >>> reader = kr.taps.Reader(network, kr.taps.taps_of(network)[:2])
        >>> [(tap.name, value.shape) for tap, value in reader.values(np.zeros((4, 8, 8, 1)))]
        [('stem/conv', (4, 8, 8, 16)), ('stem/bn', (4, 8, 8, 16))]
    """

    def __init__(self, network: ResidualNetwork, taps: Sequence[Tap]):
        layers = {(tap.link, tap.part, tap.step): tap.layer for tap in taps_of(network)}
        for tap in taps:
            if layers.get((tap.link, tap.part, tap.step)) is not tap.layer:
                raise ArgumentError(
                    f"taps must be of {network.name!r}; got {tap.name!r} of another network. Take taps that taps_of "
                    f"returns for this one."
                )
        self._walk = [(link, [tap for tap in taps if tap.link == link.name]) for link in network.chain]
        while self._walk and not self._walk[-1][1]:
            self._walk.pop()  # links behind the last tap
        self._functions: dict[tuple, TracedOnce] = {}

    def values(self, x) -> Iterator[tuple[Tap, np.ndarray]]:
        """Yields each tap with its value for a batch of inputs, link by link."""
        if self._walk:
            x = ops.convert_to_tensor(x, self._walk[0][0].input.dtype)
        for link, taps in self._walk:
            places = tuple((tap.part, tap.step, tap.linear) for tap in taps)
            if places not in self._functions:
                self._functions[places] = TracedOnce(functools.partial(_read_taps, places), any_rows)
            with without_gradients():
                x, values = self._functions[places](link, x)
            for tap, value in zip(taps, values, strict=True):
                yield tap, ops.convert_to_numpy(value)


@explained
def run_link(link: keras.Layer, x, call: Callable, replace: Callable = lambda part, value: value):
    """Runs a link in inference mode, with custom calls of its operations.

    Args:
        link: a link of a chain.
        x: its input.
        call: runs an operation of a part, with its index as in `Tap`:
            `call(part, step, operation, *args, **kwargs)`; `call_in_inference` runs it unchanged.
        replace: `replace(part, value)` returns what replaces the output of a part, or of the link, whose part is `""`.
    """

    def run_part(part: str, layer: keras.Layer, x):
        indices = itertools.count()
        results = run(*steps_of(layer), x, lambda *args, **kwargs: call(part, next(indices), *args, **kwargs))
        y = list(results)[-1][1]
        return replace(part, y) if part else y

    parts = dict(parts_of(link))
    if isinstance(link, ResidualBlock):
        h = run_part("preactivation", parts.pop("preactivation"), x) if "preactivation" in parts else x
        outputs = {part: run_part(part, layer, h) for part, layer in parts.items()}
        y = link.join(*(link.scaled(output) if part == "residual" else output for part, output in outputs.items()))
    else:
        ((part, layer),) = parts.items()
        y = run_part(part, layer, x)
    return replace("", y)


def _read_taps(places: Sequence[tuple[str, int, bool]], link: keras.Layer, values, x):
    """Returns a link's output and the values of its taps, given as in `Tap`: part, step, linear."""
    found: dict[tuple[str, int, bool], Any] = {}

    def call(part: str, step: int, operation, *args, **kwargs):
        if (part, step, True) not in places:
            linear = result = call_in_inference(operation, *args, **kwargs)
        else:
            activation = operation.activation
            with private.replaced([(operation, "activation", keras.activations.linear)]):
                linear = call_in_inference(operation, *args, **kwargs)
            result = activation(linear)
        found[part, step, True], found[part, step, False] = linear, result
        return result

    y = with_values(link, values, lambda x: run_link(link, x, call), x)
    return y, [found[place] for place in places]


@explained
def call_in_inference(operation, *args, **kwargs):
    """Calls an operation in inference mode.

    Args:
        operation: a layer, or another operation of a Keras graph.
        *args: what it is called with.
        **kwargs: the same, by name; `training` is set where the operation takes it.
    """
    return called(operation, False, *args, **kwargs)
