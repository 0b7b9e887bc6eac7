"""What each variable of a network made by `keras_resnets.build` is, read from its path. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A path's parts, `stage2_block1/residual/conv1/kernel`: link, part of the link, layer, variable.
_BLOCK = re.compile(r"stage(\d+)_block(\d+)/(residual|preactivation|shortcut)/(conv|bn)(\d*)/(\w+)")
_END = re.compile(r"(stem|head)/body/(conv|bn|logits)/(\w+)")


@dataclass(frozen=True)
class Role:
    """What a variable is for, whatever a file calls it.

    Args:
        place: `"stem"`, `"block"` or `"head"`.
        layer: `"conv"`, `"bn"`, or `"logits"` at the end of the head.
        variable: `"kernel"`, `"bias"`, `"gamma"`, `"beta"`, `"moving_mean"` or `"moving_variance"`.
        stage: in a block, the number of the stage, from 1.
        block: in a block, its number within the stage, from 1.
        number: in a residual branch, the number of the convolution that the layer is, or belongs to, from 1; 0 in a
            projection.
    """

    place: str
    layer: str
    variable: str
    stage: int = 0
    block: int = 0
    number: int = 0

    @property
    def is_projection(self) -> bool:
        """Whether the layer is in a shortcut."""
        return self.place == "block" and not self.number

    @property
    def is_classifier(self) -> bool:
        """Whether it belongs to what gives scores: all of the head but the normalisation in front."""
        return self.place == "head" and self.layer != "bn"


def role(path: str) -> Role | None:
    """Returns the role of a variable.

    Args:
        path: its path within the network.

    Returns:
        The role, or None for a variable that no public weight file has, such as a gate's.

    Example:
        >>> from keras_resnets.weights import roles
        >>> roles.role("stage2_block1/shortcut/conv/kernel")
        Role(place='block', layer='conv', variable='kernel', stage=2, block=1, number=0)
    """
    if match := _END.fullmatch(path):
        return Role(match[1], match[2], match[3])
    match = _BLOCK.fullmatch(path)
    if match and (match[3] == "shortcut") == (match[5] == ""):
        return Role("block", match[4], match[6], int(match[1]), int(match[2]), int(match[5] or 0))
    return None
