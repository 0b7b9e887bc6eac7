"""Parameters and multiply-adds of a spec, computed without building the network or importing Keras."""

from __future__ import annotations

from dataclasses import dataclass

from keras_resnets.architecture.plan import Block, Pool, plan
from keras_resnets.architecture.spec import Spec
from keras_resnets.errors import ArgumentError
from keras_resnets.explaining import explained

Size = tuple[int, int]


@dataclass
class Counts:
    """The costs of a network.

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
        """Adds a convolution with an output of `size`."""
        weights, area = kernel * kernel * channels * width, size[0] * size[1]
        self.parameters += weights + (width if bias else 0)
        self.macs += weights * area
        self.activations += width * area

    def norms(self, layers: tuple[str, ...], width: int) -> None:
        """Adds the batch-norms among the layers at one position, as `unit.Placement` lists them."""
        self.parameters += 2 * width * layers.count("bn")
        self.statistics += 2 * width * layers.count("bn")

    def block(self, block: Block, before: Size, after: Size) -> None:
        """Adds a block whose input is of size `before` and whose output is of size `after`."""
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
        """Adds a dense layer."""
        self.parameters += channels * width + (width if bias else 0)
        self.macs += channels * width


@explained
def count(spec: Spec, input_shape: tuple[int, int, int] | None = None) -> Counts:
    """Counts the costs of the network that `build` makes of a spec, top included.

    Args:
        spec: the spec.
        input_shape: height, width and channels; None takes the spec's.

    Raises:
        ArgumentError: the height or width of the input is None.

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

    # The 7x7 stem has a stride of 2, and a max-pool of stride 2 after it.
    planned = plan(spec)
    stem_stride = 2 if planned.deep else 1
    size = _shrunk((height, width), stem_stride)
    counts.convolution(channels, spec.stem_width, 7 if planned.deep else 3, size)
    counts.norms(planned.stem, spec.stem_width)
    size = _shrunk(size, stem_stride)

    channels = spec.stem_width
    for link in planned.links:
        if isinstance(link, Pool):
            size = pooled(spec, link.window, size) if link.stride > 1 else size
        else:
            before, size = size, _shrunk(size, link.stride)
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


def _shrunk(size: Size, stride: int) -> Size:
    """Returns the size of a map after a layer with a stride and "same" padding."""
    height, width = size
    return -(-height // stride), -(-width // stride)


@explained
def pooled(spec: Spec, window: int, size: Size) -> Size:
    """Returns the size of a map after the strided max-pool before a stage (`Spec.pool_padding`).

    Args:
        spec: the spec, whose padding is meant.
        window: side of the window, `Stage.pool`.
        size: height and width of the map before.
    """
    reach = 2 * ((window - 1) // 2) if spec.pool_padding == "both" else 1
    height, width = (max(side + reach - window, 0) // 2 + 1 for side in size)
    return height, width
