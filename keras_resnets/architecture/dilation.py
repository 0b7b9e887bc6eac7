"""Strides and dilations of each stage at a spec's output stride. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from keras_resnets.architecture.spec import Spec, Stage
from keras_resnets.explaining import explained


@dataclass(frozen=True)
class Grid:
    """The strides and dilations of one stage.

    Attributes:
        pool: stride of the max-pool before the stage; 1 if it was removed, or if there is no max-pool.
        pool_dilation: dilation of the pool's window.
        stride: stride of the stage's first block; 1 if it was removed.
        before: dilation that replaces the strides removed before the stage's first block.
        after: dilation that replaces these strides and the block's own.
    """

    pool: int
    pool_dilation: int
    stride: int
    before: int
    after: int


@explained
def grids(spec: Spec) -> list[Grid]:
    """Returns the grid of each stage.

    Strides are kept until the output stride is reached, and removed after that (Wu et al. 2016's code, and usual for
    dilated networks).

    Example:
        >>> from keras_resnets.architecture import dilation, variants
        >>> [(g.stride, g.after) for g in dilation.grids(variants.spec("resnet50").replace(output_stride=8))]
        [(1, 1), (2, 1), (1, 2), (1, 4)]
    """
    reached, dilation, stage_grids = spec.strides[0], 1, []
    for stage in spec.stages:
        pool, stride, window = 2 if stage.pool else 1, stage.stride, dilation
        if reached * pool > spec.total_stride:
            dilation, pool = dilation * pool, 1
        reached *= pool
        before = dilation
        if reached * stride > spec.total_stride:
            dilation, stride = dilation * stride, 1
        reached *= stride
        stage_grids.append(Grid(pool, window, stride, before, dilation))
    return stage_grids


@explained
def strided(spec: Spec, stage: Stage) -> int:
    """Returns the number, from 0, of the convolution that has the stride in a stage's first block.

    Args:
        spec: the spec, whose `stride_place` counts.
        stage: one of its stages.
    """
    if spec.stride_place == "first":
        return 0
    return next((i for i, kernel in enumerate(stage.kernels) if kernel > 1), 0)
