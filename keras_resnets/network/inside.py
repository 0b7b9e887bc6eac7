"""The layers inside links: their parts step by step, their names, and a graph that ends at some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras

from keras_resnets.errors import ArgumentError, listed, nearest
from keras_resnets.network.blocks import ResidualBlock, is_link
from keras_resnets.network.graph import Graph, Step, Value, is_functional, trace


def parts_of(link: keras.Layer) -> list[tuple[str, keras.Layer]]:
    """Lists the parts of a link that have layers inside, with their names; an ordinary layer is its own, `""`."""
    if not is_link(link):
        return [("", link)]
    parts = link.parts()
    return [(name, parts[name]) for name in ("body", "preactivation", "residual", "shortcut") if name in parts]


def steps_of(part: keras.Layer) -> tuple[list[Step], int]:
    """Returns the operations of a part, and the index of its output value. Nested models are unfolded."""
    if isinstance(part, Graph):
        return part.steps, part.result
    if is_functional(part):
        return trace(part)
    return [Step(part, (Value(0),), {}, (1,))], 1


class Place(NamedTuple):
    """An output inside a link.

    Attributes:
        link: the link's name.
        part: the part's name; `""` for the output of the link itself.
        step: the index of an operation of the part; None for the output of the part.
        layer: the operation's name; also of the activation behind a block's sum, which is a part of its own.
    """

    link: str
    part: str
    step: int | None
    layer: str = ""

    @property
    def names(self) -> list[str]:
        """What it may be called, the shortest name last."""
        if not self.part:
            return [self.link]
        if not self.layer:
            return [f"{self.link}/{self.part}"]
        return [f"{self.link}/{self.part}/{self.layer}", f"{self.link}/{self.layer}", self.layer]


def places_in(link: keras.Layer) -> Iterator[Place]:
    """Yields the places of a link: its layers in execution order, its parts, and itself."""
    if is_link(link):
        for part, layer in parts_of(link):
            for i, step in enumerate(steps_of(layer)[0]):
                yield Place(link.name, part, i, step.operation.name)
        yield from (Place(link.name, part, None) for part, _ in parts_of(link))
        if isinstance(link, ResidualBlock) and link.activation is not None:
            yield Place(link.name, "activation", None, link.activation.name)
    yield Place(link.name, "", None)


def find(chain: Sequence[keras.Layer], name: str, network: str) -> Place:
    """Returns the place of a name: `link`, `link/layer`, `link/part`, `link/part/layer`, or `layer`.

    Raises:
        ArgumentError: there is no such place, or there are several.
    """
    if not isinstance(name, str):
        raise ArgumentError(f"names must be texts, such as 'stage1_block1/conv1'; got {name!r}.")
    links = {link.name: link for link in chain}
    if name in links:
        return Place(name, "", None)
    named = links.get(name.split("/")[0])
    within = list(chain) if named is None else [named]
    places = [place for link in within for place in places_in(link)]
    found = [place for place in places if name in place.names]
    # Layers go before a part of the same name, such as a shortcut that is one layer of this name.
    found = [place for place in found if place.layer] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise ArgumentError(
            f"names: {len(found)} layers of {network!r} are called {name!r}; give one of "
            f"{', '.join(dict.fromkeys(place.names[0] for place in found))}."
        )
    if named is not None:
        inside = ", ".join(dict.fromkeys(place.names[-2 if place.layer else 0] for place in places))
        raise ArgumentError(f"names must be of layers inside {network!r}; got {name!r}. Inside it: {inside}.")
    known = [*links, *(place.names[-2] for place in places if place.layer)]
    raise ArgumentError(
        f"names must be of layers inside {network!r}; got {name!r}. Its links are {listed(links)}; the nearest "
        f"names {nearest(name, known)}. A link and a slash, such as '{chain[0].name}/', lists the layers inside it."
    )


def graph_to(chain: Sequence[keras.Layer], places: Sequence[Place], single: bool) -> Graph:
    """Returns the graph from the input of a chain to places inside it, with the layers that lead there alone.

    Args:
        chain: the links.
        places: the places, in the order of its outputs.
        single: whether the graph gives a tensor instead of a list, of one place.
    """
    unfolded = _Unfolded()
    wanted = {place.link for place in places}
    inside = {place.link for place in places if place.part}
    for link in chain:
        if not wanted:
            break  # links behind the last place
        if link.name in inside:
            unfolded.open(link)
        else:
            unfolded.add(link, (unfolded.last,))
            unfolded.values[link.name, "", None] = unfolded.last
        wanted.discard(link.name)
    outputs = [unfolded.values[place.link, place.part, place.step].index for place in places]
    steps, needed = [], set(outputs)
    for step in reversed(unfolded.steps):
        if needed & set(step.outputs):
            steps.append(step)
            needed |= set(step.reads)
    return Graph(steps[::-1], outputs[0] if single else outputs, name="inner")


def unfolded(chain: Sequence[keras.Layer]) -> list[tuple[str, str, Step]]:
    """Lists all operations of a chain in order of execution, each with its link, and with its part if that has several.

    Value 0 is the input of the chain.
    """
    whole = _Unfolded()
    for link in chain:
        whole.open(link)
    return [(*where, step) for where, step in zip(whole.where, whole.steps, strict=True)]


class _Unfolded:
    """Collects the steps of a chain some of whose links are taken apart.

    Attributes:
        steps: the steps so far.
        where: the link of each step, and its part if the link has several.
        values: the value at each place, by link, part and step.
        last: the last value.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.where: list[tuple[str, str]] = []
        self.values: dict[tuple[str, str, int | None], Value] = {}
        self.last = Value(0)
        self._count = 0

    def add(self, operation: Any, args: tuple, link: str = "") -> Value:
        """Appends a step with one output."""
        self._count += 1
        self.last = Value(self._count)
        self.steps.append(Step(operation, args, {}, (self._count,)))
        self.where.append((link or operation.name, ""))
        return self.last

    def open(self, link: keras.Layer) -> None:
        """Appends the steps of a link, and of a block its sum, as `ResidualBlock.call` has them."""
        parts, entry = dict(parts_of(link)), self.last
        branches = []
        for part, layer in parts.items():
            value = self._append(link.name, part, layer, entry)
            if part == "preactivation":
                entry = value
            elif part == "residual" and link.scale != 1:
                # Its dtype is the branch's own, as of a product with a number.
                policy = getattr(layer, "compute_dtype", None) or link.compute_dtype
                branches.append(
                    self.add(keras.layers.Rescaling(link.scale, dtype=policy, name="scale"), (value,), link.name)
                )
            else:
                branches.append(value)
        if isinstance(link, ResidualBlock):
            if len(branches) > 1:
                self.add(keras.layers.Add(dtype=link.compute_dtype, name="sum"), (branches,), link.name)
            else:
                self.last = branches[0]
            if link.activation is not None:
                self.values[link.name, "activation", None] = self.add(link.activation, (self.last,), link.name)
        self.values[link.name, "", None] = self.last

    def _append(self, link: str, part: str, layer: keras.Layer, entry: Value) -> Value:
        """Appends the steps of a part, with its values renumbered; returns that of its output."""
        steps, output = steps_of(layer)
        numbers = {0: entry}

        def renumbered(leaf):
            return numbers[leaf.index] if isinstance(leaf, Value) else leaf

        for i, step in enumerate(steps):
            args, kwargs = (keras.tree.map_structure(renumbered, part) for part in (step.args, step.kwargs))
            for index in step.outputs:
                self._count += 1
                numbers[index] = Value(self._count)
            self.steps.append(Step(step.operation, args, kwargs, tuple(numbers[index].index for index in step.outputs)))
            self.where.append((link, "" if part == "body" else part))
            self.values[link, part, i] = numbers[step.outputs[0]]
        self.values[link, part, None] = self.last = numbers[output]
        return self.last
