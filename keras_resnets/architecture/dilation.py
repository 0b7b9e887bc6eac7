"""What is strided and what is dilated instead, stage by stage, at a spec's output stride. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from keras_resnets.architecture.spec import Spec, Stage


@dataclass(frozen=True)
class Grid:
    """How one stage samples its input.

    Attributes:
        pool: stride of the max-pool in front of the stage; 1 where it was taken out, or where there is none.
        pool_dilation: distance of the pixels in the pool's window.
        stride: stride of the stage's first block; 1 where it was taken out.
        before: dilation that stands in for the strides taken out in front of the stage's first block.
        after: the same with that of the block itself.
    """

    pool: int
    pool_dilation: int
    stride: int
    before: int
    after: int


def grids(spec: Spec) -> list[Grid]:
    """Returns the grid of each stage.

    Strides are kept until the output stride is reached, and those behind it taken out (Wu et al. 2016's code, as in
    papers on dilated networks at large).

    Example:
        >>> from keras_resnets.architecture import dilation, variants
        >>> [(g.stride, g.after) for g in dilation.grids(variants.spec("resnet50").replace(output_stride=8))]
        [(1, 1), (2, 1), (1, 2), (1, 4)]
    """
    reached, dilation, found = spec.strides[0], 1, []
    for stage in spec.stages:
        pool, stride, window = 2 if stage.pool else 1, stage.stride, dilation
        if reached * pool > spec.total_stride:
            dilation, pool = dilation * pool, 1
        reached *= pool
        before = dilation
        if reached * stride > spec.total_stride:
            dilation, stride = dilation * stride, 1
        reached *= stride
        found.append(Grid(pool, window, stride, before, dilation))
    return found


def strided(spec: Spec, stage: Stage) -> int:
    """Returns which convolution of a stage's first block has the stride, from 0."""
    if spec.stride_place == "first":
        return 0
    return next((i for i, kernel in enumerate(stage.kernels) if kernel > 1), 0)
