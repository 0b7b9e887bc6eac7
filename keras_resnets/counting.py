"""Parameters and multiply-adds of a spec, by arithmetic alone: nothing is built, Keras not imported."""

from __future__ import annotations

from dataclasses import dataclass

from keras_resnets.errors import ArgumentError
from keras_resnets.spec import Spec


@dataclass
class Counts:
    """What a network costs.

    Attributes:
        parameters: trainable parameters.
        statistics: moving means and variances.
        macs: multiply-adds of convolutions and dense layers for one example.
        activations: elements of all convolutions' outputs for one example (Wu et al. 2016, Table 1).
    """

    parameters: int = 0
    statistics: int = 0
    macs: int = 0
    activations: int = 0

    def convolution(self, channels: int, width: int, kernel: int, size: tuple[int, int]) -> None:
        weights, area = kernel * kernel * channels * width, size[0] * size[1]
        self.parameters += weights
        self.macs += weights * area
        self.activations += width * area

    def norm(self, width: int) -> None:
        self.parameters += 2 * width
        self.statistics += 2 * width

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
        >>> from keras_resnets import counting, variants
        >>> counting.count(variants.spec("resnet50")).parameters
        25557032
    """
    height, width, channels = input_shape or spec.input_shape
    if height is None or width is None:
        raise ArgumentError(
            f"input_shape is needed to count the multiply-adds of {spec.name!r}; got {spec.input_shape}."
        )
    counts, post = Counts(), spec.placement == "post"
    size = (height, width)

    def shrink(by: int) -> tuple[int, int]:
        return -(-size[0] // by), -(-size[1] // by)

    deep = spec.stem == "conv7"
    size = shrink(2) if deep else size
    counts.convolution(channels, spec.stem_width, 7 if deep else 3, size)
    if post or deep:
        counts.norm(spec.stem_width)
    size = shrink(2) if deep else size
    channels = spec.stem_width
    for s, stage in enumerate(spec.stages):
        size = shrink(2) if stage.pool else size
        widths = spec.widths(stage)
        for b in range(stage.blocks):
            stride = stage.stride if b == 0 else 1
            before, after = size, shrink(stride)
            strided = 0
            if spec.stride_place == "3x3":
                strided = next((i for i, kernel in enumerate(stage.kernels) if kernel > 1), 0)
            reads = channels
            for i, (out, kernel) in enumerate(zip(widths, stage.kernels, strict=True)):
                # Behind an activated stem the first BN-ReLU of a pre-activation branch is left out.
                if post:
                    counts.norm(out)
                elif not (deep and s == 0 and b == 0 and i == 0):
                    counts.norm(reads)
                counts.convolution(reads, out, kernel, after if i >= strided else before)
                reads = out
            changes = channels != widths[-1] or stride != 1
            if spec.shortcut == "C" or (spec.shortcut == "B" and changes):
                counts.convolution(channels, widths[-1], 1, after)
                if post:
                    counts.norm(widths[-1])
            size, channels = after, widths[-1]
    if not post:
        counts.norm(channels)
    for hidden in spec.hidden:
        counts.dense(channels, hidden, bias=False)
        counts.norm(hidden)
        channels = hidden
    counts.dense(channels, spec.classes, bias=True)
    return counts
