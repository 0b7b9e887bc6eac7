"""A network as a chain of blocks: its layers, how a spec becomes one, what is edited, counted and saved of it."""

from keras_resnets.network import layers
from keras_resnets.network.adoption import adopt
from keras_resnets.network.assembly import assemble
from keras_resnets.network.blocks import ResidualBlock, Segment
from keras_resnets.network.chain import ResidualNetwork
from keras_resnets.network.cost import macs, parameters
from keras_resnets.network.surgery import compact, delete, reorder, unskip

__all__ = [
    "ResidualBlock",
    "ResidualNetwork",
    "Segment",
    "adopt",
    "assemble",
    "compact",
    "delete",
    "layers",
    "macs",
    "parameters",
    "reorder",
    "unskip",
]
