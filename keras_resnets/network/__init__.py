"""A residual network as a chain of blocks: its layers, assembly from a spec, edits, costs and saving."""

from keras_resnets.network import layers
from keras_resnets.network.adoption import adopt
from keras_resnets.network.assembly import assemble
from keras_resnets.network.blocks import ResidualBlock, Segment
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.cost import macs, parameters
from keras_resnets.network.folding import fold
from keras_resnets.network.surgery import compact, delete, reorder, unskip

__all__ = [
    "ResidualBlock",
    "ResidualNetwork",
    "Segment",
    "adopt",
    "assemble",
    "compact",
    "delete",
    "fold",
    "layers",
    "macs",
    "parameters",
    "reorder",
    "unskip",
]
