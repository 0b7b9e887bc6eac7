from . import (
    adoption,
    assembly,
    blocks,
    chain,
    cost,
    data_format,
    devices,
    folding,
    gating,
    graph,
    inside,
    layers,
    layout,
    outputs,
    private,
    probabilities,
    saving,
    skips,
    surgery,
    tracing,
    trusted,
)
from .adoption import adopt
from .assembly import assemble
from .blocks import ResidualBlock, Segment
from .chain import ResidualNetwork
from .cost import macs, parameters
from .folding import fold
from .surgery import compact, delete, reorder, unskip
