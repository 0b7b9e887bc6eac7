"""The plan of a network: one record for each of its links, made from a spec. Standard library only.

What a spec says of a whole network or stage (strides and dilations, widths, kinds of shortcut, places of batch-norm and
ReLU) is worked out here once, block by block. `counting` adds a plan up, `network.layout` makes its layers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from keras_resnets.architecture.dilation import Grid, grids, strided
from keras_resnets.architecture.spec import Spec, Stage
from keras_resnets.errors import ArgumentError
from keras_resnets.showing import Shown


@dataclass(frozen=True)
class Convolution:
    """A convolution of a residual branch, and what stands around it.

    Attributes:
        channels: its input's.
        width: its output's.
        kernel: its height and width.
        stride: how many pixels it moves on.
        dilation: distance of the pixels that it reads.
        before: batch-norm (`"bn"`) and ReLU (`"relu"`) in front of it.
        behind: the same behind it.
        dropout: rate in front of it.
        zero: whether it starts at zero, or the batch-norm behind it does, where there is one.
    """

    channels: int
    width: int
    kernel: int
    stride: int
    dilation: int
    before: tuple[str, ...]
    behind: tuple[str, ...]
    dropout: float
    zero: bool


@dataclass(frozen=True)
class Shortcut:
    """What the shortcut of a block does to make shapes fit.

    Attributes:
        projects: whether it is a 1x1 convolution; otherwise it subsamples and pads with zero channels, where the shape
            changes at all.
        behind: batch-norm behind that convolution.
    """

    projects: bool
    behind: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A residual block, or a layer of a plain network.

    Attributes:
        name: its name in the chain, such as `"stage1_block1"`.
        channels: its input's.
        stride: by which its output is smaller than its input.
        shared: what stands in front of both branches.
        convolutions: the residual branch.
        shortcut: None for a block without one.
        gate: stride of the convolution that gives a skip's gate, 1 where both branches take it; None without a gate.
        total: what stands behind the addition.
    """

    name: str
    channels: int
    stride: int
    shared: tuple[str, ...]
    convolutions: tuple[Convolution, ...]
    shortcut: Shortcut | None
    gate: int | None
    total: tuple[str, ...]

    @property
    def width(self) -> int:
        """Channels of its output."""
        return self.convolutions[-1].width


@dataclass(frozen=True)
class Pool:
    """The max-pool in front of a stage.

    Attributes:
        name: its name in the chain.
        window: height and width of what it takes the maximum of.
        stride: 1 where it was taken out for the output stride.
        dilation: distance of the pixels in its window.
    """

    name: str
    window: int
    stride: int
    dilation: int


@dataclass(frozen=True)
class Plan(Shown):
    """A network, link by link.

    Attributes:
        deep: whether the stem is a 7x7 convolution of stride 2 with a max-pool of stride 2, and not a 3x3 one.
        stem: batch-norm and ReLU behind the stem's convolution.
        links: pools and blocks in order.
        end: what stands behind the last block, in front of the head.
    """

    deep: bool
    stem: tuple[str, ...]
    links: tuple[Pool | Block, ...]
    end: tuple[str, ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks in order."""
        return tuple(link for link in self.links if isinstance(link, Block))


@functools.lru_cache(maxsize=64)
def plan(spec: Spec) -> Plan:
    """Plans the network of a spec.

    Raises:
        ArgumentError: a block has more channels than one of shortcut `"A"` can hand on.

    Example:
        >>> from keras_resnets.architecture import variants
        >>> from keras_resnets.architecture.plan import plan
        >>> block = plan(variants.spec("resnet50")).blocks[3]
        >>> block.name, block.channels, block.width, block.stride, block.shortcut.projects
        ('stage2_block1', 256, 512, 2, True)
    """
    deep, links = spec.stem == "conv7", list[Pool | Block]()
    channels, activated = spec.stem_width, deep
    for number, (stage, grid) in enumerate(zip(spec.stages, grids(spec), strict=True)):
        if stage.pool:
            links.append(Pool(f"stage{number + 1}_pool", stage.pool, grid.pool, grid.pool_dilation))
        for place in range(stage.blocks):
            links.append(_block(spec, number, grid, place, channels, activated))
            channels, activated = spec.widths(stage)[-1], False
    places = spec.activations
    return Plan(deep, ("bn", "relu") if deep else places.stem, tuple(links), places.end)


def _block(spec: Spec, number: int, grid: Grid, place: int, channels: int, activated: bool) -> Block:
    """Plans a block.

    Args:
        spec: the network's spec.
        number: the number of the block's stage, from 0.
        grid: how the stage samples its input.
        place: the number of the block in its stage, from 0.
        channels: its input's.
        activated: whether its input has been through BN-ReLU already (He et al. 2016: no second pre-activation behind
            an activated stem).
    """
    stage, places, first = spec.stages[number], spec.activations, place == 0
    stride, width = grid.stride if first else 1, spec.widths(stage)[-1]
    shortcut = _shortcut(spec, channels, width, first and stage.stride > 1)
    projects = shortcut is not None and shortcut.projects
    both = spec.shared_preactivation != "none" and (projects or (first and spec.shared_preactivation == "stage"))
    kind = spec.skips.kind
    return Block(
        name=f"stage{number + 1}_block{place + 1}",
        channels=channels,
        stride=stride,
        shared=places.before if both and not activated else (),
        convolutions=_convolutions(spec, number, grid, first, channels, bare=both or activated),
        shortcut=shortcut,
        # A gate that both branches take is made before they subsample.
        gate={"gate": 1, "shortcut_gate": stride}.get(kind),
        total=places.total,
    )


def _convolutions(
    spec: Spec, number: int, grid: Grid, first: bool, channels: int, bare: bool
) -> tuple[Convolution, ...]:
    """Plans the residual branch of a block; `bare` where nothing stands in front of its first convolution."""
    stage, places = spec.stages[number], spec.activations
    widths, dilations, last = spec.widths(stage), _dilations(spec, stage, grid, first), len(stage.widths) - 1
    rate, at = spec.dropout_of(number), strided(spec, stage)
    return tuple(
        Convolution(
            channels=widths[i - 1] if i else channels,
            width=width,
            kernel=kernel,
            stride=grid.stride if first and i == at else 1,
            dilation=dilations[i],
            before=() if bare and i == 0 else places.before,
            behind=places.last if i == last else places.behind,
            dropout=rate if i == last else 0.0,
            zero=spec.zero_gamma and i == last,
        )
        for i, (width, kernel) in enumerate(zip(widths, stage.kernels, strict=True))
    )


def _dilations(spec: Spec, stage: Stage, grid: Grid, first: bool) -> list[int]:
    """The dilation of each convolution of a block, as `Spec.dilation_rule` says."""
    kept = 0
    if first:
        kept = {"exact": strided(spec, stage) + 1, "block": len(stage.kernels), "stage": 0}[spec.dilation_rule]
    return [
        1 if kernel == 1 else stage.dilation * (grid.before if i < kept else grid.after)
        for i, kernel in enumerate(stage.kernels)
    ]


def _shortcut(spec: Spec, channels: int, width: int, shrinks: bool) -> Shortcut | None:
    """Whether a shortcut projects follows from the shapes, those of the network whose strides are all there."""
    if spec.shortcut == "none":
        return None
    projects = spec.shortcut == "C" or (spec.shortcut == "B" and (channels != width or shrinks))
    if spec.shortcut == "A" and channels > width:
        raise ArgumentError(
            f"shortcut 'A' can add channels but not remove them; got {channels} channels in and {width} out. "
            f"Use shortcut 'B', or a stem_width of at most {width}."
        )
    return Shortcut(projects, spec.activations.projection if projects else ())
