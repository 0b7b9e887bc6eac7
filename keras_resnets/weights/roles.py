"""`Role`: the position of a variable in a network of `keras_resnets.build`, parsed from its path.

Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A path such as `stage2_block1/residual/conv1/kernel`: link, part of the link, layer, variable.
_BLOCK = re.compile(r"stage(\d+)_block(\d+)/(residual|preactivation|shortcut)/(conv|bn)(\d*)/(\w+)")
_END = re.compile(r"(stem|head)/body/(conv|bn|logits)/(\w+)")


@dataclass(frozen=True)
class Role:
    """The position of a variable in a network, independent of its name in a file.

    Args:
        place: `"stem"`, `"block"` or `"head"`.
        layer: `"conv"`, `"bn"`, or `"logits"` at the end of the head.
        variable: `"kernel"`, `"bias"`, `"gamma"`, `"beta"`, `"moving_mean"` or `"moving_variance"`.
        stage: in a block, the number of the stage, from 1.
        block: in a block, its number within the stage, from 1.
        number: in a residual branch, the number of the convolution, or of a batch-norm's convolution, from 1; 0 in a
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
        """Whether the layer belongs to a shortcut."""
        return self.place == "block" and not self.number

    @property
    def is_classifier(self) -> bool:
        """Whether the layer belongs to the classifier: all of the head except the batch-norm before it."""
        return self.place == "head" and self.layer != "bn"


def role(path: str) -> Role | None:
    """Parses the role of a variable.

    Args:
        path: the variable's path in the network.

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
