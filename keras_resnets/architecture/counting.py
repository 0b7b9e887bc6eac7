"""Parameters and multiply-adds of a spec, by arithmetic alone: nothing is built, Keras not imported."""

from __future__ import annotations

from dataclasses import dataclass

from keras_resnets.architecture.plan import Block, Pool, plan
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError

Size = tuple[int, int]


@dataclass
class Counts:
    """What a network costs.

    Attributes:
        parameters: trainable parameters.
        statistics: moving means and variances.
        macs: multiply-adds of convolutions and dense layers for one example.
        activations: elements of all convolutions' outputs for one example, projections and gates included (Wu et al.
            2016, Table 1).
    """

    parameters: int = 0
    statistics: int = 0
    macs: int = 0
    activations: int = 0

    def convolution(self, channels: int, width: int, kernel: int, size: Size, bias: bool = False) -> None:
        weights, area = kernel * kernel * channels * width, size[0] * size[1]
        self.parameters += weights + (width if bias else 0)
        self.macs += weights * area
        self.activations += width * area

    def norms(self, layers: tuple[str, ...], width: int) -> None:
        """Counts the batch-norms among the layers of a place, as `unit.Placement` lists them."""
        self.parameters += 2 * width * layers.count("bn")
        self.statistics += 2 * width * layers.count("bn")

    def block(self, block: Block, before: Size, after: Size) -> None:
        """Counts a block that brings a map from one size to another."""
        self.norms(block.shared, block.channels)
        size = before
        for conv in block.convolutions:
            size = after if conv.stride > 1 else size
            self.norms(conv.before, conv.channels)
            self.convolution(conv.channels, conv.width, conv.kernel, size)
            self.norms(conv.behind, conv.width)
        self.norms(block.total, block.width)
        if block.shortcut is not None and block.shortcut.projects:
            self.convolution(block.channels, block.width, 1, after)
            self.norms(block.shortcut.behind, block.width)
        if block.gate is not None:
            self.convolution(block.channels, block.width, 1, before if block.gate == 1 else after, bias=True)

    def dense(self, channels: int, width: int, bias: bool) -> None:
        self.parameters += channels * width + (width if bias else 0)
        self.macs += channels * width


def count(spec: Spec, input_shape: tuple[int, int, int] | None = None) -> Counts:
    """Counts what the network of a spec costs, as `build` makes it with its top.

    Args:
        spec: the spec.
        input_shape: height, width and channels; None takes the spec's.

    Raises:
        ArgumentError: the size of the input is open.

    Example:
        >>> from keras_resnets.architecture import counting, variants
        >>> counting.count(variants.spec("resnet50")).parameters
        25557032
    """
    height, width, channels = input_shape or spec.input_shape
    if height is None or width is None:
        raise ArgumentError(
            f"input_shape is needed to count the multiply-adds of {spec.name!r}; got {spec.input_shape}."
        )
    counts = Counts()
    size = (height, width)

    def shrink(by: int) -> Size:
        return -(-size[0] // by), -(-size[1] // by)

    planned = plan(spec)
    size = shrink(2) if planned.deep else size
    counts.convolution(channels, spec.stem_width, 7 if planned.deep else 3, size)
    counts.norms(planned.stem, spec.stem_width)
    size = shrink(2) if planned.deep else size
    channels = spec.stem_width
    for link in planned.links:
        if isinstance(link, Pool):
            size = pooled(spec, link.window, size) if link.stride > 1 else size
        else:
            before, size = size, shrink(link.stride)
            counts.block(link, before, size)
            channels = link.width
    counts.norms(planned.end, channels)
    if spec.is_dense:
        if spec.head == "2conv":
            counts.convolution(channels, spec.scaled(spec.head_width), 3, size, bias=True)
            channels = spec.scaled(spec.head_width)
        counts.convolution(channels, spec.classes, 3, size, bias=True)
        return counts
    for hidden in spec.hidden:
        counts.dense(channels, hidden, bias=False)
        counts.norms(("bn",), hidden)
        channels = hidden
    counts.dense(channels, spec.classes, bias=True)
    return counts


def pooled(spec: Spec, window: int, size: Size) -> Size:
    """Returns the size of a map behind the strided max-pool in front of a stage (`Spec.pool_padding`)."""
    reach = 2 * ((window - 1) // 2) if spec.pool_padding == "both" else 1
    height, width = (max(side + reach - window, 0) // 2 + 1 for side in size)
    return height, width
