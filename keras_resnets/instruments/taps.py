"""What the layers within the links of a network give, read on the way without leaving anything on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnets.errors import ArgumentError
from keras_resnets.instruments.lanes import traced
from keras_resnets.network import private
from keras_resnets.network.blocks import ResidualBlock, is_link
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.graph import Graph, Step, Value, is_functional, run, trace


@dataclass(frozen=True)
class Tap:
    """A place to read at: the output of a layer within a link.

    Attributes:
        link: name of the link.
        part: which part of it: `"body"`, `"preactivation"`, `"residual"` or `"shortcut"`; empty for
            a link that is an ordinary layer.
        step: number of the layer within the part, in the order they run.
        layer: the layer, or another operation of a functional model.
        then: the place behind the one layer that reads this output; None where several do, or none
            within the part.
        linear: read what the layer gives before an activation of its own.
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


def taps_of(network: ResidualNetwork) -> list[Tap]:
    """Lists the places within a network in the order they are passed; residual branches before shortcuts.

    Nested models are unfolded. A link within a branch of another is one layer, as is the activation
    behind a sum, whose output is the block's.

    Example:
        >>> import keras_resnets as kr
        >>> [tap.name for tap in kr.taps.taps_of(kr.build("resnet20"))][:4]
        ['stem/conv', 'stem/bn', 'stem/relu', 'stage1_block1/conv1']
    """
    return [tap for link in network.chain for part, layer in _parts(link) for tap in _within(link, part, layer)]


def _parts(link: keras.Layer) -> list[tuple[str, keras.Layer]]:
    if not is_link(link):
        return [("", link)]
    parts = link.parts()
    return [(name, parts[name]) for name in ("body", "preactivation", "residual", "shortcut") if name in parts]


def _steps(part: keras.Layer) -> tuple[list[Step], int]:
    """The operations of a part, and the number of the value that is its output."""
    if isinstance(part, Graph):
        return part.steps, part.result
    if is_functional(part):
        return trace(part)
    return [Step(part, (Value(0),), {}, (1,))], 1


def _within(link: keras.Layer, part: str, layer: keras.Layer) -> list[Tap]:
    steps, output = _steps(layer)
    found: dict[int, Tap] = {}
    for i in reversed(range(len(steps))):
        readers = [k for k, step in enumerate(steps) if set(steps[i].outputs) & set(step.reads)]
        alone = len(readers) == 1 and output not in steps[i].outputs
        found[i] = Tap(link.name, part, i, steps[i].operation, found[readers[0]] if alone else None)
    return [found[i] for i in range(len(steps))]


class Reader:
    """Reads at some places of a network in one walk along its chain, in inference mode.

    Nothing is noted on the layers, and no more values are held than those of one link.

    Args:
        network: the network; its weights are read at every call.
        taps: where to read, some of `taps_of(network)`.

    Raises:
        ArgumentError: a tap is not of this network.

    Example:
        >>> import keras_resnets as kr, numpy as np
        >>> network = kr.build("resnet8", (8, 8, 1))
        >>> reader = kr.taps.Reader(network, kr.taps.taps_of(network)[:2])
        >>> [(tap.name, value.shape) for tap, value in reader.values(np.zeros((4, 8, 8, 1)))]
        [('stem/conv', (4, 8, 8, 16)), ('stem/bn', (4, 8, 8, 16))]
    """

    def __init__(self, network: ResidualNetwork, taps: Sequence[Tap]):
        known = {(tap.link, tap.part, tap.step): tap.layer for tap in taps_of(network)}
        for tap in taps:
            if known.get((tap.link, tap.part, tap.step)) is not tap.layer:
                raise ArgumentError(
                    f"taps must be of {network.name!r}; got {tap.name!r} of another network. Take those that taps_of "
                    f"gives for this one."
                )
        self._walk = [(link, [tap for tap in taps if tap.link == link.name]) for link in network.chain]
        while self._walk and not self._walk[-1][1]:
            self._walk.pop()  # behind the last place
        self._functions: dict[tuple[str, float], Callable] = {}

    def values(self, x) -> Iterator[tuple[Tap, np.ndarray]]:
        """Yields each tap with what it gives for a batch of inputs, link by link."""
        if self._walk:
            x = ops.convert_to_tensor(x, self._walk[0][0].input.dtype)
        for link, taps in self._walk:
            # A schedule of path policies may have changed the scale since.
            key = (link.name, getattr(link, "scale", 1.0))
            if key not in self._functions:
                self._functions[key] = traced(_passing(link, taps), link)
            x, found = self._functions[key](x)
            for tap, value in zip(taps, found, strict=True):
                yield tap, ops.convert_to_numpy(value)


def passed(link: keras.Layer, x, call: Callable, gave: Callable = lambda part, value: value):
    """Returns what a link gives in inference mode, what is done within it being done otherwise.

    Args:
        link: a link of a chain.
        x: its input.
        call: runs an operation of a part, the numbers being those of `Tap`:
            `call(part, number, operation, *args, **kwargs)`; `in_inference` runs it as it is.
        gave: `gave(part, value)`, what goes on instead of the output of a part, or of the link, whose part is `""`.
    """

    def through(part: str, layer: keras.Layer, x):
        numbers = itertools.count()
        steps = run(*_steps(layer), x, lambda *args, **kwargs: call(part, next(numbers), *args, **kwargs))
        y = list(steps)[-1][1]
        return gave(part, y) if part else y

    parts = dict(_parts(link))
    if isinstance(link, ResidualBlock):
        h = through("preactivation", parts.pop("preactivation"), x) if "preactivation" in parts else x
        sums = [through(part, layer, h) for part, layer in parts.items()]
        y = link.join(*(link.scaled(f) if part == "residual" else f for part, f in zip(parts, sums, strict=True)))
    else:
        ((part, layer),) = parts.items()
        y = through(part, layer, x)
    return gave("", y)


def _passing(link: keras.Layer, taps: Sequence[Tap]) -> Callable:
    """Returns the function that gives a link's output and, as a list, what its taps give."""

    def passing(x):
        found: dict[Tap, Any] = {}

        def call(part: str, number: int, operation, *args, **kwargs):
            here = [tap for tap in taps if (tap.part, tap.step) == (part, number)]
            if not any(tap.linear for tap in here):
                linear = result = in_inference(operation, *args, **kwargs)
            else:
                activation = operation.activation
                with private.replaced([(operation, "activation", keras.activations.linear)]):
                    linear = in_inference(operation, *args, **kwargs)
                result = activation(linear)
            found.update({tap: linear if tap.linear else result for tap in here})
            return result

        y = passed(link, x, call)
        return y, [found[tap] for tap in taps]

    return passing


def in_inference(operation, *args, **kwargs):
    """Calls in inference mode, unless the model was made to call it in another."""
    if private.takes_training(operation):
        kwargs = {"training": False, **kwargs}
    return operation(*args, **kwargs)
