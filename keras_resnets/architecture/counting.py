"""Parameters and multiply-adds of a spec, by arithmetic alone: nothing is built, Keras not imported."""

from __future__ import annotations

from dataclasses import dataclass

from keras_resnets.architecture import dilation
from keras_resnets.architecture.spec import Spec, Stage
from keras_resnets.errors import ArgumentError


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

    def convolution(self, channels: int, width: int, kernel: int, size: tuple[int, int], bias: bool = False) -> None:
        weights, area = kernel * kernel * channels * width, size[0] * size[1]
        self.parameters += weights + (width if bias else 0)
        self.macs += weights * area
        self.activations += width * area

    def norms(self, layers: tuple[str, ...], width: int) -> None:
        """Counts the batch-norms among the layers of a place, as `unit.Placement` lists them."""
        self.parameters += 2 * width * layers.count("bn")
        self.statistics += 2 * width * layers.count("bn")

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
    counts, places = Counts(), spec.activations
    size = (height, width)

    def shrink(by: int) -> tuple[int, int]:
        return -(-size[0] // by), -(-size[1] // by)

    deep = spec.stem == "conv7"
    size = shrink(2) if deep else size
    counts.convolution(channels, spec.stem_width, 7 if deep else 3, size)
    counts.norms(("bn",) if deep else places.stem, spec.stem_width)
    size = shrink(2) if deep else size
    channels = spec.stem_width
    for s, (stage, grid) in enumerate(zip(spec.stages, dilation.grids(spec), strict=True)):
        size = pooled(spec, stage, size) if grid.pool > 1 else size
        widths = spec.widths(stage)
        for b in range(stage.blocks):
            before, after = size, shrink(grid.stride if b == 0 else 1)
            strided = dilation.strided(spec, stage)
            reads = channels
            for i, (out, kernel) in enumerate(zip(widths, stage.kernels, strict=True)):
                # Behind an activated stem the first activation in front of a convolution is left out.
                if not (deep and s == 0 and b == 0 and i == 0):
                    counts.norms(places.before, reads)
                counts.convolution(reads, out, kernel, after if i >= strided else before)
                counts.norms(places.last if i == len(widths) - 1 else places.behind, out)
                reads = out
            counts.norms(places.total, reads)
            changes = channels != widths[-1] or (b == 0 and stage.stride != 1)
            if spec.shortcut == "C" or (spec.shortcut == "B" and changes):
                counts.convolution(channels, widths[-1], 1, after)
                counts.norms(places.projection, widths[-1])
            if spec.skips.kind in ("gate", "shortcut_gate"):
                # A gate that both branches take is made before they subsample.
                counts.convolution(channels, widths[-1], 1, before if spec.skips.kind == "gate" else after, bias=True)
            size, channels = after, widths[-1]
    counts.norms(places.end, channels)
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


def pooled(spec: Spec, stage: Stage, size: tuple[int, int]) -> tuple[int, int]:
    """Returns the size of a map behind the strided max-pool in front of a stage (`Spec.pool_padding`)."""
    reach = 2 * ((stage.pool - 1) // 2) if spec.pool_padding == "both" else 1
    height, width = (max(side + reach - stage.pool, 0) // 2 + 1 for side in size)
    return height, width
